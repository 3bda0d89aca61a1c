"""Whatever a user writes into the state or a task of their own thread, another's calls are absent to it.

Everything that a client can write is forged, field by field and all at once, to what another's thread holds.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.types import Command, Send

from graphs.session import Orchestrator
from ledger.records import Call
from nodes.context import Context
from nodes.state import State, Task, new_turn
from tests.behaviour.crashes.process import Home
from tools.declaration import Here, tool

ALICE = Context(user="alice", user_role="user", confirmation="template")
MALLORY = Context(user="mallory", user_role="user", confirmation="template")
SECRET = "the secret of alice"
ASK = 'write "x" to a.txt'
RULE = {"decisions": [{"type": "approve", "remember": {"where": {"path": "*"}}}]}
STATE = [each.name for each in fields(State)]
Operation = Callable[[Orchestrator, dict[str, Any]], Awaitable[Any]]


def noted(happen):
    """Return tools that note for whom they took effect, one of which gives away a secret."""

    @tool(effect="write")
    def write_file(here: Here, path: str, content: str) -> str:
        """Write."""
        happen(f"{here.user}:{path}:{content}")
        return "wrote it"

    @tool(effect="write", confirm=False)
    def remember(here: Here, text: str) -> str:
        """Remember, and say what only its user may know."""
        happen(f"{here.user}:{text.replace(' ', '_')}")
        return SECRET if here.user == "alice" else "yours"

    return [write_file, remember]


async def hers(orchestrator: Orchestrator) -> Any:
    """Return a state of alice's, in which one call was made and another waits."""
    await orchestrator.ask(f"remember that it rains then {ASK}", thread_id="hers", context=ALICE)
    return await orchestrator.graph.aget_state(orchestrator.config("hers"))


async def world(orchestrator: Orchestrator) -> Any:
    """Return all that is on record of alice."""
    ledger = orchestrator.ledger
    calls = await ledger.audit(user="alice")
    known = (await ledger.known("hers", user="alice"), await ledger.open_calls("hers", user="alice"))
    used = await ledger.usage(user="alice")
    return calls, known, used, await ledger.rules(user="alice"), await ledger.thread("hers")


async def approve(orchestrator, config):
    return await orchestrator.graph.ainvoke(Command(resume=True), config, context=MALLORY)


async def plant_a_rule(orchestrator, config):
    return await orchestrator.graph.ainvoke(Command(resume=RULE), config, context=MALLORY)


async def reject(orchestrator, config):
    return await orchestrator.graph.ainvoke(Command(resume=False), config, context=MALLORY)


async def say(orchestrator, config):
    said = {"messages": [HumanMessage("remember that the title is mine")]}
    return await orchestrator.graph.ainvoke(said, config, context=MALLORY)


async def go_on(orchestrator, config):
    goes = Command(goto="plan")
    return await orchestrator.graph.ainvoke(goes, config, context=MALLORY)


def _blackened(value: Any) -> Any:
    """Return a value without the secret, which no client knows."""
    match value:
        case str():
            return value.replace(SECRET, "?")
        case dict():
            return {name: _blackened(each) for name, each in value.items()}
        case list():
            return [_blackened(each) for each in value]
        case BaseMessage():
            return value.model_copy(update={"content": _blackened(value.content)})
    return value


def _is_told(result: Mapping[str, Any] | None) -> bool:
    return SECRET in str(result)


@pytest.mark.parametrize(
    "operation",
    [approve, say, *(pytest.param(each, marks=pytest.mark.slow) for each in (plant_a_rule, reject, go_on))],
)
async def test_a_forged_state_decides_closes_reads_and_renames_nothing_of_anothers(tmp_path, operation):
    home = Home(tmp_path, tools=noted)
    async with home.opened() as orchestrator:
        state = await hers(orchestrator)
        before = await world(orchestrator)
        assert before[0], "there is something to be had"
        for number, forged in enumerate([*([name] for name in STATE), ["thread", "turn"], STATE]):
            thread = f"mine-{number}"
            await orchestrator.ask(ASK, thread_id=thread, context=MALLORY)
            config = orchestrator.config(thread)
            lies = {name: _blackened(state.values[name]) for name in forged if name in state.values}
            await orchestrator.graph.aupdate_state(config, lies, as_node="explain")
            try:
                result = await operation(orchestrator, config)
            except Exception as error:
                result = {"error": repr(error)}
            assert not _is_told(result), forged
            assert await world(orchestrator) == before, forged
            assert [effect for effect in home.effects if effect.startswith("alice:")] == ["alice:it_rains"]
        unborn = orchestrator.config("mine-0")
        await orchestrator.graph.aupdate_state(unborn, {"thread": "unborn"}, as_node="respond")
        await say(orchestrator, unborn)
        assert await orchestrator.ledger.thread("unborn") is None, "nor is its name taken"
        done = await orchestrator.resume("hers", True, context=ALICE)
    assert [call["status"] for call in done.tool_calls] == ["executed"] * 2
    assert "alice:a.txt:x" in home.effects, "her own yes still counts, once"


@pytest.mark.slow
async def test_a_forged_task_runs_reads_and_closes_nothing_of_anothers(tmp_path):
    home = Home(tmp_path, tools=noted)
    async with home.opened() as orchestrator:
        state = await hers(orchestrator)
        before = await world(orchestrator)
        calls = [c for m in state.values["messages"] if isinstance(m, AIMessage) for c in m.tool_calls]
        anothers = {name: state.values[name] for name in ("thread", "turn", "choices", "planner", "taint")}
        number = 0
        for call in calls:
            judged = {"problem": None, "verdict": "run", "reason": "", **call}
            her = {
                **anothers,
                "call": judged,
                "args": call["args"],
                "on_record": True,
                "in_conversation": True,
            }
            own = {"thread": "mine", "turn": "x", "choices": {}, "planner": "", "taint": new_turn()["taint"]}
            own |= {"call": {**judged, "id": "own"}, "args": call["args"], "next": "plan"}
            variants = [{**own, name: her[name]} for name in Task.__annotations__ if name in her]
            refused = {**her, "call": {**judged, "verdict": "refuse", "reason": "a lie"}}
            for task in [*variants, {**own, **her}, {**own, **refused}]:
                number += 1
                goes = Command(goto=Send("execute_tools", task))
                config = orchestrator.config(f"mine-{number}")
                await orchestrator.ask("what is 1+1", thread_id=f"mine-{number}", context=MALLORY)
                try:
                    result = await orchestrator.graph.ainvoke(goes, config, context=MALLORY)
                except Exception as error:
                    result = {"error": repr(error)}
                assert not _is_told(result), task
                assert await world(orchestrator) == before, task
        assert number >= 16
    assert [effect for effect in home.effects if effect.startswith("alice:")] == ["alice:it_rains"]


async def test_no_operation_of_the_ledger_finds_the_call_of_another(tmp_path):
    home = Home(tmp_path, tools=noted)
    async with home.opened() as orchestrator:
        await hers(orchestrator)
        ledger, before = orchestrator.ledger, await world(orchestrator)
        for row in before[0]:
            mine = replace(_call_of(row), user="mallory")
            assert (await ledger.decide(mine.key, approve=True, by="mallory", fingerprint="")).status is None
            again = await ledger.decide(mine.key, approve=True, by="mallory", fingerprint="", attempt=1)
            assert again.status is None
            assert await ledger.outcomes("mallory", mine.thread, [mine.call_id]) == {}
            assert await ledger.await_outcome(mine.key, 0) is None
            told = {"status": "failed", "text": "mine", "duration_ms": 1.0}
            assert await ledger.finish(mine.key, **told, attempt=1, lost=True) is None
            await ledger.abandon(mine.key, 1)
            await ledger.note(mine, status="denied", text="mine")
            await ledger.supersede([mine])
            await ledger.ask_again([mine], None)
            await ledger.ask([mine], None)
            claimed = await ledger.claim(mine, needs_approval=False, lease_s=60, rerun=True)
            assert SECRET not in str(claimed)
        await ledger.take_up("hers", "mallory")
        await ledger.touch("hers", user="mallory", status="failed", title="mine")
        assert await world(orchestrator) == before


def _call_of(row: Mapping[str, Any]) -> Call:
    names = ("thread", "call_id", "turn", "user", "role", "model", "tool", "args", "effect")
    return Call(**{name: row[name] for name in names})
