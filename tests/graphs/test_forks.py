"""A turn that is taken up from an older checkpoint, in which a result was changed, as Studio lets one do."""

import json
import os

import pytest
from langchain_core.messages import RemoveMessage, ToolMessage

from tests.behaviour.household import House
from tests.terminal import forked
from tests.wires.brain import Heard

ROUNDS = 4
REQUEST = " then ".join(f'calculate {{"expression": "{number}*7"}}' for number in range(ROUNDS))


async def _forked(orchestrator, changed: int):
    """Return the config of a fork after two rounds, one of whose results reads otherwise."""
    config = orchestrator.config("t")
    async for snapshot in orchestrator.graph.aget_state_history(config):
        results = [m for m in snapshot.values.get("messages", []) if isinstance(m, ToolMessage)]
        if snapshot.next == ("plan",) and len(results) == 2:
            old = results[changed]
            new = ToolMessage("changed", tool_call_id=old.tool_call_id, name=old.name, id="changed")
            where = {"configurable": {**config["configurable"], **snapshot.config["configurable"]}}
            edit = {"messages": [RemoveMessage(id=old.id), new]}
            made = await orchestrator.graph.aupdate_state(where, edit, as_node="intake")
            return {"configurable": {**config["configurable"], **made["configurable"]}}
    raise AssertionError


def _resume(house: House):
    environ = {"PATH": os.defpath, "HOME": str(house.folder), **house.environ}
    return forked.run_beside(["resume", "t", "--json"], environ, house.folder)


def _results(heard: Heard) -> list[str]:
    return [result.text for result in heard.results]


@pytest.mark.parametrize("changed", [0, 1])
@pytest.mark.parametrize("layout", ["gemini+anthropic", "openai", "anthropic"])
async def test_a_fork_shows_its_planner_what_a_process_that_knows_nothing_of_the_turn_would_show(
    settle, layout, changed
):
    house: House = settle(layout)
    async with house.open() as orchestrator:
        context = house.context(tools=["calculate"])  # this process has a tool more than the command's
        await orchestrator.ask(REQUEST, thread_id="t", context=context)
        whole = house.planner.heard[:]
        where = await _forked(orchestrator, changed)
        done = await _resume(house)
        assert done.returncode == 0, done.stderr
        fresh = house.planner.heard[len(whole) :]
        await orchestrator.graph.ainvoke(None, where)
    here = house.planner.heard[len(whole) + len(fresh) :]
    assert _results(here[0]) == (["changed", "7"] if changed == 0 else ["0", "changed"])
    assert _results(whole[2]) == ["0", "7"]
    assert json.dumps(here[0].raw) == json.dumps(fresh[0].raw), "byte for byte"
    assert house.rejected() == []


async def test_a_turn_goes_on_from_any_of_its_steps_as_it_did_and_repeats_no_effect(settle):
    house: House = settle()
    house.workspace.mkdir(parents=True)
    (house.workspace / "a.txt").write_text("milk")
    async with house.open() as orchestrator:
        text = 'read_file {"path": "a.txt"} & ring_bell {"times": 1} then read_file {"path": "a.txt"}'
        assert (await orchestrator.ask(text, thread_id="t", context=house.context())).pending
        once = await orchestrator.resume("t", answer=True, context=house.context())
        config, graph = orchestrator.config("t"), orchestrator.graph
        history = [snapshot async for snapshot in graph.aget_state_history(config)]
        again = []
        for snapshot in history:
            if snapshot.next:
                named = {**config["configurable"], **snapshot.config["configurable"]}
                again.append(await graph.ainvoke(None, {"configurable": named}, context=house.context()))
        assert [shown.values for shown in history] == [
            (await graph.aget_state(shown.config)).values for shown in history
        ]
    assert len(again) == len(history) - 1
    ended = [each for each in again if not each["pending"]]
    assert len(ended) >= 3
    outcome = [(call["tool"], call["result"]) for call in once.tool_calls]
    assert {tuple((c["tool"], c["result"]) for c in each["tool_calls"]) for each in ended} == {tuple(outcome)}
    assert house.rung() == ["1 hall"]
    assert house.rejected() == []
