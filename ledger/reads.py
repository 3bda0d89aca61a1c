"""Reads that a model asked for just now: they run while what is to be recorded of them is on its way."""

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Connection, Dialect, and_, bindparam, text
from sqlalchemy.sql import ClauseElement

from ledger.access import Access
from ledger.calls import locked
from ledger.records import Call
from ledger.statements import change
from ledger.tables import calls, insert

_UNSET = dict.fromkeys(column.name for column in calls.c if column.name != "id")
_LATER = (
    *("status", "owner", "lease_until", "attempts", "started_at"),
    *("text", "duration_ms", "result_size", "result_sha256"),
)
"""Columns that change once the call is entered."""
_MOST_PLANNED = 10_000
"""One that is forgotten is claimed."""


class Read:
    """A read that this process made, and all there is to record of it by now."""

    attempt = 1

    def __init__(self, call: Call, entry: Mapping[str, Any]) -> None:
        """Plan it; `entry` is its row as it is entered."""
        self.call = call
        self.row: Mapping[str, Any] = {**_UNSET, "attempts": 0, **entry, "status": "planned"}
        self.call_id = call.call_id
        """What it is recorded as."""
        self._written: tuple[Any, Mapping[str, Any]] = None, {}

    def is_written(self, transaction: Any) -> bool:
        """Tell whether the transaction has written all there is; remember that it does now."""
        was, self._written = self._written, (transaction, self.row)
        return was[0] is transaction and was[1] is self.row

    def add(self, **known: Any) -> None:
        """Note what else is known of it now."""
        self.row = {**self.row, **known}


class Reads:
    """The reads of this process that are planned and not begun; nobody waits for what is written of them."""

    def __init__(self, access: Access, owner: str, entry: Callable[[Call], dict[str, Any]]) -> None:
        self._access = access
        self._owner = owner
        self._entry = entry
        self._planned: OrderedDict[tuple[str, str], Read] = OrderedDict()

    def plan(self, made: Iterable[Call]) -> None:
        """Enter reads that a model asked for just now, here; `begin` may take each of them once."""
        for call in made:
            read = self._planned[call.thread, call.call_id] = Read(call, self._entry(call))
            self._access.leave(_record, read)
        while len(self._planned) > _MOST_PLANNED:
            self._planned.popitem(last=False)

    def begin(self, call: Call, lease_s: float) -> Read | None:
        """Take a planned read, to run it.

        Args:
            call: with the arguments it would be run with.
            lease_s: seconds after which it counts as lost without an outcome.

        Returns:
            What `Ledger.finish` is to be given; None where it is not planned, or was begun: claim it.
        """
        read = self._planned.pop((call.thread, call.call_id), None)
        if read is None or read.call != call:
            return None
        now = time.time()
        begun = {"status": "running", "owner": self._owner, "attempts": Read.attempt}
        read.add(**begun, started_at=now, lease_until=now + lease_s)
        self._access.leave(_record, read)
        return read

    def end(self, read: Read, outcome: Mapping[str, Any]) -> None:
        """Record how a read ended."""
        read.add(**outcome)
        self._access.leave(_record, read)


def _record(connection: Connection, read: Read) -> None:
    """Record what is known of a read by now, unless it is by what came before in the same transaction.

    Where the model numbers its calls and the thread's checkpoints were lost, rewound or forked, its id can be
    that of another call: that one's row stays as it is, and this one gets an id of its own on record.
    """
    if read.is_written(connection.get_transaction()):
        return
    row = {**read.row, "call_id": read.call_id}
    if change(connection, _recording(connection.dialect), row):
        return
    there = locked(connection, row["thread"], read.call_id)
    if there is None or (there.turn, there.fingerprint) != (row["turn"], row["fingerprint"]):
        read.call_id = f"{read.call.call_id}#{uuid.uuid4().hex}"
        change(connection, _recording(connection.dialect), {**row, "call_id": read.call_id})


@cache
def _recording(dialect: Dialect) -> ClauseElement:
    fresh = insert(dialect, calls).values({name: bindparam(name) for name in sorted(_UNSET)})
    new = fresh.excluded
    same = and_(calls.c.turn == new.turn, calls.c.fingerprint == new.fingerprint)
    untouched = text(f"calls.status IN ('planned', 'running') AND calls.attempts <= {Read.attempt}")
    return fresh.on_conflict_do_update(
        index_elements=["thread", "call_id"],
        set_={name: new[name] for name in _LATER},
        where=and_(same, untouched),
    )
