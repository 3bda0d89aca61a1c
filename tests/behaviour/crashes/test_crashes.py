"""Whatever cuts a turn short, it goes on to the same end, and nothing that changes the world runs twice."""

import itertools
import json
import math
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from typing import Any

import pytest

from base.errors import UnknownThreadError
from graphs.result import Result
from graphs.session import Orchestrator
from graphs.stream import final_result
from nodes.context import Context
from tests.behaviour.crashes.power import Power, PowerCutError
from tests.behaviour.crashes.process import Home, check_pairs, go, killed, start, statuses

Begin = Callable[[Orchestrator], Awaitable[Result]]
MIXED = 'what time is it in Tokyo and write "buy milk" to notes.txt then what is 12*7'


async def test_a_process_killed_at_the_gate_leaves_a_turn_that_another_lists_and_ends(home):
    with start(home, "never", "ask", MIXED) as process:
        go(process)
        assert json.loads(process.stdout.readline())["pending"]
        process.kill()

    async with home.opened() as orchestrator:
        [waiting] = await orchestrator.pending()
        assert waiting["thread_id"] == "t1"
        assert [action["name"] for action in waiting["request"]["action_requests"]] == ["write_file"]
        result = await orchestrator.resume("t1", answer=True)
        assert await orchestrator.pending() == []

    assert result.stop_reason == "answered"
    assert "I wrote" in result.response
    assert home.effects == ["get_time", "write_file", "calculate"]


async def test_a_read_that_a_kill_cut_short_is_run_again(home):
    killed(home, "during:get_time", "ask", "what time is it in Tokyo")

    async with home.opened() as orchestrator:
        result = await orchestrator.proceed("t1")

    assert statuses(result) == {"get_time": "executed"}
    assert "noon in Tokyo" in result.response
    assert home.effects == ["get_time", "get_time"]


async def killed_in_a_change(home, moment, *, risky):
    """Kill a process in a change that a person approved, or that asks nobody; return the tool's name."""
    change, name = ('write "x" to a.txt', "write_file") if risky else ("remember that it rains", "remember")
    if risky:
        async with home.opened() as orchestrator:
            assert (await orchestrator.ask(change, thread_id="t1")).pending
    killed(home, f"{moment}:{name}", "approve" if risky else "ask", change)
    return name


@pytest.mark.parametrize("risky", [False, True])
async def test_a_change_that_a_kill_cut_short_is_neither_run_again_nor_dropped_but_asked_about(home, risky):
    name = await killed_in_a_change(home, "during", risky=risky)

    async with home.opened() as orchestrator:
        asked = await orchestrator.proceed("t1")
        result = await orchestrator.resume("t1", answer=False)
        [row] = await orchestrator.ledger.audit()
        await check_pairs(orchestrator)

    [action] = asked.pending["action_requests"]
    assert (action["name"], asked.tool_calls) == (name, [])
    assert statuses(result) == {name: "unknown"}
    assert row["status"] == "unknown"
    assert "count it as done" in result.tool_calls[0]["result"]
    assert result.stop_reason == "answered"
    assert "can't tell" in result.response
    assert home.effects == [name]


@pytest.mark.parametrize("risky", [False, True])
async def test_a_recorded_outcome_is_used_though_no_checkpoint_knew_of_it(home, risky):
    name = await killed_in_a_change(home, "recorded", risky=risky)

    async with home.opened() as orchestrator:
        result = await orchestrator.proceed("t1")

    assert statuses(result) == {name: "executed"}
    assert result.stop_reason == "answered"
    assert home.effects == [name]


async def test_a_message_after_a_kill_closes_the_open_calls_truthfully(home):
    text = "what time is it in Tokyo and remember that it rains"
    killed(home, "recorded:remember", "ask", text)
    assert "remember" in home.effects

    async with home.opened() as orchestrator:
        result = await orchestrator.ask("what is 12*7", thread_id="t1")
        rows = {row["tool"]: row["status"] for row in await orchestrator.ledger.audit()}
        await check_pairs(orchestrator)

    assert statuses(result) == {"calculate": "executed"}
    assert rows["remember"] == "executed"
    assert rows["get_time"] in {"executed", "unknown", "superseded"}
    assert home.effects.count("remember") == 1


ALL_KINDS = (
    'what time is it in Tokyo and remember that it rains and write "buy milk" to notes.txt then what is 12*7'
)
DECISIONS = {
    "approve": {"type": "approve"},
    "edit": {"type": "edit", "edited_action": {"name": "write_file", "args": {"path": "a", "content": "x"}}},
    "reject": {"type": "reject", "message": "not now"},
}


async def proceed(orchestrator: Orchestrator) -> Result:
    """Go on with the turn, or begin it."""
    try:
        return await orchestrator.proceed("t1")
    except UnknownThreadError:
        return await orchestrator.ask(ALL_KINDS, thread_id="t1")


async def say_again(orchestrator: Orchestrator) -> Result:
    """Send the message under its id, once more."""
    turn = orchestrator.stream(ALL_KINDS, thread_id="t1", message_id="m1", watched=False)
    return await final_result(turn)


async def go_on(orchestrator: Orchestrator, begin: Begin, decision: Any, asked: set[str]) -> Result:
    """Do what a person does: ask, decide on what waits, go on with what stopped.

    A call of which nobody knows whether it happened counts as done.

    Args:
        orchestrator: of this life.
        begin: how the turn is begun and gone on with.
        decision: on what needs consent.
        asked: gets the tools of the calls in doubt.
    """
    result = await begin(orchestrator)
    while result.pending:
        in_doubt = {action["name"] for action in result.pending["action_requests"] if "attempt" in action}
        asked |= in_doubt
        result = await orchestrator.resume("t1", False if in_doubt else decision)
    return result


async def told(orchestrator: Orchestrator, result: Result) -> Any:
    """Return what was done and said, without what is made up anew in each conversation."""
    await check_pairs(orchestrator)
    snapshot = await orchestrator.graph.aget_state(orchestrator.config("t1"))
    calls = {call["tool"]: (call["args"], call["result"], call["status"]) for call in result.tool_calls}
    return result.response, calls, len(snapshot.values["messages"])


async def cut_after(writes: float, home: Home, begin: Begin, decision: Any) -> tuple[bool, set[str], Any]:
    """Cut the power after some writes, then end the turn with power.

    Returns:
        Whether it was cut, the tools of calls that the person was asked about as in doubt, and how it ended.
    """
    power, asked = Power(writes), set()
    ledger = await power.ledger(home.settings())
    with suppress(PowerCutError):
        async with home.opened(ledger=ledger, committing=power.draw) as orchestrator:
            await go_on(orchestrator, begin, decision, asked)
    async with home.opened() as orchestrator:
        result = await go_on(orchestrator, begin, decision, asked)
        assert result.stop_reason == "answered"
        assert await orchestrator.pending() == []
        return power.is_cut, asked, await told(orchestrator, result)


@pytest.mark.slow
async def test_whenever_the_power_goes_a_question_shows_until_when_a_yes_counts(tmp_path):
    context = Context(confirmation="template", confirm_ttl_s=600)
    for writes in itertools.count(1):
        home, power = Home(tmp_path / str(writes)), Power(writes)
        with suppress(PowerCutError):
            ledger = await power.ledger(home.settings())
            async with home.opened(ledger=ledger, committing=power.draw) as orchestrator:
                await orchestrator.ask('write "x" to a.txt', thread_id="t1", context=context)
        if not power.is_cut:
            break
        async with home.opened() as orchestrator:
            with suppress(UnknownThreadError):
                shown = (await orchestrator.proceed("t1")).pending["expires_at"]
                with closing(sqlite3.connect(home.data / "ledger.db")) as kept:
                    assert kept.execute(
                        "SELECT expires_at FROM calls WHERE status = 'waiting'"
                    ).fetchall() == [(shown,)], writes
    assert writes > 8


@pytest.mark.prove
@pytest.mark.parametrize(
    ("decided", "begin"),
    [
        ("approve", say_again),
        pytest.param("approve", proceed, marks=pytest.mark.prove(sampled=False)),
        pytest.param("edit", proceed, marks=pytest.mark.prove(sampled=False)),
        pytest.param("reject", say_again, marks=pytest.mark.prove(sampled=False)),
    ],
)
async def test_a_power_cut_at_any_write_changes_neither_the_end_nor_the_effects(
    tmp_path, decided, begin, proving, tell
):
    decision, agreed = DECISIONS[decided], decided != "reject"
    _, _, (said, expected, messages) = await cut_after(math.inf, Home(tmp_path / "whole"), begin, decision)
    assert [call[-1] for call in expected.values()].count("executed") == 3 + agreed
    doubts = 0
    first = 0 if proving or decided == "approve" else 15  # until the gate all three are the same
    for writes in itertools.count(first, 1 if proving else 4):
        home = Home(tmp_path / str(writes))
        is_cut, asked, (response, calls, count) = await cut_after(writes, home, begin, decision)
        if not is_cut:
            break
        # Whatever was in doubt had happened: in this world, only what comes after an effect can be lost.
        assert home.effects.count("remember") == 1, writes
        assert home.effects.count("write_file") == agreed, writes
        assert asked <= {"remember", *(["write_file"] if agreed else [])}, writes
        assert {tool for tool, call in calls.items() if call[-1] == "unknown"} == asked, writes
        assert all(calls[tool] == expected[tool] for tool in expected.keys() - asked), writes
        assert [calls[tool][0] for tool in expected] == [call[0] for call in expected.values()], writes
        assert count == messages, writes
        assert asked or response == said, writes
        doubts += len(asked)
    assert writes > 30
    assert doubts < writes / 4, "few are asked about"
    tell(
        f"{decided}: power cut at each of {writes - first} writes: 0 effects doubled, 0 missing, "
        f"{doubts} asked about"
    )
