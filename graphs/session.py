"""Open the orchestrator from Python: ask, watch, answer a confirmation, go on after a crash."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Command, StateSnapshot

from base.data_dir import CHECKPOINTS, MEMORIES, THREAD_LOCKS
from base.errors import DamagedThreadError, StorageError, UnknownThreadError
from base.settings import Settings
from base.texts import as_text, check_thread, mended
from graphs.collector import looking_seldom
from graphs.damage import blaming, sound
from graphs.events import Begun, Event, Queued, Result, ending, last
from graphs.orchestrator import graph
from graphs.result import ended, is_under_way, result_of
from graphs.stale_answers import position_of, questions, too_late
from graphs.watching import Watch
from ledger.ledger import Ledger
from models.embedding import open_embedder
from models.registry import Registry as Models
from nodes.context import Context
from nodes.intake import check_text
from nodes.resources import CONFIGURED, Resources, open_resources
from storage.checkpoints.delta_history import ThreadPosition
from storage.checkpoints.saver import Checkpoints, open_checkpoints
from storage.memories import open_memories
from storage.thread_lock import ThreadLocks
from tools.registry import Registry as Tools

_MOST_OTHERS = 10
"""Runs that have moved a thread meanwhile, and are gone on with."""


class Orchestrator:
    """The graph with its checkpoints, for callers in the same process."""

    def __init__(
        self, res: Resources, checkpointer: BaseCheckpointSaver[Any], store: BaseStore | None = None
    ) -> None:
        self.settings: Settings = res.settings
        self.ledger: Ledger = res.ledger
        self.tools: Tools = res.tools
        self.models: Models = res.models.registry
        self.graph: CompiledStateGraph[Any, Any, Any, Any] = graph.copy(
            {"checkpointer": checkpointer, "store": store}
        )
        if isinstance(checkpointer, Checkpoints):
            res = replace(res, checkpointed=checkpointer.settled)
        self._checkpointer = checkpointer
        self._res = res
        self.turns = ThreadLocks(res.settings.data_dir / THREAD_LOCKS)

    async def ask(self, text: str, *, thread_id: str | None = None, context: Context | None = None) -> Result:
        """Run a turn to its answer or to a confirmation.

        Args:
            text: what the person says.
            thread_id: the conversation; None begins a new one.
            context: the choices of this turn; None: the defaults.

        Raises:
            BadMessageError: the text is empty or too long.
            BadThreadError: the id is empty, too long, or not text.
            BusyThreadError: another process has been at work on the thread for too long.
            ConfigurationError: the context names what does not exist, or no model can be used.
        """
        return await last(self.stream(text, thread_id=thread_id, context=context, watched=False))

    def stream(
        self,
        text: str,
        *,
        thread_id: str | None = None,
        context: Context | None = None,
        watched: bool = True,
    ) -> AsyncGenerator[Event, None]:
        """Run a turn and tell what happens as it does; `Done` comes last. Raises as `ask` does.

        Whoever stops listening early cuts the turn short: it is wholly over once the generator is closed
        (`contextlib.aclosing`), and no other turn of the thread begins before.

        Args:
            text: what the person says.
            thread_id: as for `ask`.
            context: as for `ask`.
            watched: False: only the end is told, which takes a sixth off the work of a round.
        """
        text = mended(text)
        check_text(text, self.settings.limits.max_message_chars)
        thread = str(uuid.uuid4()) if thread_id is None else thread_id
        message = HumanMessage(text, id=str(uuid.uuid4()))
        run = self._run({"messages": [message]}, thread, context, watched)
        return self._turn(run, thread, context, watched)

    async def resume(self, thread_id: str, answer: Any, *, context: Context | None = None) -> Result:
        """Answer the confirmation that a thread waits for, and run on.

        Args:
            thread_id: the conversation.
            answer: True or False for all that waits, or `{"decisions": [...]}`; see the README for the forms.
            context: the choices from here on; None: those that the turn began with.

        Raises:
            UnknownThreadError: there is no such conversation.
            NothingPendingError: it waits for no answer, or for one to another question than stood there
                when this was called; the message says what became of what it asked last.
        """
        return await last(self.stream_resume(thread_id, answer, context=context, watched=False))

    async def stream_resume(
        self, thread_id: str, answer: Any, *, context: Context | None = None, watched: bool = True
    ) -> AsyncGenerator[Event, None]:
        """Answer a confirmation and tell what happens as it does. Raises as `resume` does."""
        seen = await self._position(thread_id)

        async def answered() -> AsyncGenerator[Event, None]:
            now = await self._position(thread_id)
            if not now.asks or (now != seen and not await self._asks_the_same(thread_id, seen, now)):
                raise await too_late(self.ledger, thread_id, asks_else=now.asks)
            run = self._run(Command(resume=as_text(answer)), thread_id, context, watched)
            async with aclosing(run) as events:
                async for event in events:
                    yield event

        async with aclosing(self._turn(answered(), thread_id, context, watched)) as events:
            async for event in events:
                yield event

    async def proceed(self, thread_id: str, *, context: Context | None = None) -> Result:
        """Go on with a turn that a crash or a cancellation cut short; what ran is not run again.

        Raises:
            UnknownThreadError: there is no such conversation.
        """
        return await last(self.stream_proceed(thread_id, context=context, watched=False))

    def stream_proceed(
        self, thread_id: str, *, context: Context | None = None, watched: bool = True
    ) -> AsyncGenerator[Event, None]:
        """Go on with a turn that was cut short and tell what happens. Raises as `proceed` does."""

        async def gone_on_with() -> AsyncGenerator[Event, None]:
            if is_under_way(await self.snapshot(thread_id)):
                await self.ledger.take_up(thread_id)
                async with aclosing(self._run(None, thread_id, context, watched)) as events:
                    async for event in events:
                        yield event

        return self._turn(gone_on_with(), thread_id, context, watched)

    async def result(self, thread_id: str) -> Result:
        """Return how a thread's last turn stands.

        Raises:
            UnknownThreadError: there is no such conversation.
            DamagedThreadError: what is stored of it cannot be read.
        """
        return result_of(thread_id, await self.snapshot(thread_id))

    async def all_tools(self) -> Tools:
        """Return the tools with those of the MCP servers, which are started for it where they are not yet."""
        return (await self._res.joined()).tools

    async def pending(self) -> list[dict[str, Any]]:
        """Return `{thread_id, user, title, since, request}` for each thread that waits, the longest first.

        The request of a thread that is damaged asks for nothing; its message says so.
        """
        found = []
        for row in await self.ledger.threads(status="waiting"):
            try:
                request = (await self.result(row["thread"])).pending
            except UnknownThreadError:
                continue  # its checkpoints are another program's
            except DamagedThreadError as error:
                request = {"action_requests": [], "review_configs": [], "message": str(error)}
            if request:
                told = {"thread_id": row["thread"], "user": row["user"], "title": row["title"]}
                found.append({**told, "since": row["waiting_since"], "request": request})
        return sorted(found, key=lambda entry: entry["since"])

    def config(self, thread_id: str) -> RunnableConfig:
        """Return the config with which `graph` itself is run on a thread.

        Raises:
            BadThreadError: the id is empty, too long, or not text.
        """
        check_thread(thread_id)
        return {"configurable": {"thread_id": thread_id, CONFIGURED: self._res}}

    async def snapshot(self, thread_id: str) -> StateSnapshot:
        """Return what the graph itself knows of a thread. Raises as `result` does."""
        with sound(thread_id):
            snapshot = await self.graph.aget_state(self.config(thread_id))
        if not snapshot.values and not snapshot.next:
            raise _unknown(thread_id)
        return snapshot

    async def _turn(
        self, run: AsyncGenerator[Event, None], thread: str, context: Context | None, watched: bool
    ) -> AsyncGenerator[Event, None]:
        """Wait for the thread to be free, run, and tell how the turn ended."""
        if queued := watched and self.turns.is_held(thread):
            yield Queued()
        async with self.turns.of(thread):
            if queued:
                yield Begun()
            with self._seeing(thread) as seen:
                async with aclosing(run):
                    async for event in run:
                        yield event
            result = ended(thread, seen) or await self._end(thread, context)
        for event in ending(result):
            yield event

    def _seeing(self, thread: str) -> AbstractContextManager[Mapping[str, Any]]:
        saver = self._checkpointer
        return saver.latest_values(thread) if isinstance(saver, Checkpoints) else nullcontext({})

    async def _end(self, thread_id: str, context: Context | None) -> Result:
        """Return how a turn ended.

        A run of the plain graph does not queue for its turn: where one has moved the thread since and is not
        done, its steps are gone on with here, too. What it does to the world is done once all the same.
        """
        for _ in range(_MOST_OTHERS):
            snapshot = await self.snapshot(thread_id)
            if not is_under_way(snapshot):
                break
            async for _event in self._run(None, thread_id, context, watched=False):
                pass
        return result_of(thread_id, snapshot)

    async def _position(self, thread_id: str) -> ThreadPosition:
        with sound(thread_id):
            found = await position_of(self._checkpointer, self.config(thread_id))
        if found is None:
            raise _unknown(thread_id)
        return found

    async def _asks_the_same(self, thread_id: str, seen: ThreadPosition, now: ThreadPosition) -> bool:
        """Tell whether it still asks what it did: a second click must not answer what came after."""
        config = self.config(thread_id)
        with sound(thread_id):
            asked = [await questions(self._checkpointer, config, at) for at in (seen, now)]
        return asked[0] == asked[1]

    async def _run(
        self, given: Any, thread: str, context: Context | None, watched: bool
    ) -> AsyncGenerator[Event, None]:
        """Run the graph and translate its stream; when it ends, however it does, every step is on disk."""
        stream: Any = self.graph.astream(
            given,
            self.config(thread),
            context=context,
            stream_mode=["messages", "custom"] if watched else [],
            durability="sync",
        )
        watch = Watch()
        try:
            async with blaming(thread, self.snapshot), aclosing(stream):
                async for mode, payload in stream:
                    if event := watch.event(mode, payload):
                        yield event
        except BaseException:
            with suppress(StorageError):  # whoever looks at the thread next is told
                await asyncio.shield(self._res.settled(thread, ended=True))
            raise
        await asyncio.shield(self._res.settled(thread, ended=True))


@asynccontextmanager
async def open_orchestrator(settings: Settings | None = None) -> AsyncIterator[Orchestrator]:
    """Open the orchestrator on the SQLite files of the data directory.

    While it is open, the process's garbage collector looks less often; see `graphs.collector`.

    Args:
        settings: None: read from the environment and twobrain.toml.

    Raises:
        ConfigurationError: the environment or twobrain.toml is not as expected.
        StorageError: the data directory cannot be used.
    """
    res = await open_resources(settings)
    try:
        with looking_seldom():
            async with (
                open_checkpoints(res.settings.data_dir / CHECKPOINTS, writer=res.ledger.writer) as saver,
                open_memories(res.settings.data_dir / MEMORIES, open_embedder(res.settings)) as store,
            ):
                yield Orchestrator(res, saver, store)
    finally:
        await res.close()


def _unknown(thread_id: str) -> UnknownThreadError:
    return UnknownThreadError(f"There is no thread {thread_id!r}. `twobrain threads` lists those there are.")
