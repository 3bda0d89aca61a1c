"""The orchestrator: reason, act, ask, answer, as an explicit state machine.

Served by name in langgraph.json; a program opens it with `graphs.session.open_orchestrator`, or compiles
`builder` with a checkpointer of its own.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, nullcontext
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from base.run_context import RunContext
from base.telemetry import AGENT, Operation, steps
from graphs.admission import admit
from graphs.conversation_search import ConversationSearch
from graphs.routes import after_confirm, after_intake, after_plan
from graphs.stale_answers import answered_question
from nodes.confirm import confirm
from nodes.context import ANSWERER, Context
from nodes.execute_tools import execute_tools
from nodes.explain import explain
from nodes.gate.request import ANSWERED
from nodes.intake import intake
from nodes.plan import plan
from nodes.resources import CONFIGURED, CONVERSATIONS, HELD, Resources, shared_resources
from nodes.respond import respond
from nodes.state import Input, Output, State
from storage.checkpoints.durable import DurableSaver


class DurableGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """The compiled graph; a thread's runs take turns, each step is kept."""

    def copy(self, update: dict[str, Any] | None = None) -> Self:
        """Return a copy, on our saver where a server wraps it.

        What wraps it reads a conversation step by step: 4 s for ten states of one of 200 messages.
        """
        given = dict(update or {})
        if ours := getattr(given.get("checkpointer"), "unwrapped", None):
            given["checkpointer"] = ours
        return super().copy(given)

    async def astream(
        self,
        input: Any,  # noqa: A002 (the base class's name)
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> AsyncGenerator[Any, None]:
        """Run, after those before it in its thread; keep each step.

        Raises:
            BusyThreadError: another process has been at work on the thread for too long.
            UnknownThreadError: the thread is another user's.
        """
        if isinstance(self.checkpointer, BaseCheckpointSaver):
            options = {**options, "durability": "sync", "checkpoint_during": None}
        async with self._alone(input, config, options.get("context")) as (noted, context):
            options["context"] = context
            stream: Any = super().astream(input, noted, **options)
            turn, run = Operation("invoke_agent", AGENT, {"gen_ai.agent.name": AGENT}), _run_of(config)
            async with aclosing(stream), aclosing(steps(stream, turn, run)) as its_steps:
                async for each in its_steps:
                    yield each
            await self._settled(config)

    async def abulk_update_state(self, config: RunnableConfig, *args: Any, **options: Any) -> RunnableConfig:
        """Change the state, on disk when it returns."""
        changed = await super().abulk_update_state(config, *args, **options)
        await self._settled(config)
        return changed

    @asynccontextmanager
    async def _alone(
        self, given: Any, config: RunnableConfig | None, context: Any
    ) -> AsyncIterator[tuple[RunnableConfig | None, Any]]:
        """Hold a thread's lock; first note which question an answer is for.

        While a run waits for its turn, another question may come to stand.
        """
        choices = (config or {}).get("configurable", {})
        thread = choices.get("thread_id")
        if config is None or thread is None or not isinstance(self.checkpointer, BaseCheckpointSaver):
            yield config, context
            return
        res: Resources = choices.get(CONFIGURED) or await shared_resources()
        if isinstance(given, Command) and given.resume is not None and ANSWERED not in choices:
            asked = await answered_question(res.turns, self.checkpointer, config)
            config = {**config, "configurable": {**choices, ANSWERED: asked}}
        async with nullcontext() if choices.get(HELD) is res.turns else res.turns.of(str(thread)):
            answerer = await admit(res, self.checkpointer, given, config, context)
            besides: dict[str, Any] = {CONVERSATIONS: ConversationSearch(res.ledger, self)}
            if answerer:  # the turn goes on as its user's, by what was chosen when it began
                besides[ANSWERER] = answerer
            config = {**config, "configurable": {**config["configurable"], **besides}}
            yield config, None if answerer else context

    async def _settled(self, config: RunnableConfig | None) -> None:
        """Return once our saver has all of the thread on disk."""
        if isinstance(self.checkpointer, DurableSaver) and config:
            await self.checkpointer.settled(str(config["configurable"]["thread_id"]))


def _run_of(config: RunnableConfig | None) -> RunContext:
    choices = (config or {}).get("configurable", {})
    run_id = choices.get("run_id") or (config or {}).get("run_id") or ""
    return RunContext(str(choices.get("thread_id") or ""), run_id=str(run_id))


class DurableBuilder(StateGraph[State, Context, Input, Output]):
    """Compiles the graph to one whose runs take turns."""

    def compile(self, *args: Any, **options: Any) -> DurableGraph:
        """Compile as a StateGraph does."""
        compiled = super().compile(*args, **options)
        compiled.__class__ = DurableGraph
        return compiled  # type: ignore[return-value]


builder = DurableBuilder(State, context_schema=Context, input_schema=Input, output_schema=Output)
builder.add_node("intake", intake)
builder.add_node("plan", plan)
builder.add_node("execute_tools", execute_tools, input_schema=State)  # type: ignore[call-overload]
builder.add_node("explain", explain)
builder.add_node("confirm", confirm)
builder.add_node("respond", respond)

builder.add_edge(START, "intake")
builder.add_conditional_edges("intake", after_intake, ["plan", "execute_tools", "respond", END])
builder.add_conditional_edges("plan", after_plan, ["execute_tools", "explain", "respond", END])
builder.add_edge("explain", "confirm")
builder.add_conditional_edges("confirm", after_confirm, ["execute_tools", "plan", "confirm"])
builder.add_edge("respond", END)

graph = builder.compile(name="orchestrator")
