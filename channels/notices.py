"""Notices: what waits, ended or is due, told outside quiet hours, again."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from base.errors import BusyThreadError, TwobrainError, UnknownThreadError
from base.settings import UserCard
from base.texts import visible
from channels.messages import Messages, NoticeRows
from graphs.session import Orchestrator
from ledger.threads import PAGE
from schedules.destinations import barred, is_served
from schedules.schedules import UNWATCHED, Schedules, note_on
from tools.notify import sent_to

_POLL_S = 3.0
_LONG_TURN_S = 60.0
"""Seconds of a turn at whose end nobody need be watching any more."""
_RETRY_S = 60.0
"""Seconds until a service that could not be reached is tried again."""
_LOCK = "\ud800notices"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person is told in one place."""

    key: str
    user: str
    place: str
    """A messenger's name, `page`, or the name of a variable with an apprise URL."""
    kind: str
    """question, failed, finished, reminder, or inbox: one that cannot be watched."""
    thread: str
    subject: str
    """The question's identity, the turn's id, or of an inbox what is said of it."""
    again: bool = False
    """They were told before, and it waits still."""


class Notices:
    """The notices of some places."""

    def __init__(
        self,
        name: str,
        orchestrator: Orchestrator,
        is_ours: Callable[[str], bool],
        send: Callable[[Notice], Awaitable[None]],
        *,
        sends_once: bool = False,
    ) -> None:
        """`send` tells a person, and raises TwobrainError where it cannot.

        By `name` is stored how far was looked. `sends_once`: a notice that is sent again comes once all the
        same, by its key.
        """
        self._sends_once = sends_once
        self._name = name
        self._orchestrator = orchestrator
        self._rows = NoticeRows(orchestrator.ledger.access)
        self._messages = Messages(orchestrator.ledger.access)
        self._is_ours = is_ours
        self._send = send
        self._looked: float | None = None
        """When the last thread that was looked at was touched; None: it is stored."""
        self._retry_at: dict[str, float] = {}
        """By key: until when it is not tried again."""

    async def look(self, messenger: str | None = None) -> float:
        """Tell what is to be told now; a messenger's approvers unasked.

        Return in how many seconds to look again.
        """
        asked: Collection[tuple[str, str]] = ()
        if messenger or any(card.notify for card in self._orchestrator.settings.users.values()):
            asked = await self._note(messenger)
        rows = [row for row in await self._rows.unsent() if self._is_ours(row["place"])]
        now = self._orchestrator.ledger.now()
        for row in rows:
            if row["at"] <= now:
                await self._tell(row, waits=(row["thread"], row["subject"]) in asked)
        now = self._orchestrator.ledger.now()
        return min((row["at"] - now for row in rows if row["at"] > now), default=_POLL_S)

    async def _note(self, messenger: str | None) -> Collection[tuple[str, str]]:
        """Note what to tell; return the questions that wait, by thread."""
        asked = {(row["thread"], subject): row["user"] async for row, subject in self._questions()}
        wanted = [
            Notice(f"question {thread} {subject} {user} {place}", user, place, "question", thread, subject)
            for (thread, subject), owner in asked.items()
            for user in self._answering(owner)
            for place in self._targets(user, self._beside(messenger, user, owner, thread))
        ]
        wanted += [notice async for notice in self._ended()]
        if wanted:
            now = self._orchestrator.ledger.now()
            await self._rows.add([_row(each, now) for each in wanted if self._is_ours(each.place)])
        if self._looked is not None:
            await self._rows.change(f"looked {self._name}", at=self._looked)
            self._looked = None
        return asked

    async def _tell(self, row: dict[str, Any], *, waits: bool) -> None:
        now = self._orchestrator.ledger.now()
        if row["kind"] == "question" and not waits:
            await self._rows.change(row["key"], resolved_at=now)
            return
        settings = self._orchestrator.settings
        if row["kind"] != "question" and barred(settings, row["user"], row["place"]):
            await self._rows.move(row, PAGE, now)
            return
        again = row["sent_at"] is not None
        is_quiet = row["kind"] != "reminder" and self._is_quiet(row["user"])  # they chose its time
        if (
            (again and not self._is_reminded(row, now))
            or is_quiet
            or time.monotonic() < self._retry_at.get(row["key"], 0.0)
        ):
            return
        told = {"reminded_at" if again else "sent_at": now}
        if not self._sends_once:  # what may have been sent is not sent twice
            await self._rows.change(row["key"], **told)
        try:
            await self._send(replace(noticed(row), again=again))
        except TwobrainError as error:
            _log.warning("%s could not be told by %s: %s", row["user"], row["place"], error)
            self._retry_at[row["key"]] = time.monotonic() + _RETRY_S
            await self._rows.change(row["key"], **dict.fromkeys(told))
            return
        told |= {} if row["kind"] == "question" else {"resolved_at": now}
        await self._rows.change(row["key"], **told)

    def _is_reminded(self, row: Mapping[str, Any], now: float) -> bool:
        """Tell whether somebody is to be told a second time now."""
        card = self._orchestrator.settings.users.get(row["user"])
        if card is None or card.remind_after is None or row["reminded_at"] is not None:
            return False
        return bool(now >= row["sent_at"] + 60 * card.remind_after)

    async def _questions(self) -> AsyncIterator[tuple[dict[str, Any], str]]:
        """Yield the threads that wait, each with the identity of its question."""
        for row in await self._orchestrator.ledger.threads(status="waiting"):
            with suppress(UnknownThreadError):
                if subject := await self._orchestrator.question(row["thread"]):
                    yield row, subject

    async def _ended(self) -> AsyncIterator[Notice]:
        """Yield what failed, or took so long that nobody need be watching."""
        ledger = self._orchestrator.ledger
        before = since = await self._rows.looked(self._name, ledger.now())
        for row in await ledger.threads(since=since):
            since = max(since, row["updated_at"])
            if row["status"] not in {"answered", "failed"} or not self._targets(row["user"], None):
                continue
            took = await self._rows.last_turn(row["thread"])
            kind = "failed" if row["status"] == "failed" else "finished"
            if took is None or (kind == "finished" and row["updated_at"] - took.began < _LONG_TURN_S):
                continue
            planned = await Schedules(ledger).found(took.turn)
            if planned and planned[0].status != "waiting":
                continue  # its schedule says whether it is told, and where
            for place in self._targets(row["user"], None):
                if not await self._messages.told(place, row["thread"], took.began):
                    key = f"{kind} {row['thread']} {took.turn} {place}"
                    yield Notice(key, row["user"], place, kind, row["thread"], took.turn)
        if since > before:
            self._looked = since

    def _answering(self, owner: str) -> Iterable[str]:
        card = self._orchestrator.settings.users.get(owner)
        return card.approvers if card and card.approvers else (owner,)

    def _targets(self, user: str, messenger: str | None) -> Iterable[str]:
        """Return where a user is told; `messenger`: there, too."""
        card = self._orchestrator.settings.users.get(user)
        chosen = card.notify if card else ()
        return dict.fromkeys([*chosen, *([messenger] if messenger else [])])

    def _beside(self, messenger: str | None, user: str, owner: str, thread: str) -> str | None:
        """Return the messenger where it tells of a question unasked."""
        if user != owner or not messenger:
            return messenger
        card = self._orchestrator.settings.users.get(owner)  # who sees the turns that they begin themselves
        chats = card is not None and not card.notify and getattr(card, messenger, None)
        return messenger if chats and thread.startswith(UNWATCHED) else None

    def _is_quiet(self, user: str) -> bool:
        settings = self._orchestrator.settings
        card = settings.users.get(user)
        now = datetime.fromtimestamp(self._orchestrator.ledger.now(), settings.zone(user))
        return card is not None and is_quiet(card, f"{now:%H:%M}")


def _row(notice: Notice, now: float) -> dict[str, Any]:
    fields = ("key", "user", "place", "kind", "thread", "subject")
    return {**{name: getattr(notice, name) for name in fields}, "at": now}


def is_quiet(card: UserCard, clock: str) -> bool:
    """Tell whether a time, such as 23:15, is in quiet hours."""
    if not card.quiet_hours:
        return False
    begin, end = card.quiet_hours.split("-")
    return begin <= clock < end if begin <= end else clock >= begin or clock < end


async def serve_notices(orchestrator: Orchestrator) -> None:
    """Tell by push and on the page, in one process alone."""

    async def push(notice: Notice) -> None:
        if notice.place != PAGE:  # which shows what is stored
            await _push(orchestrator, notice)

    def is_ours(place: str) -> bool:
        return not is_served(orchestrator.settings, place)  # one that is gone tells nothing by itself

    notices = Notices("others", orchestrator, is_ours, push)
    while True:
        with suppress(BusyThreadError):
            async with orchestrator.turns.at_once(_LOCK):
                while True:
                    pause = _POLL_S
                    try:
                        pause = min(pause, await notices.look())
                    except TwobrainError as error:
                        _log.error("notices wait: %s", error)
                    except Exception:  # of a push service, whatever it throws: it ends no messenger
                        _log.exception("notices wait")
                    await asyncio.sleep(pause)
        await asyncio.sleep(_POLL_S)


async def _push(orchestrator: Orchestrator, notice: Notice) -> None:
    settings = orchestrator.settings
    if why := barred(settings, notice.user, notice.place):
        raise TwobrainError(f"{why}.")
    url = settings.secret(notice.place) or ""
    if not await asyncio.to_thread(sent_to, url, await words_of(orchestrator, notice)):
        raise TwobrainError(f"the service of {notice.place} cannot be reached, or refused it.")


async def told_here(orchestrator: Orchestrator, user: str) -> list[str]:
    """Return what somebody was told nowhere yet, the oldest first.

    It counts as told, and stands on the page until it is dismissed there.
    """
    rows, now = NoticeRows(orchestrator.ledger.access), orchestrator.ledger.now()
    unseen = [row for row in reversed(await rows.on_page(user, now)) if row["sent_at"] is None]
    return [
        await words_of(orchestrator, noticed(row)) for row in unseen if await rows.tell([row["key"]], now)
    ]


def noticed(row: Mapping[str, Any]) -> Notice:
    """Return the notice that a row is of."""
    return Notice(**{name: row[name] for name in ("key", "user", "place", "kind", "thread", "subject")})


async def words_of(orchestrator: Orchestrator, notice: Notice) -> str:
    """Return what a person is told, without what a call would do."""
    if notice.kind == "inbox":
        return notice.subject
    row = await orchestrator.ledger.thread(notice.thread)
    title = visible((row or {}).get("title") or "a conversation")
    planned = await Schedules(orchestrator.ledger).found(notice.subject)
    note = f"\n({note_on(*planned)})" if planned and note_on(*planned) else ""
    if notice.kind == "reminder":
        return f"Reminder: {visible(planned[1].task)}{note}" if planned else "(A reminder that was removed.)"
    if notice.kind != "question":
        return f"{'That failed' if notice.kind == 'failed' else 'Done'}: {title}{note}"
    waiting = await orchestrator.ledger.open_calls(notice.thread)
    tools = ", ".join(dict.fromkeys(visible(each.tool) for each in waiting))
    still = "still " if notice.again else ""
    return f"A question {still}waits in {title!r}" + (f": {tools}." if tools else ".")
