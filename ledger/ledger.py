"""The ledger: the truth about what ran, outside the graph's state."""

import asyncio
import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

from base.errors import StorageError
from base.redaction import Redact, redacted_json, redacted_text
from ledger import audit, calls, claims, counts, decisions, remembered_rules, threads, usage
from ledger.access import Access
from ledger.audit import AuditFilters
from ledger.database import open_ledger_database
from ledger.owner import presence_of, this_process
from ledger.reads import Read, Reads
from ledger.records import (
    Call,
    CallKey,
    Claim,
    Decision,
    Entered,
    Lost,
    OpenCall,
    Recorded,
    Remembered,
    Running,
    Status,
    ThreadStatus,
    TurnUsed,
    Use,
    Used,
    fields_of,
)
from ledger.remembered_rules import Answers
from ledger.threads import Stamp
from ledger.usage import Grouping, UsageFilters
from storage.engine import SqlDatabase
from storage.long_results import Needed
from storage.writer import Writer

_RULE_ID_LENGTH = 10
_DECLINED_S = 30 * 86_400.0
"""How long no rule is offered like one that was not taken."""
_MOST_TOKENS = 10**15
"""Of one call, whatever a provider says: their sum has room in a column."""
_FIRST_POLL_S, _LAST_POLL_S = 0.02, 0.5


class Ledger:
    """One row per call, for any event loop and many processes.

    A method returns when its write is on disk, but for `record_usage` and `reads`: those
    return at once, and what they write is on disk before any later write. A write that has begun is finished
    even if its caller is cancelled. Every method may raise StorageError.

    Times are seconds since the epoch. After `expires_at` no answer to a question counts, and no yes to one
    that is asked again; None: it never ends. `recorded`: the conversation says that the call was agreed to or
    begun; see `ledger.calls.row_or_lost`. Calls, threads and rules are a user's: to another they are absent.
    Only what lists them for whoever runs this installation may name no user.
    """

    def __init__(
        self, database: SqlDatabase, redact: Redact, owner: str, writer: Writer | None = None
    ) -> None:
        """Begin, with a writer of its own where none is given."""
        self.database = database
        self.now = database.now
        """The time that all who share the ledger agree on."""
        self.writer = writer or Writer("writer")
        """Writes to the ledger first, and then to whatever else is opened with it."""
        self.access = self._access = Access(database, self.writer)
        """Reads and writes, for other tables of this database, too."""
        self._redact = redact
        self._clean = partial(redacted_text, redact=redact)
        self._owner = owner
        self.reads = Reads(self._access, owner, self._row)

    @classmethod
    async def open(cls, database: Path | str, redact: Redact = str) -> Self:
        """Open or create a ledger at a path or a URL.

        `redact` strips secrets from every text before it is stored.

        Raises:
            StorageError: it cannot be used; the message says why and what to do.
        """
        return await asyncio.to_thread(cls._open, database, redact)

    @classmethod
    def _open(cls, place: Path | str, redact: Redact) -> Self:
        database, owner = open_ledger_database(place), this_process()
        try:
            database.announce(presence_of(owner))
        except Exception:
            database.close()
            raise
        return cls(database, redact, owner)

    async def close(self) -> None:
        """Write what is queued and close; again is harmless."""
        await asyncio.to_thread(self._access.close)

    async def enter(self, made: Sequence[Call], held: Collection[str] = ()) -> Entered:
        """Enter calls made at once, all or none, before any runs.

        `held` are the ids of the calls that the conversation holds: what the turn began besides may have been
        the same.
        """
        return await self._access.write(
            _thread_of(made), calls.enter, [self._row(call) for call in made], held
        )

    async def ask(self, asked: Sequence[Call], expires_at: float | None) -> float | None:
        """Put one confirmation's calls before a person, unless asked before.

        Returns:
            The earliest `expires_at` on record of a call that waits; None where none has one.
        """
        return await self._access.write(
            _thread_of(asked), calls.ask, [self._row(call) for call in asked], expires_at
        )

    async def ask_again(self, open_calls: Sequence[Call], expires_at: float | None) -> dict[str, Lost]:
        """Ask again about those begun calls whose outcome is unknown.

        The calls have the arguments that they ran with.

        Returns:
            Those asked about, by call id; the others are left as they are.
        """
        rows = [self._row(call) for call in open_calls]
        return await self._access.write(
            _thread_of(open_calls), decisions.ask_again, rows, expires_at, self.now()
        )

    async def decide(  # noqa: PLR0913 (one decision, whole)
        self,
        key: CallKey,
        *,
        approve: bool,
        by: str,
        fingerprint: str,
        shown: str = "",
        message: str = "",
        args: dict[str, Any] | None = None,
        edited: str = "",
        remember: Remembered | None = None,
        offered: Mapping[str, str] | None = None,
        attempt: int | None = None,
        at: float | None = None,
    ) -> Decision:
        """Record the first decision on a call; return the one recorded.

        For `by`, `fingerprint`, `shown`, `args`, `edited` and `attempt` see `ledger.decisions.Answer`.
        Without `approve` the call is rejected, which ends it, and `message` says why. `remember` is the rule
        that begins with this approval, if this is the decision on record; `offered` are the patterns of the
        one that was offered with the question. `at` None is now.
        """
        words = f"{decisions.DENIED}: {message}" if message else f"{decisions.DENIED}."
        consent = "approved" if args is None else "edited"
        now = self.now() if at is None else at
        answer = decisions.Answer(
            decision=consent if approve else "rejected",
            by=by,
            at=now,
            fingerprint=fingerprint,
            shown=shown,
            text=self._clean(words),
            args=args,
            edited=edited,
            stored_args=None if args is None else redacted_json(args, self._redact),
            attempt=attempt,
            rule=None if remember is None else self._rule(key, remember, by, now),
            offered=self._declined(offered, now) if offered else None,
        )
        operation = decisions.decide if attempt is None else decisions.decide_again
        return await self._access.write(_of(key.thread), operation, key, answer)

    async def claim(self, call: Call, **terms: Unpack[claims.Terms]) -> Claim:
        """Claim a call to run it; of all claimants one gets Claimed.

        The call has the arguments it would be run with; others than those on record never run.
        """
        was: dict[str, Any] = {}
        claimant = claims.Claimant(self._owner, self.now())
        try:
            return await self._access.write(
                _of(call.thread), claims.claim, self._row(call), claimant, terms, was
            )
        except asyncio.CancelledError:
            with suppress(StorageError):
                self._access.leave(_of(call.thread), claims.release, was, claimant)
            raise

    async def abandon(self, key: CallKey, attempt: int) -> None:
        """Let an attempt claimed here lapse: it counts as lost now."""
        await self._access.write(_of(key.thread), claims.abandon, key, self._owner, attempt)

    async def finish(  # noqa: PLR0913 (one outcome, whole)
        self,
        key: CallKey,
        *,
        status: Status,
        text: str,
        duration_ms: float | None,
        size: int | None = None,
        sha256: str | None = None,
        untrusted: bool = False,
        attempt: int,
        lost: bool = False,
        read: Read | None = None,
    ) -> Recorded | None:
        """Record a call's outcome; the first outcome stays.

        `text` is its result, or the two ends of one that is stored elsewhere: `size`, in bytes, and `sha256`
        are of the whole (None: of the text). `untrusted`: it holds what others wrote. `attempt` is the one
        that was claimed. `lost`: it was looked up, and its owner is gone; False: it is this process's own.
        `read` is what `reads` began; None: it was claimed.

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
            "untrusted": untrusted,
            "owner": None,
            "lease_until": None,
        }
        if read:
            self.reads.record(read, **outcome)
            return Recorded(status, clean, untrusted)
        by = None if lost else self._owner
        return await self._access.write(_of(key.thread), claims.finish, key, by, outcome, attempt, self.now())

    async def note(
        self, call: Call, *, status: Status, text: str, untrusted: bool = False, recorded: bool = False
    ) -> Recorded | None:
        """Close a call that is not to run; return its recorded outcome.

        None where a living owner runs it; `text` says why it ends.
        """
        row = {**self._row(call), "status": status, "text": self._clean(text), "untrusted": untrusted}
        begun = [call.call_id] if recorded else []
        ended = await self._access.write(_of(call.thread), calls.close, [row], begun, self.now())
        return ended.get(call.call_id)

    async def recall(self, missing: Sequence[tuple[Call, Recorded | None]]) -> None:
        """Enter missing records, each with its outcome; None: unknown."""
        rows = [
            {
                **self._row(call),
                "status": outcome.status if outcome else "planned",
                "text": self._clean(outcome.text) if outcome else None,
                "untrusted": outcome.untrusted if outcome else None,
            }
            for call, outcome in missing
        ]
        await self._access.write(_thread_of([call for call, _ in missing]), calls.recall, rows)

    async def outcomes(self, user: str, thread: str, call_ids: Sequence[str]) -> dict[str, Recorded]:
        """Return the outcomes on record, by call id."""
        return await self._access.read(calls.outcomes, user, thread, call_ids)

    async def supersede(self, closed: Sequence[Call], recorded: Collection[str] = ()) -> dict[str, Recorded]:
        """Close calls for good, and return their outcomes by call id.

        A call that a living owner runs stays open and is left out.
        """
        ended = {"status": "superseded", "text": calls.SUPERSEDED, "untrusted": False}
        rows = [{**self._row(call), **ended} for call in closed]
        return await self._access.write(_thread_of(closed), calls.close, rows, recorded, self.now())

    async def await_outcome(self, key: CallKey, timeout_s: float) -> Recorded | None:
        """Wait for the outcome of a call that another owner runs.

        Returns:
            None after `timeout_s` seconds, or as soon as nobody is running it.
        """
        deadline = time.monotonic() + timeout_s
        pause = _FIRST_POLL_S
        while True:
            found = await self._access.read(calls.state_of, key, self.now())
            left = deadline - time.monotonic()
            if not isinstance(found, Running) or left <= 0:
                return found if isinstance(found, Recorded) else None
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LAST_POLL_S)

    async def open_calls(self, thread: str, *, user: str | None = None) -> list[OpenCall]:
        """Return a thread's calls that wait, run or are lost, in order."""
        return await self._access.read(calls.still_open, {"thread": thread, "user": user}, self.now())

    async def known(self, thread: str, *, user: str | None = None) -> set[str]:
        """Return the ids of a thread's calls, whatever became of them."""
        return await self._access.read(calls.known, {"thread": thread, "user": user})

    async def rules(self, *, user: str | None = None, valid: bool = False) -> list[dict[str, Any]]:
        """Return remembered rules, oldest first; `valid`: those not run out."""
        return await self._access.read(remembered_rules.listed, user, self.now() if valid else None)

    async def answers(self, user: str, tool: str, *, since: float) -> Answers:
        """Return what a user answered about calls of a tool."""
        return await self._access.read(remembered_rules.answers, user, tool, since, self.now())

    async def revoke_rule(self, rule_id: str, *, user: str | None = None) -> bool:
        """Forget a rule; False: the user (None: anybody) has none such."""
        return await self._access.write("", remembered_rules.revoke, rule_id, user)

    def record_usage(self, use: Use) -> None:
        """Record one model call, before all that is recorded later.

        Raises:
            StorageError: the ledger is closed.
        """
        self._access.leave("", usage.record, self._used(use))

    def book_usage(
        self, use: Use, most_tokens: float | None, most_usd: float | None
    ) -> asyncio.Future[int | Used]:
        """Book a model call about to begin, at its estimated most.

        Its `counted_tokens` and `cost_usd` count until it is settled. The limits are of its user's day; None:
        there is none.

        Returns:
            The number to settle it by; or what is used, where that reaches a limit: the call may not begin.
        """
        return self._access.write(f"day of {use.user}", usage.book, self._used(use), most_tokens, most_usd)

    def settle_usage(self, number: int, use: Use | None) -> None:
        """Record what a booked call took; None: it was never made."""
        self._access.leave("", usage.settle, number, None if use is None else self._used(use))

    async def usage(self, **filters: Unpack[UsageFilters]) -> list[dict[str, Any]]:
        """Return model calls, oldest first, under the names of `Use`."""
        return await self._access.read(usage.listed, filters)

    async def usage_totals(self, *, by: Grouping, **filters: Unpack[UsageFilters]) -> list[dict[str, Any]]:
        """Return sums of what is known; None: nothing is; UTC days.

        Each has the names it is grouped by (`model`: backend and model; `turn`: thread and turn),
        `model_calls`, and `unpriced_calls`: how many of them the cost leaves out.
        """
        return await self._access.read(usage.totals, by, filters)

    async def used_today(self, user: str) -> tuple[int, float]:
        """Return a user's counted tokens and dollars of the day."""
        return await self._access.read(usage.used_on, user, self.now())

    async def used_in(self, user: str, thread: str, turn: str) -> TurnUsed:
        """Return what a turn has used, whatever its state says."""
        return await self._access.read(usage.used_in, user, thread, turn)

    async def counts(self) -> counts.Counts:
        """Return what monitoring asks for, of all users and processes."""
        return await self._access.read(counts.counted, self.now())

    async def audit(
        self, *, limit: int | None = None, numbered: bool = False, **filters: Unpack[AuditFilters]
    ) -> list[dict[str, Any]]:
        """Return the newest `limit` calls, newest last, open ones included."""
        return await self._access.read(audit.listed, filters, limit, numbered=numbered)

    async def touch(self, thread: str, *, user: str, status: ThreadStatus, title: str | None = None) -> None:
        """Record how a user's thread stands; another's stays as it is.

        `title` None leaves it as it was.
        """
        await self._access.write(_of(thread), threads.touch, self._thread_row(thread, user, status, title))

    def mark(self, thread: str, *, user: str, status: ThreadStatus, title: str | None = None) -> None:
        """Record as `touch` does, without waiting; raises as `record_usage` does."""
        self._access.leave(_of(thread), threads.touch, self._thread_row(thread, user, status, title))

    def settled(self) -> asyncio.Future[None]:
        """Return a future: all that was recorded before is on disk.

        Raises, and its future too:
            StorageError: the ledger is closed, or cannot be written to.
        """
        return self._access.settled()

    async def take_up(self, thread: str, user: str) -> None:
        """Record that this process goes on with a user's turn."""
        await self._access.write(_of(thread), threads.take_up, thread, user, self._owner)

    async def threads(
        self, *, user: str | None = None, status: ThreadStatus | None = None, since: float | None = None
    ) -> list[dict[str, Any]]:
        """Return threads, the last touched last; `status` is the recorded one.

        `since`: those alone that were touched then or later, or run.
        """
        return await self._access.read(threads.listed, {"user": user, "status": status}, since)

    async def thread_names(self) -> set[str]:
        """Return the ids of all threads."""
        return await self._access.read(threads.names)

    async def thread(self, thread: str) -> dict[str, Any] | None:
        """Return a thread as `threads` does; None: it has no record."""
        found = await self._access.read(threads.listed, {"thread": thread})
        return found[0] if found else None

    async def rename(self, thread: str, user: str, title: str) -> bool:
        """Call a user's thread by another title; False: they have none such."""
        title = self._clean(title.strip())[: threads.TITLE_CHARS]
        return await self._access.write(_of(thread), threads.rename, thread, user, title)

    async def stamps(self) -> dict[str, Stamp]:
        """Return, by user, what differs once something of theirs has changed."""
        return await self._access.read(threads.stamps, self.now())

    async def forget_thread(self, thread: str, *, audit: bool) -> None:
        """Delete a thread's row, with `audit` its calls; its usage stays."""
        await self._access.write(_of(thread), threads.forget, thread, audit=audit)

    async def link_chat(self, user: str, keys: Sequence[str], thread: str) -> None:
        """Note that keys of another program lead to a user's thread."""
        await self._access.write(_of(thread), threads.link_chat, user, keys, thread, self.now())

    async def claim_chat(self, user: str, key: str, thread: str) -> str:
        """Note a key, unless it leads somewhere; return where it leads."""
        return await self._access.write(
            f"chat {user} {key}", threads.claim_chat, user, key, thread, self.now()
        )

    async def chat(self, user: str, key: str) -> str | None:
        """Return the thread that a user's key leads to; None: to none."""
        return await self._access.read(threads.thread_of_chat, user, key)

    async def needed_results(self) -> Needed:
        """Return the long results that the threads there are need."""
        return await self._access.read(threads.needed_results)

    def _rule(self, key: CallKey, said: Remembered, by: str, now: float) -> dict[str, Any]:
        return {
            "id": hashlib.sha256("\0".join(key).encode()).hexdigest()[:_RULE_ID_LENGTH],
            "where": redacted_json(said.where, self._redact),
            "until": said.until,
            "uses_left": said.uses,
            "definition": said.definition,
            "created_at": now,
            "created_by": by,
        }

    def _declined(self, offered: Mapping[str, str], now: float) -> dict[str, Any]:
        return {"where": redacted_json(offered, self._redact), "until": now + _DECLINED_S}

    def _row(self, call: Call) -> dict[str, Any]:
        stored = {"tool": self._clean(call.tool), "args": redacted_json(call.args, self._redact)}
        alike = {} if call.effect == "read" else {"made": call.fingerprint, "round": call.call_id}
        return {**fields_of(call), **stored, **alike}

    def _thread_row(self, thread: str, user: str, status: ThreadStatus, title: str | None) -> dict[str, Any]:
        now = self.now()
        return {
            "thread": thread,
            "user": user,
            "status": status,
            "title": None if title is None else self._clean(title.strip())[: threads.TITLE_CHARS],
            "waiting_since": now if status == "waiting" else None,
            "updated_at": now,
            "owner": self._owner if status == "running" else None,
        }

    def _used(self, use: Use) -> dict[str, Any]:
        row = fields_of(use)
        counted = {name: min(max(0, n), _MOST_TOKENS) for name, n in row.items() if isinstance(n, int)}
        return {**row, **counted, "error": None if use.error is None else self._clean(use.error)}


def _of(thread: str) -> str:
    return f"thread {thread}"


def _thread_of(some: Sequence[Call]) -> str:
    """Return what calls made at once work on; empty: there are none."""
    return _of(some[0].thread) if some else ""
