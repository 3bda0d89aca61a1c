"""A household whose people write to an account on Synapse, as their own clients do."""

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from channels.matrix import open_matrix
from channels.runner import Channel
from graphs.session import Orchestrator
from tests.behaviour.crashes.process import Home
from tests.channels.matrix.synapse import SERVER, Synapse

WITHIN_S = 40
_numbers = itertools.count()


@pytest.fixture(scope="session")
def synapse(tmp_path_factory) -> Iterator[Synapse]:
    with Synapse(tmp_path_factory.mktemp("synapse")) as server:
        yield server


@dataclass
class Shown:
    """A message as it stands in a room."""

    id: str
    room: str
    content: dict[str, Any]
    edits: int = 0

    @property
    def text(self) -> str:
        return self.content["body"]

    @property
    def reply_to(self) -> str | None:
        return self.content.get("m.relates_to", {}).get("m.in_reply_to", {}).get("event_id")


@dataclass
class Person:
    """Somebody with a client of their own; `shown` is what the assistant wrote to them, edits made."""

    client: Any
    bot: str
    room: str = ""
    shown: list[Shown] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    typing: set[str] = field(default_factory=set)

    async def open_room(self, *others: str, encrypted: bool = False, **options: Any) -> str:
        """Invite the assistant, and whoever else, to a new room."""
        from nio import RoomPreset

        state = [_ENCRYPTION] if encrypted else []
        options = {"is_direct": True, "preset": RoomPreset.trusted_private_chat, **options}
        made = await self.client.room_create(invite=[self.bot, *others], initial_state=state, **options)
        self.room = made.room_id
        return self.room

    async def say(self, text: str = "", room: str = "", **content: Any) -> str:
        said = {"msgtype": "m.text", "body": text, **content}
        sent = await self.client.room_send(room or self.room, "m.room.message", said)
        return _checked(sent).event_id

    async def react(self, event: str, key: str, room: str = "") -> str:
        relation = {"rel_type": "m.annotation", "event_id": event, "key": key}
        sent = await self.client.room_send(room or self.room, "m.reaction", {"m.relates_to": relation})
        return _checked(sent).event_id

    async def reply(self, event: str, text: str) -> str:
        return await self.say(text, **{"m.relates_to": {"m.in_reply_to": {"event_id": event}}})

    async def until(self, what: Callable[[], Any]) -> Any:
        """Read along until something is so, and return it."""
        try:
            async with asyncio.timeout(WITHIN_S):
                while not (found := what()):
                    await self._read()
                return found
        except TimeoutError:
            pytest.fail(f"{[each.text for each in self.shown]}")

    async def text(self, part: str, room: str = "") -> Shown:
        """Wait for a message that holds a text."""
        return await self.until(lambda: self.find(part, room))

    def find(self, part: str, room: str = "") -> Shown | None:
        fitting = [each for each in self.shown if part in each.text and room in {"", each.room}]
        return fitting[-1] if fitting else None

    async def caught_up(self) -> None:
        """Read what there is."""
        await self._read(wait_ms=1)

    async def _read(self, wait_ms: int = 5_000) -> None:
        synced = await self.client.sync(timeout=wait_ms, since=self.client.next_batch or None)
        for room, joined in synced.rooms.join.items():
            for event in joined.timeline.events:
                self._take(room, event.source)
            for event in joined.ephemeral:
                self.typing |= set(getattr(event, "users", ()))

    def _take(self, room: str, event: dict[str, Any]) -> None:
        self.events.append(event)
        content = event["content"]
        if event["sender"] != self.bot or event["type"] != "m.room.message":
            return
        relation = content.get("m.relates_to", {})
        if relation.get("rel_type") != "m.replace":
            self.shown.append(Shown(event["event_id"], room, content))
            return
        [changed] = [each for each in self.shown if each.id == relation["event_id"]]
        changed.content, changed.edits = content["m.new_content"], changed.edits + 1


def _checked(response: Any) -> Any:
    assert not hasattr(response, "status_code"), response
    return response


_ENCRYPTION = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}


@dataclass
class Family:
    """A home in which anna, bob and kid, whom bob approves for, write to an account."""

    home: Home
    synapse: Synapse
    number: int
    url: str
    """Where the account's homeserver is."""
    people: list[Person] = field(default_factory=list)

    @property
    def bot(self) -> str:
        return self.id("twobrain")

    def id(self, name: str) -> str:
        return f"@{name}-{self.number}:{SERVER}"

    @property
    def effects(self) -> list[str]:
        return self.home.effects

    def configure(self, more: str = "") -> None:
        self.home.configure(self.config(more))

    def config(self, more: str = "") -> str:
        return f"""
[users.anna]
role = "admin"
matrix = "{self.id("anna")}"
[users.bob]
role = "admin"
matrix = "{self.id("bob")}"
[users.kid]
role = "user"
matrix = "{self.id("kid")}"
approvers = ["bob"]
[channels.matrix]
homeserver = "{self.url}"
user = "{self.bot}"
{more}"""

    async def person(self, name: str, *, alone: bool = True) -> Person:
        """Register somebody, who opens a direct room."""
        from nio import AsyncClient

        client = AsyncClient(self.synapse.url)
        client.user_id = self.id(name)
        client.access_token = await asyncio.to_thread(self.synapse.register, f"{name}-{self.number}")
        self.people.append(Person(client, self.bot))
        if alone:
            await self.people[-1].open_room()
        return self.people[-1]


@pytest.fixture
async def family(home: Home, synapse: Synapse) -> AsyncIterator[Family]:
    family = Family(home, synapse, next(_numbers), synapse.url)
    register = functools.partial(synapse.register, f"twobrain-{family.number}")
    home.environ["MATRIX_ACCESS_TOKEN"] = await asyncio.to_thread(register)
    family.configure()
    yield family
    for person in family.people:
        await person.client.close()


@asynccontextmanager
async def serving(home: Home, pause_s: float = 0.02, **options: Any) -> AsyncIterator[Orchestrator]:
    """Serve the family's rooms, as a process of its own does."""
    async with home.opened(**options) as orchestrator:
        messenger = open_matrix(orchestrator.settings)
        assert messenger is not None
        messenger.pause_s = pause_s
        task = asyncio.create_task(Channel(orchestrator, messenger).run())
        try:
            yield orchestrator
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
