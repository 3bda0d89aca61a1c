"""A messenger at work: what comes is stored, then done in order."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from base.errors import BusyThreadError, StorageError, TwobrainError
from base.texts import count
from channels.delivery import Delivery, Outgoing
from channels.handler import Handler, command_of
from channels.messages import Messages
from channels.messenger import Incoming, Messenger, MessengerError, SlowDownError
from channels.notices import Notice, Notices, words_of
from channels.questions import Questions
from graphs.session import Orchestrator

_TAKE_OVER_S = 1.0
"""Seconds after which another process takes the place of one that died."""
_POLL_S = 2.0
_BEHIND_S = 0.2
"""Seconds after which it is looked whether an answer before a message is done with."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_MANY = 10
"""Messages that wait in a chat, of which its person is told."""
_READ_AT_ONCE = 20
"""Messages that are read at once: an album has ten at the most."""
_STOP = "/stop"
_FLOOD = f"More than {_MANY} of your messages wait. They are taken in order; {_STOP} drops them."

_log = logging.getLogger(__name__)


class Channel:
    """One messenger's chats, served by one process at a time."""

    def __init__(self, orchestrator: Orchestrator, messenger: Messenger) -> None:
        self._orchestrator = orchestrator
        self._messenger = messenger
        self._messages = Messages(orchestrator.ledger.access)
        self._delivery = Delivery(messenger, orchestrator.ledger)
        self._questions = Questions(orchestrator, messenger, self._delivery)
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._woken: set[str] = set()
        self._at_work: dict[str, set[asyncio.Task[None]]] = {}
        """By chat: what is done with its messages just now."""
        self._flooded: set[str] = set()
        self._noticed: set[str] = set()
        """Chats that were told why nothing is done there."""
        name = messenger.name
        self._notices = Notices(
            name, orchestrator, lambda place: place == name, self._send_notice, sends_once=True
        )
        self._handler = Handler(orchestrator, messenger, self._delivery, self._questions)

    async def run(self) -> None:
        """Serve until cancelled, in place of another process once that ends."""
        while True:
            with suppress(BusyThreadError):
                async with self._orchestrator.turns.at_once(f"\ud800{self._messenger.name}"):
                    try:
                        await self._serve()
                    except Exception:  # one fault must not leave everybody without it
                        _log.exception("%s stopped, and is begun again", self._messenger.name)
            await asyncio.sleep(_TAKE_OVER_S)

    async def _serve(self) -> None:
        name = self._messenger.name
        async with self._messenger, asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for lane in await self._messages.lanes(name):
                self._wake(lane)
            tasks.create_task(self._watch())
            tasks.create_task(self._listen())

    async def _watch(self) -> None:
        """Mark questions that were answered, here or anywhere."""
        while True:
            self._handler.changed.clear()
            pause = _POLL_S
            try:
                await self._questions.settle()
                pause = min(pause, await self._notices.look(self._messenger.name))
            except TwobrainError as error:
                _log.warning("notices on %s wait: %s", self._messenger.name, error)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._handler.changed.wait()

    async def _send_notice(self, notice: Notice) -> None:
        """Ask somebody, remind them, or tell how a turn ended."""
        card = self._orchestrator.settings.users.get(notice.user)
        near = await self._messages.chat_of(self._messenger.name, notice.thread, notice.user)
        chat = await self._delivery.chat_with(card, near) if card else None
        if chat is None:
            raise MessengerError(f"[users.{notice.user}] has no {self._messenger.name}.")
        if notice.kind in {"reminder", "inbox"}:
            await self._delivery.put(
                Outgoing(chat, notice.key, await words_of(self._orchestrator, notice), notice.user)
            )
            return
        result = await self._orchestrator.result(notice.thread)
        if notice.kind == "question" and not notice.again:
            if result.pending:
                owner = await self._orchestrator.ledger.thread(notice.thread)
                name = owner["user"] if owner else notice.user
                await self._questions.show(notice.thread, result.pending, name, near=near, only=notice.user)
            return
        words = await words_of(self._orchestrator, notice)
        asked = await self._messages.question(self._delivery.place(chat), notice.subject)
        text = words if notice.kind == "question" else f"{words}\n\n{result.response}"
        again = Outgoing(chat, notice.key, text, notice.user, notice.thread)
        await self._delivery.put(replace(again, reply_to=asked["message"] if asked else None))

    async def _listen(self) -> None:
        """Take in what comes; where nothing can, try again ever more seldom."""
        cursor = None if self._messenger.remembers else await self._messages.cursor(self._messenger.name)
        pause = 0.0
        while True:
            try:
                came, following = await self._messenger.receive(cursor)
                await self._take_in(came, following)
                cursor = following
            except SlowDownError as error:
                await asyncio.sleep(error.after_s)
            except TwobrainError as error:
                if not pause:
                    _log.error("nothing comes from %s: %s It is tried again.", self._messenger.name, error)
                pause = min(max(2 * pause, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                await asyncio.sleep(pause)
            else:
                if pause:
                    _log.warning("%s can be reached again", self._messenger.name)
                pause = 0.0

    async def _take_in(self, came: Sequence[Incoming], cursor: str) -> None:
        """Store what came from who may use it; count the rest."""
        if not came and self._messenger.remembers:
            return
        users = await self._users()
        rows, unknown = [], 0
        for incoming in came:
            user = users.get(incoming.sender)
            if user is None or not self._messenger.serves(incoming):
                unknown += 1
                if user and incoming.notice and incoming.chat not in self._noticed:
                    self._noticed.add(incoming.chat)
                    self._tasks.create_task(self._tell(incoming.chat, "notice", incoming.notice, user))
                _log.warning(
                    "a message on %s was left unanswered: its sender %s may not use it in chat %s",
                    *(self._messenger.name, incoming.sender or "(unnamed)", incoming.chat),
                )
                continue
            rows.append(_row(incoming, user))
        now = self._orchestrator.ledger.now()
        await self._messages.receive(self._messenger.name, rows, cursor, unknown, now)
        for lane in dict.fromkeys(row["lane"] for row in rows):
            self._wake(lane)
        for lane, row in {row["lane"]: row for row in rows if row["lane"] == row["chat"]}.items():
            if lane not in self._flooded and await self._messages.count(self._messenger.name, lane) > _MANY:
                self._flooded.add(lane)
                self._tasks.create_task(self._tell(row["chat"], "many", _FLOOD, row["user"]))

    async def _users(self) -> dict[str, str]:
        """Return the users who have an address, as they stand now."""
        settings = self._orchestrator.settings
        known = await asyncio.to_thread(settings.read_users)
        found = {self._messenger.address(card): name for name, card in known.cards.items()}
        return {address: name for address, name in found.items() if address}

    async def _tell(self, chat: str, key: str, words: str, user: str) -> None:
        """Say something that is no answer, once under its key."""
        with suppress(MessengerError):
            await self._delivery.put(Outgoing(chat, key, words, user))

    def _wake(self, lane: str) -> None:
        self._woken.add(lane)
        if lane not in self._lanes:
            self._lanes[lane] = self._tasks.create_task(self._work(lane))

    async def _work(self, lane: str) -> None:
        """Do what waits in a lane, one after another."""
        pause = _FIRST_PAUSE_S
        while True:
            self._woken.discard(lane)
            try:
                rows = await self._messages.following(self._messenger.name, lane, _READ_AT_ONCE)
                if rows and lane == rows[0]["chat"] and await self._messages.is_behind_answer(rows[0]):
                    await asyncio.sleep(_BEHIND_S)  # what it answers, or begins, depends on that
                elif rows:
                    await self._do(_together(rows))
                elif lane in self._flooded:
                    await self._messages.forget(self._delivery.place(lane), "many")
                    self._flooded.discard(lane)
                elif lane not in self._woken:
                    del self._lanes[lane]
                    return
                pause = _FIRST_PAUSE_S
            except StorageError as error:
                _log.error("a message on %s waits: %s", self._messenger.name, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _do(self, rows: Sequence[dict[str, Any]]) -> None:
        """Act on a message; what follows from it is sent then.

        Raises:
            StorageError: it is to be acted on again.
        """
        chat, ids = rows[0]["chat"], [row["id"] for row in rows]
        task = asyncio.create_task(self._act(rows))
        self._at_work.setdefault(chat, set()).add(task)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        finally:
            self._at_work[chat].discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StorageError):
            raise error
        if error:
            await self._tell_failure(rows[0], error)
        await self._messages.change(ids, status="done")

    async def _tell_failure(self, row: dict[str, Any], error: BaseException) -> None:
        if isinstance(error, MessengerError):
            _log.warning("an answer on %s could not be sent: %s", self._messenger.name, error)
            return
        words = str(error)
        if not isinstance(error, TwobrainError):
            _log.error("a message on %s failed", self._messenger.name, exc_info=error)
            words = f"That failed: {type(error).__name__}. The log says more."
        with suppress(MessengerError):
            words = self._orchestrator.settings.redact(words)
            await self._delivery.put(Outgoing(row["chat"], f"failure {row['id']}", words, row["user"]))

    async def _act(self, rows: Sequence[dict[str, Any]]) -> None:
        await (self._stop(rows[0]) if _is_stop(rows[0]) else self._handler.act(rows))

    async def _stop(self, row: dict[str, Any]) -> None:
        others = self._at_work.get(row["chat"], set()) - {asyncio.current_task()}
        dropped = await self._messages.drop(self._messenger.name, row["chat"], row["id"])
        for task in others:
            task.cancel()
        words = "Stopped." if others else "Nothing runs here."
        await self._handler.reply(row, f"{words} Dropped: {count(dropped, 'message')}." if dropped else words)


def _row(incoming: Incoming, user: str) -> dict[str, Any]:
    """Return what is stored of a message, and in which lane."""
    lane = incoming.chat
    if incoming.pressed:
        lane = json.dumps([incoming.chat, incoming.message])
    elif command_of(incoming.text) == _STOP:
        lane = _stop_lane(incoming.chat)
    return {
        "name": incoming.id,
        "lane": lane,
        "chat": incoming.chat,
        "user": user,
        "content": incoming.stored(),
        "album": incoming.album,
        "status": "waiting",
    }


def _is_stop(row: Mapping[str, Any]) -> bool:
    return bool(row["lane"] == _stop_lane(row["chat"]))


def _stop_lane(chat: str) -> str:
    return json.dumps([chat, _STOP])


def _together(rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return the first that waits, with the rest of its album."""
    first = rows[0]
    if not first["album"]:
        return rows[:1]
    return [row for row in rows if row["album"] == first["album"] and row["turn"] == first["turn"]]
