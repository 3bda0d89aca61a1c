"""The orchestrator from Python: ask, stream, answer, go on after a crash."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from dataclasses import replace
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Command, StateSnapshot

from base.errors import AllowanceError, BadThreadError, DamagedThreadError, StorageError, UnknownThreadError
from base.settings import LOCAL, Settings
from base.texts import as_text, is_blank, local_time, mended
from graphs.admission import check_run, check_user
from graphs.attachments import Attachment, content_of
from graphs.damage import blame_damage, damage_named
from graphs.orchestrator import graph
from graphs.result import Result, condition_of, result_from, result_of
from graphs.stale_answers import answered_question, question, stale_answer
from graphs.stream import Begun, Confirmation, Done, Event, Queued, Translator, final_result
from graphs.undo import undo, undoable
from ledger.ledger import Ledger
from ledger.usage import day_ends
from models.call import Ask, Attempt
from models.catalog import ModelRegistry
from nodes.context import Context, choices_of
from nodes.intake import check_message
from nodes.resources import (
    CONFIGURED,
    HELD,
    Resources,
    open_resources,
    open_steps,
    open_store,
    shared_resources,
)
from nodes.state import StoredTaint
from nodes.turn.history import TAINT, TITLE
from nodes.turn.limits import ALLOWANCE_USED_UP, COUNT_ANEW
from nodes.turn.meter import use_of
from nodes.turn.undo_log import Undoable
from storage.checkpoints.durable import DurableSaver
from tools.registry import Registry

_LONGEST_THREAD = 255
"""Characters of a thread's id."""


class Orchestrator:
    """The graph with its checkpoints, for callers in the same process."""

    def __init__(
        self, res: Resources, checkpointer: BaseCheckpointSaver[Any], store: BaseStore | None = None
    ) -> None:
        self.settings: Settings = res.settings
        self.ledger: Ledger = res.ledger
        self.tools: Registry = res.tools
        self.models: ModelRegistry = res.models.registry
        self.graph: CompiledStateGraph[Any, Any, Any, Any] = graph.copy(
            {"checkpointer": checkpointer, "store": store}
        )
        if isinstance(checkpointer, DurableSaver):
            res = replace(res, checkpoints=checkpointer)
        self._checkpointer = checkpointer
        self._store = store
        self._res = res
        self.turns = res.turns
        self.long_results = res.artifacts

    async def ask(
        self,
        text: str,
        *,
        attachments: Sequence[Attachment] = (),
        thread_id: str | None = None,
        context: Context | None = None,
    ) -> Result:
        """Run a turn to its answer or to a confirmation.

        Args:
            text: what the person says; it may be empty where files say it.
            attachments: files that the models are to see.
            thread_id: the conversation; None begins a new one.
            context: the choices of this turn; None: the defaults.

        Raises:
            BadMessageError: the text is empty or too long, or an attachment cannot be read or is too large.
            BadThreadError: the id is empty, too long, or not text.
            BusyThreadError: another process has been at work on the thread for too long.
            UnknownThreadError: the thread is another user's.
            ConfigurationError: the context names what does not exist, or no model can be used.
        """
        turn = self.stream(text, attachments=attachments, thread_id=thread_id, context=context, watched=False)
        return await final_result(turn)

    def stream(  # noqa: PLR0913 (one message, whole)
        self,
        text: str,
        *,
        attachments: Sequence[Attachment] = (),
        thread_id: str | None = None,
        context: Context | None = None,
        message_id: str | None = None,
        before: Sequence[AnyMessage] = (),
        sources: Sequence[str] = (),
        title: str = "",
        watched: bool = True,
    ) -> AsyncGenerator[Event, None]:
        """Run a turn and yield its events, `Done` last. Raises as `ask`.

        A message that is sent again under its `message_id` gets the answer that there is. `before` is what
        was said in another program; the answers in it are nobody's, so they count as untrusted. The text is
        the person's, unless it was written after untrusted content, which `sources` names. It is what the
        conversation is called, unless a `title` is given.

        Whoever stops listening early cuts the turn short: it is wholly over once the generator is closed
        (`contextlib.aclosing`), and no other turn of the thread begins before. Not `watched`, only the end is
        told, which takes a sixth off the work of a round.
        """
        content = content_of(mended(text), attachments)
        marks: dict[str, Any] = {TITLE: mended(title)} if title else {}
        if sources:
            marks[TAINT] = StoredTaint(sources=list(sources), trusted_links=[])
        message = HumanMessage(content, id=message_id or str(uuid.uuid4()), additional_kwargs=marks)
        check_message(message, self.settings.limits)
        thread = str(uuid.uuid4()) if thread_id is None else thread_id
        return self._turn({"messages": [*before, message]}, thread, context, watched)

    async def resume(self, thread_id: str, answer: Any, *, context: Context | None = None) -> Result:
        """Answer the confirmation that a thread waits for, and run on.

        Args:
            thread_id: the conversation.
            answer: True or False for all that waits, or `{"decisions": [...]}`; see the README for the forms.
            context: the choices from here on; None: those that the turn began with.

        Raises:
            UnknownThreadError: there is no such conversation, or not of this user.
            NothingPendingError: it waits for no answer, or for one to another question than stood there
                when this was called; the message says what became of what it asked last.
        """
        return await final_result(self.stream_resume(thread_id, answer, context=context, watched=False))

    def stream_resume(
        self,
        thread_id: str,
        answer: Any,
        *,
        context: Context | None = None,
        watched: bool = True,
        asked: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Answer a confirmation and yield the events. Raises as `resume`.

        `asked` is the `question` that is answered; None: the one that stands when this is begun.
        """
        return self._turn(Command(resume=as_text(answer)), thread_id, context, watched, asked)

    async def proceed(self, thread_id: str, *, context: Context | None = None) -> Result:
        """Go on with a turn that was cut short; nothing runs twice.

        Raises:
            UnknownThreadError: there is no such conversation, or not of this user.
        """
        return await final_result(self.stream_proceed(thread_id, context=context, watched=False))

    def stream_proceed(
        self, thread_id: str, *, context: Context | None = None, watched: bool = True
    ) -> AsyncGenerator[Event, None]:
        """Go on with a turn and yield the events. Raises as `proceed`."""
        return self._turn(None, thread_id, context, watched)

    async def undo(
        self, call: str, answer: Any = None, *, thread_id: str | None = None, user: str = LOCAL
    ) -> Result:
        """Undo an executed call by a call of its own.

        It asks first, and is done once.

        Args:
            call: its id, or its number as `twobrain undo --list` shows it.
            answer: as `resume` takes it; None: nothing is undone, and `pending` of the result is the request.
            thread_id: the conversation that the call was made in; None: whichever.
            user: who asks and decides: whose call it is, or an approver of theirs.

        Raises:
            UndoError: it cannot be undone: the world has changed since, it was undone before, it never ran,
                nobody knows whether it did, or it is of a tool that cannot undo.
            UnknownUserError: there are users, and this is none.
        """
        return await undo(self._res, self._store, call, answer, thread=thread_id, user=user)

    async def undoable(self, *, user: str = LOCAL) -> list[Undoable]:
        """Return the calls that a user may undo, the newest first."""
        return await undoable(self._res, user)

    async def complete(self, messages: Sequence[AnyMessage], *, user: str, role: str = "chat") -> str:
        """Return what a role's model says: no thread, no tools, no persona.

        What it takes is recorded as the user's, and needs some of their day's allowance.

        Raises:
            AllowanceError: that is used up.
            UnknownUserError: there are users, and this is none.
            NoModelAnsweredError: none could.
            UnknownModelError: the role names no model.
        """
        limits = self.settings.limits_of(user)
        tokens, usd = await self.ledger.used_today(user)
        most, most_usd = limits.max_tokens_per_day, limits.max_cost_usd_per_day
        if (most and tokens >= most) or (most_usd and usd >= most_usd):
            zone = self.settings.zone(user)
            anew = f"{local_time(day_ends(self.ledger.now()), zone)} ({zone})"
            raise AllowanceError(f"{ALLOWANCE_USED_UP}. {COUNT_ANEW.format(when=anew)}")

        async def account(attempt: Attempt) -> None:
            ledger = self.ledger
            ledger.record_usage(use_of(attempt, "", "", user, path="direct", role=role, at=ledger.now()))

        reply = await self._res.models.call(Ask(role, messages, user), account)
        return reply.message.text

    async def result(self, thread_id: str, *, context: Context | None = None) -> Result:
        """Return how a thread's last turn stands.

        Args:
            thread_id: the conversation.
            context: names the user who looks; None: whoever runs this installation, who sees everybody's.

        Raises:
            UnknownThreadError: there is no such conversation, or not of this user.
            DamagedThreadError: what is stored of it cannot be read.
        """
        return result_of(thread_id, await self.snapshot(thread_id, context=context))

    async def all_tools(self) -> Registry:
        """Return all tools; MCP servers are started where they are not yet."""
        return (await self._res.joined(LOCAL)).tools

    async def pending(self, *, user: str | None = None) -> list[dict[str, Any]]:
        """Return the threads that wait for an answer, the longest first.

        `user`: their own, and those that they may approve; None: everybody's. Each is `{thread_id, user,
        title, since, request}`. The request of a thread that is damaged asks for nothing, which its message
        says.
        """
        found = []
        for row in await self.ledger.threads(status="waiting"):
            card = self.settings.users.get(row["user"])
            if user not in {None, row["user"], *(card.approvers if card else ())}:
                continue
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

    async def snapshot(self, thread_id: str, *, context: Context | None = None) -> StateSnapshot:
        """Return the graph's own snapshot. Raises as `result`."""
        user = context.user if context and "user" in context.model_fields_set else None
        await check_user(self._res, self._checkpointer, self.config(thread_id), user)
        with damage_named(thread_id):
            snapshot = await self.graph.aget_state(self.config(thread_id))
        if not snapshot.values and not snapshot.next:
            raise _unknown(thread_id)
        return snapshot

    async def _turn(
        self, given: Any, thread: str, context: Context | None, watched: bool, meant: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Wait for the thread's lock, run, and yield the turn's events.

        Given is a new message, a Command that answers, or None to go on with what was cut short. `meant` is
        the question that is answered; None: the one that stands now.
        """
        asked = await self._asked(given, thread, context)
        asked = asked if meant is None else meant
        if queued := watched and await self.turns.is_held(thread):
            yield Queued()
        async with self.turns.of(thread):
            if queued:
                yield Begun()
            if asked is not None:  # a second click must not answer what came after
                now = await self.question(thread)
                if not now or now != asked:
                    raise await stale_answer(self.ledger, thread, asks_else=bool(now))
            with self._latest(thread) as values:
                if given is not None or await self._take_up(thread, context):
                    async with aclosing(self._run(given, thread, context, watched)) as events:
                        async for event in events:
                            yield event
            answered = bool(values.get("response"))
            result = result_from(thread, values) if answered else await self.result(thread)
        if result.pending:  # the lock is released by now: whoever answers at once waits for nobody
            yield Confirmation(result.pending)
        yield Done(result)

    async def _asked(self, given: Any, thread: str, context: Context | None) -> str | None:
        """Return which question is answered; None: none is.

        A message is checked in its turn, by the graph: here, another could come before it.
        """
        asked = None
        if isinstance(given, Command):
            with damage_named(thread):
                asked = await answered_question(self.turns, self._checkpointer, self.config(thread))
        if given is None or isinstance(given, Command):
            await check_run(self._res, self._checkpointer, given, self.config(thread), context)
        return asked

    async def _take_up(self, thread: str, context: Context | None) -> bool:
        """Note that a turn goes on; False: none was cut short."""
        snapshot = await self.snapshot(thread)
        cut_short = condition_of(snapshot) == "interrupted"
        if cut_short:
            chosen = {**snapshot.values.get("choices", {}), **(choices_of(context) if context else {})}
            await self.ledger.take_up(thread, chosen.get("user", LOCAL))
        return cut_short

    def _latest(self, thread: str) -> AbstractContextManager[Mapping[str, Any]]:
        """Yield the values of the last checkpoint; empty where unknown."""
        saver = self._checkpointer
        return saver.latest_values(thread) if isinstance(saver, DurableSaver) else nullcontext({})

    async def question(self, thread_id: str) -> str:
        """Return the identity of what a thread asks; empty: nothing.

        Raises:
            UnknownThreadError: there is no such conversation.
        """
        with damage_named(thread_id):
            asked = await question(self._checkpointer, self.config(thread_id))
        if asked is None:
            raise _unknown(thread_id)
        return asked

    async def _run(
        self, given: Any, thread: str, context: Context | None, watched: bool
    ) -> AsyncGenerator[Event, None]:
        """Run the graph, translate its stream, and wait for the disk.

        When it ends, however it does, every step is on disk.
        """
        config = self.config(thread)
        config["configurable"][HELD] = self.turns
        stream: Any = self.graph.astream(
            given,
            config,
            context=context,
            stream_mode=["messages", "custom"] if watched else [],
            durability="sync",
        )
        translator = Translator()
        try:
            async with blame_damage(thread, self.snapshot), aclosing(stream):
                async for mode, payload in stream:
                    if event := translator.event(mode, payload):
                        yield event
        except BaseException:
            with suppress(StorageError):  # whoever looks at the thread next is told
                await asyncio.shield(self._res.settled(thread, ended=True))
            raise
        await asyncio.shield(self._res.settled(thread, ended=True))


@asynccontextmanager
async def open_orchestrator(settings: Settings | None = None) -> AsyncIterator[Orchestrator]:
    """Open the orchestrator on the data directory, or on Postgres by URL.

    Without settings they are read from the environment and twobrain.toml.

    Raises:
        ConfigurationError: the environment or twobrain.toml is not as expected.
        StorageError: the data directory cannot be used.
    """
    res = await open_resources(settings)
    try:
        async with open_steps(res) as saver, open_store(res.settings) as store:
            yield Orchestrator(res, saver, store)
    finally:
        await res.close()


@asynccontextmanager
async def shared_orchestrator() -> AsyncIterator[Orchestrator]:
    """Open the orchestrator on what this process shares: for a server.

    Raises as `open_orchestrator`.
    """
    res = await shared_resources()
    async with AsyncExitStack() as opened:
        saver = res.checkpoints
        if saver is None:
            saver = await opened.enter_async_context(open_steps(res))
        store = await opened.enter_async_context(open_store(res.settings))
        yield Orchestrator(res, saver, store)


def _unknown(thread_id: str) -> UnknownThreadError:
    return UnknownThreadError(f"There is no thread {thread_id!r}. `twobrain threads` lists those there are.")


def check_thread(thread_id: str) -> None:
    """Check that a thread may have this id.

    Raises:
        BadThreadError: it is empty, too long, or not text.
    """
    if is_blank(thread_id):
        raise BadThreadError("The thread's id is empty. Name a thread, or none to begin a new one.")
    if len(thread_id) > _LONGEST_THREAD:
        raise BadThreadError(
            f"The thread's id has {len(thread_id):,} characters; at most {_LONGEST_THREAD} are accepted."
        )
    if mended(thread_id) != thread_id:
        raise BadThreadError(
            f"The thread's id {thread_id!r} holds bytes that are no text in UTF-8. "
            "`twobrain threads` lists the ids there are."
        )
