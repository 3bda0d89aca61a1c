"""Reads that a model asked for just now, recorded while they run.

Nobody waits for what is written of them: it is on disk before anything that is written later.
"""

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import Connection

from ledger.access import Access
from ledger.calls import add, change_row, locked
from ledger.records import Call

_MOST_PLANNED = 10_000
"""One that is dropped is claimed."""


@dataclass(slots=True, eq=False)
class Read:
    """A read that this process made, and what it is recorded as."""

    attempt: ClassVar[int] = 1
    earlier: ClassVar[None] = None
    call: Call
    row: Mapping[str, Any]
    """All that is known of it by now; its `call_id` is one of its own where that was another call's."""
    is_queued: bool = False
    """What is known is about to be written: what is known by then is written with it."""


class Reads:
    """The reads of this process that are planned and not begun."""

    def __init__(self, access: Access, owner: str, row_of: Callable[[Call], dict[str, Any]]) -> None:
        self._access = access
        self._owner = owner
        self._row_of = row_of
        self._planned: OrderedDict[tuple[str, str], Read] = OrderedDict()

    def plan(self, made: Iterable[Call]) -> None:
        """Enter reads just asked for; `begin` takes each once."""
        for call in made:
            read = self._planned[call.thread, call.call_id] = Read(call, self._row_of(call))
            self.record(read, status="planned")
        while len(self._planned) > _MOST_PLANNED:
            self._planned.popitem(last=False)

    def begin(self, call: Call, lease_s: float) -> Read | None:
        """Take a planned read, to run it.

        The call has the arguments it would be run with. After `lease_s` seconds without outcome it is lost.

        Returns:
            What `Ledger.finish` is to be given; None where it is not planned, or was begun: claim it.
        """
        read = self._planned.pop((call.thread, call.call_id), None)
        if read is None or read.call != call:
            return None
        now = time.time()
        begun = {"status": "running", "owner": self._owner, "attempts": Read.attempt}
        self.record(read, **begun, started_at=now, lease_until=now + lease_s)
        return read

    def record(self, read: Read, **known: Any) -> None:
        """Record what is known of a read, such as its end."""
        read.row = {**read.row, **known}
        if not read.is_queued:
            read.is_queued = True
            self._access.leave(f"thread {read.call.thread}", _record, read)


def _record(connection: Connection, read: Read) -> None:
    """Record what is known of a read, unless another claimed it.

    Where the model numbers its calls and the thread's checkpoints were lost, rewound or forked, its id can be
    that of another call: that one's row stays as it is, and this one gets an id of its own on record.
    """
    read.is_queued = False
    row = read.row
    if add(connection, row):
        return
    there = locked(connection, row)
    if there is None or (there.turn, there.fingerprint) != (row["turn"], row["fingerprint"]):
        read.row = {**read.row, "call_id": f"{read.call.call_id}#{uuid.uuid4().hex}"}
        add(connection, read.row)
    elif there.status in {"planned", "running"} and there.attempts <= Read.attempt:
        change_row(connection, there, **row)
