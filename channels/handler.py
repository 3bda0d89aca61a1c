"""What a chat message does (begin, answer, command), and its reply."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, nullcontext, suppress
from typing import Any
from uuid import UUID, uuid5

from base.errors import NothingPendingError, UnknownThreadError
from channels.delivery import Delivery, Draft, Outgoing
from channels.dialogue import CODE_LENGTH, Dialogue, code_of, receipts_text
from channels.messages import Messages
from channels.messenger import Incoming, Messenger, MessengerError
from channels.questions import Questions, is_whole
from graphs.attachments import Attachment
from graphs.result import Result, condition_of, result_of
from graphs.session import Orchestrator
from graphs.stream import Confirmation, Done, Event
from nodes.context import Context

HELP = (
    "Write what you would like to know or have done; pictures, files and voice messages come along.\n"
    "/new begins another conversation.\n"
    "/stop stops what runs, and drops what waits behind it.\n"
    "What needs your consent comes as a question with buttons; to change it, reply to it with edit and lines "
    "such as name: new value."
)
_IDS = UUID("6f1d3c1e-8d0b-4f0e-9a53-2f0d3f5c8b11")
"""Namespace of the ids of messages and threads that come from messengers."""


class Handler:
    """Acts on one messenger's messages, until what follows is sent."""

    def __init__(
        self, orchestrator: Orchestrator, messenger: Messenger, delivery: Delivery, questions: Questions
    ) -> None:
        self._orchestrator = orchestrator
        self._messenger = messenger
        self._messages = Messages(orchestrator.ledger.access)
        self._delivery = delivery
        self._questions = questions
        self.changed = asyncio.Event()
        """A question may have been answered."""

    async def act(self, rows: Sequence[dict[str, Any]]) -> None:
        """Act on a message, or on an album that is one."""
        came = [Incoming.read(row["content"]) for row in rows]
        if came[0].pressed:
            await self._take_press(rows[0], came[0])
        elif command_of(came[0].text) in {"/help", "/start"}:
            await self.reply(rows[0], HELP)
        else:
            await self._take_words(rows, came)

    async def reply(self, row: dict[str, Any], words: str, suffix: str = "") -> None:
        """Say something in answer to a message, once."""
        text = Outgoing(row["chat"], f"answer {row['id']}{suffix}", words, row["user"], row["thread"])
        await self._delivery.put(text)

    async def _take_words(self, rows: Sequence[dict[str, Any]], came: Sequence[Incoming]) -> None:
        """Let a message become a turn, or answer a question."""
        row, user = rows[0], rows[0]["user"]
        text = "\n".join(each.text for each in came if each.text)
        if command_of(text) == "/new":
            text = text.partition(" ")[2].strip()
            key = _chat_key(self._messenger, row["chat"])
            await self._orchestrator.ledger.link_chat(user, [key], _id_of(row, "thread"))
            if not text and not came[0].files:
                await self.reply(row, "A new conversation begins.")
                return
        events = await self._resumed(row) if row["status"] == "begun" else None
        if events is None:
            thread, shown = await self._aim(row, came[0])
            values = {"thread": thread, "turn": _id_of(row, "turn"), "shown": shown}
            row = {**row, **values}
            await self._messages.change([each["id"] for each in rows], status="begun", **values)
            attachments, refused = await self._fetched(came, text)
            if refused:
                await self.reply(row, refused, " refused")
            forwarded = any(each.forwarded for each in came)
            if not (attachments or (text and not forwarded)):
                return
            events = Dialogue(self._orchestrator, user).say(
                thread,
                "" if forwarded else text,
                attachments=attachments,
                shown=None if forwarded else shown,
                message_id=row["turn"],
            )
        await self._follow(row, events, row["chat"], user)

    async def _aim(self, row: dict[str, Any], incoming: Incoming) -> tuple[str, str | None]:
        """Return a message's thread, and the code of its question."""
        place, user = self._delivery.place(row["chat"]), row["user"]
        if incoming.reply_to:
            asked = await self._messages.find(place, incoming.reply_to)
            if asked and asked["question"] and asked["user"] == user and is_whole(asked):
                return asked["thread"], asked["question"][:CODE_LENGTH]
        key = _chat_key(self._messenger, row["chat"])
        thread = await self._orchestrator.ledger.claim_chat(user, key, _id_of(row, "thread"))
        last = await self._messages.questions(place.messenger, chat=place.chat, thread=thread, user=user)
        whole = [each for each in last if is_whole(each)]
        return thread, whole[-1]["question"][:CODE_LENGTH] if whole else None

    async def _fetched(self, came: Sequence[Incoming], text: str) -> tuple[list[Attachment], str]:
        """Return what a message brings, and why not all of it.

        What its sender did not write comes as a file of its own: it is a stranger's, and no answer.
        """
        found, refused = [], [each.refused for each in came if each.refused]
        largest = self._orchestrator.settings.limits.max_attachment_mb * 1_000_000
        if text and any(each.forwarded for each in came):
            found.append(Attachment("forwarded message.txt", text.encode()))
        for file in (file for each in came for file in each.files):
            if (file.size or 0) > largest:
                refused.append(f"{file.name!r} is left out: it has more than {largest / 1_000_000:g} MB.")
                continue
            try:
                found.append(await self._delivery.fetch(file))
            except MessengerError as error:
                refused.append(f"{file.name!r} is left out: {error}")
        return found, "\n".join(refused)

    async def _take_press(self, row: dict[str, Any], press: Incoming) -> None:
        """Let a button answer the question that it names, once."""
        user, place = row["user"], self._delivery.place(row["chat"])
        asked = await self._questions.pressed(place, press)
        events = await self._resumed(row) if row["status"] == "begun" else None
        if events is None:
            dialogue = Dialogue(self._orchestrator, user)
            is_theirs = asked and asked["question"] and asked["user"] == user
            waits = await dialogue.waiting(asked["thread"]) if asked and is_theirs else None
            decisions, problem = await self._questions.read(asked, press, user, waits)
            with suppress(MessengerError):
                await self._messenger.acknowledge(press, problem)
            if not decisions or asked is None:
                self.changed.set()
                return
            values = {"thread": asked["thread"], "shown": asked["question"][:CODE_LENGTH]}
            row = {**row, **values}
            await self._messages.change([row["id"]], status="begun", **values)
            events = dialogue.answer(row["thread"], decisions)
        owner = await self._owner(row["thread"], user)
        chat = await self._messages.chat_of(self._messenger.name, row["thread"], owner)
        with suppress(NothingPendingError):  # answered elsewhere just before, which the question itself tells
            await self._follow(row, events, chat or (row["chat"] if owner == user else None), owner)
        self.changed.set()

    async def _follow(
        self, row: dict[str, Any], events: AsyncGenerator[Event, None], chat: str | None, owner: str
    ) -> None:
        """Show a turn, then its answer; no chat: only what it asks."""
        thread, request, result = row["thread"], None, None
        answer = Outgoing(chat or "", f"answer {row['id']}", "", owner, thread)
        shown = self._delivery.growing(answer) if chat else nullcontext(Draft())
        async with shown as draft, aclosing(events):
            async for event in events:
                draft.hear(event)
                if isinstance(event, Confirmation):
                    request = event.request
                elif isinstance(event, Done):
                    result = event.result
        text = draft.text if request or not result else _answer(result)
        if chat and text:
            await self._delivery.put(Outgoing(chat, answer.key, text, owner, thread))
        self.changed.set()
        if request:
            await self._ask(row, request, chat, await self._owner(thread, owner))

    async def _ask(self, row: dict[str, Any], request: dict[str, Any], chat: str | None, owner: str) -> None:
        """Put a question to who may answer it, wherever they are."""
        reached = await self._questions.show(row["thread"], request, owner, near=chat)
        if request.get("problem"):
            key = f"problem {row['id']}"
            await self._questions.problem(row["chat"], row["user"], row["thread"], request, key)
        if chat and chat not in reached:
            where = "in a chat of our own" if reached else "on the page, or with `twobrain pending`"
            text = Outgoing(chat, f"elsewhere {row['id']}", f"That is asked {where}.", owner, row["thread"])
            await self._delivery.put(text)

    async def _owner(self, thread: str, otherwise: str) -> str:
        row = await self._orchestrator.ledger.thread(thread)
        return str(row["user"]) if row else otherwise

    async def _resumed(self, row: dict[str, Any]) -> AsyncGenerator[Event, None] | None:
        """Go on with what a message began; None: it began nothing."""
        if row["thread"] is None:
            return None
        context = Context(user=row["user"])
        try:
            snapshot = await self._orchestrator.snapshot(row["thread"], context=context)
        except UnknownThreadError:
            return None
        result = result_of(row["thread"], snapshot)
        waits = code_of(result.pending) if result.pending else None
        is_its_turn = row["turn"] is not None and snapshot.values.get("turn") == row["turn"]
        if not is_its_turn and not (row["shown"] and waits != row["shown"]):
            return None
        if condition_of(snapshot) == "interrupted":
            return self._orchestrator.stream_proceed(row["thread"], context=Context(user=row["user"]))
        return _told(result)


async def _told(result: Result) -> AsyncGenerator[Event, None]:
    if result.pending:
        yield Confirmation(result.pending)
    yield Done(result)


def command_of(text: str) -> str:
    """Return the command that a message is, without the bot's name."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    return first.partition("@")[0].lower() if first.startswith("/") else ""


def _chat_key(messenger: Messenger, chat: str) -> str:
    return f"{messenger.name} {chat}"


def _id_of(row: dict[str, Any], what: str) -> str:
    """Return an id that is a message's whenever it is acted on."""
    return str(uuid5(_IDS, f"{what} {row['messenger']} {row['id']} {row['at']!r}"))


def _answer(result: Result) -> str:
    receipts = receipts_text(result)
    said = (result.response, f"({receipts})" if receipts else "")
    return "\n\n".join(filter(None, said)) or "(There is no answer.)"
