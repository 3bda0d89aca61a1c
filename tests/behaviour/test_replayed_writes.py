"""A turn that changed something is taken up from each of its checkpoints: no effect is repeated unasked."""

import re
import shutil
from typing import Any

import pytest
from langgraph.types import Command

from doctor.repair import repair
from nodes.context import Context
from tests.behaviour.crashes.power import PLAIN, cut_short
from tests.behaviour.crashes.process import Home, check_pairs, statuses

WRITE, REMEMBER = 'write "x" to a.txt', "remember that it rains"
TURN = f"{WRITE} then {REMEMBER} then what is 12*7"
DONE = ["write_file", "remember", "calculate"]
WHEN = re.compile(r"on 20\d\d-\d\d-\d\d at \d\d:\d\d:\d\d UTC")
RULE = {"decisions": [{"type": "approve", "remember": {"where": {"path": "*"}}}]}


def changes(home: Home) -> list[str]:
    return [name for name in home.effects if name != "calculate"]


async def checkpoints(orchestrator: Any) -> list[Any]:
    """Return the configs of all steps that something follows, the first input included."""
    config = orchestrator.config("t1")
    history = [state async for state in orchestrator.graph.aget_state_history(config)]
    named = [state.config["configurable"] for state in history if state.next]
    return [{"configurable": {**config["configurable"], **one}} for one in named]


def asked_about(pending: dict[str, Any]) -> dict[str, str]:
    return {action["name"]: action["description"] for action in pending["action_requests"]}


def doubted(pending: dict[str, Any]) -> list[str]:
    return [action["name"] for action in pending["action_requests"] if "attempt" in action]


async def by_the_gate(orchestrator):
    assert (await orchestrator.ask(TURN, thread_id="t1", context=PLAIN)).pending
    return await orchestrator.resume("t1", answer=True)


async def by_confirm_allow(orchestrator):
    context = Context(confirmation="template", confirm_allow=["write_file"])
    return await orchestrator.ask(TURN, thread_id="t1", context=context)


async def by_a_rule(orchestrator):
    assert (await orchestrator.ask('write "y" to b.txt', thread_id="t0", context=PLAIN)).pending
    await orchestrator.resume("t0", RULE)
    return await orchestrator.ask(TURN, thread_id="t1", context=PLAIN)


@pytest.mark.parametrize("way", [by_the_gate, by_confirm_allow, by_a_rule])
@pytest.mark.parametrize("again", [False, True])
async def test_from_every_checkpoint_of_a_turn_no_effect_is_repeated_unasked(home, way, again):
    async with home.opened() as orchestrator:
        assert statuses(await way(orchestrator)) == dict.fromkeys(DONE, "executed")
        once = changes(home)
        steps = await checkpoints(orchestrator)
        assert len(steps) >= 6
        doubts: list[str] = []
        for step in steps:
            result = await orchestrator.graph.ainvoke(None, step)
            assert changes(home) == once, "unasked"
            while result["pending"]:
                asked, known = doubted(result["pending"]), changes(home)
                said = asked_about(result["pending"])
                doubts += [said[name] for name in asked]
                result = await orchestrator.graph.ainvoke(Command(resume=again), orchestrator.config("t1"))
                assert changes(home) == [*known, *(asked if again else [])], "a yes to what ran is no doubt's"
            assert [call["status"] for call in result["tool_calls"]] == ["executed"] * 3
            once = changes(home)
        await check_pairs(orchestrator)
    assert doubts
    assert all(WHEN.search(doubt) and "This happened already in this turn" in doubt for doubt in doubts)


async def test_a_yes_at_the_gate_is_asked_for_with_when_it_ran_though_an_older_question_still_waits(home):
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask(WRITE, thread_id="t1", context=PLAIN)).pending
        steps = await checkpoints(orchestrator)
        result = await orchestrator.graph.ainvoke(None, steps[-1])  # another branch asks, too
        assert asked_about(result["pending"])
        await orchestrator.resume("t1", answer=True)
        assert home.effects == ["write_file"]
        result = await orchestrator.graph.ainvoke(
            Command(resume=True), steps[0]
        )  # now the older one is answered
        assert home.effects == ["write_file"], "it ran since, which whoever said yes was not told"
        assert WHEN.search(asked_about(result["pending"])["write_file"])
        result = await orchestrator.graph.ainvoke(Command(resume=False), orchestrator.config("t1"))
    assert home.effects == ["write_file"]
    assert [call["status"] for call in result["tool_calls"]] == ["executed"]


async def test_a_call_that_was_planned_before_its_like_ran_elsewhere_is_asked_about(home):
    async with home.opened() as orchestrator:
        graph, said = orchestrator.graph, {"messages": [("user", REMEMBER)]}
        await graph.ainvoke(said, orchestrator.config("t1"), interrupt_before=["execute_tools"])
        steps = await checkpoints(orchestrator)
        assert home.effects == []
        assert (await graph.ainvoke(None, steps[-1]))["pending"] is None, "the other had not begun"
        assert home.effects == ["remember"]
        result = await graph.ainvoke(None, steps[0])
        assert home.effects == ["remember"]
        assert WHEN.search(asked_about(result["pending"])["remember"])
        result = await orchestrator.resume("t1", answer=False)
    assert home.effects == ["remember"]
    assert statuses(result) == {"remember": "executed"}


@pytest.mark.parametrize("again", [False, True])
async def test_checkpoints_older_than_the_ledger_repeat_no_effect_unasked(home, again):
    """As docs/operations.md has it: the checkpoints are copied first, and the ledger last."""
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask(TURN, thread_id="t1", context=PLAIN)).pending
    shutil.copytree(home.data, home.directory / "copy")
    async with home.opened() as orchestrator:
        await orchestrator.resume("t1", answer=True)
    assert home.effects == DONE
    for file in [*home.data.glob("checkpoints.db*")]:
        file.unlink()
    for file in (home.directory / "copy").glob("checkpoints.db*"):
        shutil.copy(file, home.data)
    async with home.opened() as orchestrator:
        asked = (await orchestrator.resume("t1", answer=True)).pending
        assert home.effects == DONE
        assert WHEN.search(asked_about(asked)["remember"])
        result = await orchestrator.resume("t1", answer=again)
        await check_pairs(orchestrator)
    assert statuses(result) == dict.fromkeys(DONE, "executed")
    assert changes(home) == ["write_file", "remember", *["remember"] * again]


async def test_after_a_kill_a_replay_from_before_asks_about_what_was_begun(home):
    await cut_short(home, REMEMBER, "remember")
    async with home.opened() as orchestrator:
        first = (await checkpoints(orchestrator))[-1]
        result = await orchestrator.graph.ainvoke(None, first)
        assert home.effects == ["remember"]
        [said] = asked_about(result["pending"]).values()
        assert "It is unknown whether this happened" in said
        assert WHEN.search(said)
        result = await orchestrator.resume("t1", answer=False)
    assert statuses(result) == {"remember": "unknown"}
    assert home.effects == ["remember"]


@pytest.mark.parametrize(("path", "effects"), [("done.txt", 1), ("undone.txt", 2)])
async def test_where_the_world_can_tell_a_call_made_anew_is_looked_up(home, path, effects):
    async with home.opened() as orchestrator:
        await orchestrator.ask(f"delete {path}", thread_id="t1", context=PLAIN)
        result = await orchestrator.graph.ainvoke(None, (await checkpoints(orchestrator))[-1])
    assert [call["status"] for call in result["tool_calls"]] == ["executed"]
    assert home.effects == ["delete_file"] * effects


async def test_a_tool_that_may_run_twice_is_run_again_with_the_key_of_the_first_call(home):
    async with home.opened() as orchestrator:
        await orchestrator.ask("what do you remember about rain", thread_id="t1", context=PLAIN)
        first = (await checkpoints(orchestrator))[-1]
        for _ in range(2):
            await orchestrator.graph.ainvoke(None, first)
    assert len(home.effects) == 3
    assert len(set(home.effects)) == 1, "of the first, whichever it is made after"


async def test_the_same_call_twice_in_one_round_runs_twice_and_a_replay_asks_about_both(home):
    async with home.opened() as orchestrator:
        result = await orchestrator.ask(f"{REMEMBER} and {REMEMBER}", thread_id="t1", context=PLAIN)
        assert result.pending is None
        assert home.effects == ["remember"] * 2
        again = await orchestrator.graph.ainvoke(None, (await checkpoints(orchestrator))[-1])
        assert len(again["pending"]["action_requests"]) == 2
        result = await orchestrator.resume("t1", answer=False)
    assert home.effects == ["remember"] * 2
    assert [call["status"] for call in result.tool_calls] == ["executed"] * 2


async def test_a_copy_of_a_thread_repeats_no_effect_of_the_original_unasked(home):
    """As a server copies one for Studio: every checkpoint, under another id."""
    async with home.opened() as orchestrator:
        await by_confirm_allow(orchestrator)
        await orchestrator.graph.checkpointer.acopy_thread("t1", "t2")
        done = changes(home)
        for step in await checkpoints(orchestrator):
            step["configurable"]["thread_id"] = "t2"
            result = await orchestrator.graph.ainvoke(None, step)
            assert changes(home) == done
            assert result["pending"] or [call["status"] for call in result["tool_calls"]] == ["executed"] * 3
        [waits] = [row for row in await orchestrator.ledger.threads() if row["status"] == "waiting"]
    assert waits["thread"] == "t2", "the copy is what waits"


async def test_what_a_repaired_ledger_knows_from_the_conversation_is_asked_about_in_a_replay(home):
    async with home.opened() as orchestrator:
        await orchestrator.ask(REMEMBER, thread_id="t1", context=PLAIN)
    for file in home.data.glob("ledger.db*"):
        file.unlink()
    async with home.opened() as orchestrator:
        await repair(orchestrator, "t1")
        result = await orchestrator.graph.ainvoke(None, (await checkpoints(orchestrator))[-1])
        assert home.effects == ["remember"]
        assert "has no record of it" in asked_about(result["pending"])["remember"]
        result = await orchestrator.resume("t1", answer=False)
    assert statuses(result) == {"remember": "unknown"}
    assert home.effects == ["remember"]


async def test_the_same_wish_in_another_turn_is_a_new_one(home):
    async with home.opened() as orchestrator:
        for _ in range(2):
            assert (await orchestrator.ask(REMEMBER, thread_id="t1", context=PLAIN)).pending is None
    assert home.effects == ["remember"] * 2
