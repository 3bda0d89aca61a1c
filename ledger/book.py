"""The ledger: the truth about what ran, outside the graph's state."""

import asyncio
import hashlib
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Engine

from base.errors import StorageError
from base.redaction import Redact, redacted_json
from ledger import calls, claims, decisions, doubts
from ledger.database import open_engine
from ledger.journal import Journal
from ledger.owner import this_process
from ledger.reads import Read, Reads
from ledger.records import (
    Call,
    Claim,
    Decision,
    Lost,
    Recorded,
    Remembered,
    Running,
    Status,
    fields_of,
)
from storage.writer import Writer

_RULE_ID_LENGTH = 10
_NOBODYS = {"owner": None, "lease_until": None}
"""What a claim leaves of itself once it has ended."""
_FIRST_POLL_S, _LAST_POLL_S = 0.02, 0.5


class Ledger(Journal):
    """One row per call, unique in the database; used from any event loop, by many processes.

    A method returns when its write is on disk, but for `record_usage` and `reads`: those
    return at once, and what they write is on disk before any later write. A write that has begun is finished
    even if its caller is cancelled. Every method may raise StorageError.
    """

    def __init__(self, engine: Engine, redact: Redact, owner: str, writer: Writer | None = None) -> None:
        """Begin, with a thread of its own that writes where none is given."""
        super().__init__(engine, redact, owner, writer)
        self.reads = Reads(self._access, owner, self._row)

    @classmethod
    async def open(cls, database: Path | str, redact: Redact = str) -> Self:
        """Open or create a ledger.

        Args:
            database: a path of a SQLite file, or a database URL.
            redact: strips secrets from every text before it is stored.

        Raises:
            StorageError: it cannot be used; the message says why and what to do.
        """
        return await asyncio.to_thread(
            lambda: cls(open_engine(database), redact=redact, owner=this_process())
        )

    async def enter(self, made: Sequence[Call]) -> set[str]:
        """Enter the calls that a model makes, all or none, before any of them can run.

        Returns:
            Those of their ids that calls of the thread bear already: then none is entered.
        """
        return await self._access.write(calls.enter, [self._row(call) for call in made])

    async def ask(self, asked: Sequence[Call], expires_at: float | None) -> float | None:
        """Put calls before a person; one that was asked about before is left as it is.

        Args:
            asked: the calls of one confirmation.
            expires_at: seconds since the epoch after which no answer counts; None: never.

        Returns:
            The earliest such time on record of a call that waits; None where none has one.
        """
        return await self._access.write(calls.ask, [self._row(call) for call in asked], expires_at)

    async def doubt(self, open_calls: Sequence[Call], expires_at: float | None) -> dict[str, Lost]:
        """Put those of the calls before a person that were begun and whose outcome nobody knows.

        Args:
            open_calls: calls without a result, with the arguments that they ran with.
            expires_at: seconds since the epoch after which no yes counts; None: never.

        Returns:
            Them, by call id; the others are left as they are.
        """
        rows = [self._row(call) for call in open_calls]
        return await self._access.write(doubts.ask, rows, expires_at, time.time())

    async def decide(  # noqa: PLR0913 (one decision, whole)
        self,
        thread: str,
        call_id: str,
        *,
        approve: bool,
        by: str,
        fingerprint: str,
        message: str = "",
        args: dict[str, Any] | None = None,
        remember: Remembered | None = None,
        attempt: int | None = None,
        at: float | None = None,
    ) -> Decision:
        """Record the first decision on a waiting call, and return the one on record.

        Args:
            thread: the call's thread.
            call_id: the call.
            approve: False is a rejection, and the call's end.
            by: who decides.
            fingerprint: of the call as the person was shown it; another one is refused.
            message: why it is rejected.
            args: edited arguments; the approval is then bound to these.
            remember: the rule that begins with this approval, if this is the decision on record.
            attempt: the one that was asked about, where nobody knows its outcome: a yes lets one more run,
                a no counts it as done. None: the question was whether to run the call at all.
            at: seconds since the epoch when it was decided; None: now.
        """
        words = f"Action denied by user: {message}" if message else "Action denied by user."
        consent = "approved" if args is None else "edited"
        now = time.time() if at is None else at
        answer = decisions.Answer(
            decision=consent if approve else "rejected",
            by=by,
            at=now,
            fingerprint=fingerprint,
            text=self._clean(words),
            args=args,
            stored_args=None if args is None else redacted_json(args, self._redact),
            attempt=attempt,
            rule=None if remember is None else self._rule(thread, call_id, remember, by, now),
        )
        operation = decisions.decide if attempt is None else doubts.decide
        return await self._access.write(operation, thread, call_id, answer)

    async def claim(  # noqa: PLR0913 (all that a claim is judged by)
        self,
        call: Call,
        *,
        needs_approval: bool,
        lease_s: float,
        rerun: bool,
        undone: int = 0,
        rule: str = "",
        recorded: bool = False,
    ) -> Claim:
        """Take a call to run it; of all who claim it, one gets Claimed.

        Args:
            call: with the arguments it would be run with; others than those on record never run.
            needs_approval: it runs only if its approval is on record.
            lease_s: seconds after which a claim without an outcome counts as lost.
            rerun: take over a lost claim, where running twice does no harm.
            undone: take over this attempt, if it is lost: the world says that it did not happen; 0: none.
            rule: id of the remembered rule that lets it run unasked; a use of it is counted.
            recorded: the conversation says that it was agreed to or begun; see `ledger.calls.standing_row`.
        """
        was: dict[str, Any] = {}
        terms = claims.Terms(
            self._owner,
            time.time(),
            lease_s,
            needs_approval=needs_approval,
            rerun=rerun,
            undone=undone,
            rule=rule,
            recorded=recorded,
        )
        try:
            return await self._access.write(claims.claim, self._row(call), terms, was)
        except asyncio.CancelledError:
            with suppress(StorageError):
                self._access.leave(claims.release, was, terms)
            raise

    async def abandon(self, thread: str, call_id: str, attempt: int) -> None:
        """Let go of an attempt claimed here that nobody waits for any more: it counts as lost from now on."""
        await self._access.write(claims.abandon, thread, call_id, self._owner, attempt)

    async def finish(  # noqa: PLR0913 (one outcome, whole)
        self,
        thread: str,
        call_id: str,
        *,
        status: Status,
        text: str,
        duration_ms: float | None,
        size: int | None = None,
        sha256: str | None = None,
        attempt: int,
        lost: bool = False,
        read: Read | None = None,
    ) -> Recorded | None:
        """Record the outcome of a call claimed here, or looked up; the first outcome stays.

        Args:
            thread: the call's thread.
            call_id: the call.
            status: how it ended.
            text: its result, or the two ends of one that is stored elsewhere.
            duration_ms: how long it ran.
            size: bytes of the whole result; None: of the text.
            sha256: of the whole result; None: of the text.
            attempt: the one it is the outcome of, as it was claimed.
            lost: it was looked up, and its owner is gone; False: it is this process's own.
            read: what it is the outcome of, if it was begun; None: it was claimed.

        Returns:
            The outcome on record; None where there is none and this is not the call's last attempt, or
            not this process's.
        """
        raw = text.encode("utf-8", "surrogatepass")
        clean = self._clean(text)
        outcome = {
            "status": status,
            "text": clean,
            "duration_ms": duration_ms,
            "result_size": len(raw) if size is None else size,
            "result_sha256": sha256 or hashlib.sha256(raw).hexdigest(),
            **_NOBODYS,
        }
        if read:
            self.reads.end(read, outcome)
            return Recorded(status, clean)
        return await self._access.write(
            claims.finish,
            thread,
            call_id,
            self._owner,
            outcome,
            attempt=attempt,
            lost=lost,
            now=time.time(),
        )

    async def note(self, call: Call, *, status: Status, text: str, recorded: bool = False) -> Recorded | None:
        """Record that a call is not to run, and return its outcome on record: one that there is stays.

        Args:
            call: the call.
            status: how it is to end.
            text: why.
            recorded: the conversation says that it was agreed to or begun.

        Returns:
            None where a living owner runs it.
        """
        row = {**self._row(call), "status": status, "text": self._clean(text)}
        begun = [call.call_id] if recorded else []
        return (await self._access.write(calls.close, [row], begun, time.time())).get(call.call_id)

    async def recall(self, forgotten: Sequence[tuple[Call, Recorded | None]]) -> None:
        """Enter calls that the ledger has forgotten, each with what became of it; None: nobody knows."""
        rows = [
            {
                **self._row(call),
                "status": outcome.status if outcome else "planned",
                "text": self._clean(outcome.text) if outcome else None,
            }
            for call, outcome in forgotten
        ]
        await self._access.write(calls.recall, rows)

    async def outcomes(self, thread: str, call_ids: Sequence[str]) -> dict[str, Recorded]:
        """Return the outcomes on record, by call id; a call without one is left out."""
        return await self._access.read(calls.outcomes, thread, call_ids)

    async def supersede(self, closed: Sequence[Call], recorded: Collection[str] = ()) -> dict[str, Recorded]:
        """Close calls for good, and return their outcomes by call id.

        A call that a living owner runs stays open and is left out.

        Args:
            closed: the calls.
            recorded: ids of those that the conversation says were agreed to or begun.
        """
        ended = {"status": "superseded", "text": calls.SUPERSEDED}
        rows = [{**self._row(call), **ended} for call in closed]
        return await self._access.write(calls.close, rows, recorded, time.time())

    async def await_outcome(self, thread: str, call_id: str, timeout_s: float) -> Recorded | None:
        """Wait for the outcome of a call that another owner runs.

        Returns:
            None after `timeout_s` seconds, or as soon as nobody is running it.
        """
        deadline = time.monotonic() + timeout_s
        pause = _FIRST_POLL_S
        while True:
            found = await self._access.read(calls.standing, thread, call_id, time.time())
            left = deadline - time.monotonic()
            if not isinstance(found, Running) or left <= 0:
                return found if isinstance(found, Recorded) else None
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LAST_POLL_S)

    def _rule(self, thread: str, call_id: str, said: Remembered, by: str, now: float) -> dict[str, Any]:
        return {
            "id": hashlib.sha256(f"{thread}\0{call_id}".encode()).hexdigest()[:_RULE_ID_LENGTH],
            "where": redacted_json(said.where, self._redact),
            "until": said.until,
            "uses_left": said.uses,
            "definition": said.definition,
            "created_at": now,
            "created_by": by,
        }

    def _row(self, call: Call) -> dict[str, Any]:
        args = redacted_json(call.args, self._redact)
        return {
            **fields_of(call),
            "tool": self._clean(call.tool),
            "args": args,
            "fingerprint": call.fingerprint,
        }
