"""Limits and answers on the server, whatever a client writes into the state and wherever the clock is set."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from langgraph_sdk import get_client

from tests.server.serving import HOUSE, Server
from tests.server.talking import APPROVE, Talk, errands, outcomes

THREE = 'write "a" to {0}-1.txt then write "b" to {0}-2.txt then write "c" to {0}-3.txt'
CLOCK = """
import pathlib, time
was, was_ns, ahead = time.time, time.time_ns, pathlib.Path(AHEAD)
time.time = lambda: was() + int(ahead.read_text())
time.time_ns = lambda: was_ns() + int(ahead.read_text()) * 10**9
"""
"""What a server's interpreter runs first: its clock is as many seconds ahead as a file says."""


async def all_messages(talk: Talk) -> list[Mapping[str, Any]]:
    return (await talk.client.threads.get_state(talk.id))["values"]["messages"]


async def forged_rounds(_: Talk) -> Mapping[str, Any]:
    return {"rounds": 0}


async def forged_tokens(_: Talk) -> Mapping[str, Any]:
    return {"usage": {}}


async def forged_calls(talk: Talk) -> Mapping[str, Any]:
    asked = await all_messages(talk)
    done = {message["tool_call_id"] for message in asked if message["type"] == "tool"}
    gone = [m for m in asked if m["type"] == "tool" or {c["id"] for c in m.get("tool_calls") or ()} & done]
    return {"messages": [{"type": "remove", "role": "remove", "content": "", "id": m["id"]} for m in gone]}


LIMITS = {
    "rounds": ({"max_rounds": 2}, forged_rounds),
    "tokens": ({"max_tokens": 1}, forged_tokens),
    "tool_calls": ({"max_tool_calls": 2}, forged_calls),
}


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["rounds", "tokens", "tool_calls"])
async def test_no_limit_is_written_away(limit, talk, workspace):
    context, forge = LIMITS[limit]
    asked = await talk.say(THREE.format(limit), **context)
    while asked["pending"]:
        assert not (workspace / f"{limit}-2.txt").exists()
        asked = await talk.run(command={"resume": APPROVE, "update": await forge(talk)})
    assert asked["stop_reason"] == limit
    assert not (workspace / f"{limit}-3.txt").exists()


async def test_no_limit_is_written_away_by_an_update_of_the_state(talk, workspace):
    await talk.say(THREE.format("updated"), max_rounds=2)
    await talk.answer(APPROVE)
    await talk.client.threads.update_state(talk.id, {"rounds": 0}, as_node="explain")
    assert (await talk.run(input=None))["pending"]
    ended = await talk.answer(APPROVE)
    assert (ended["stop_reason"], outcomes(ended)) == ("rounds", [("write_file", "executed")] * 2)
    assert not (workspace / "updated-3.txt").exists()


@pytest.mark.slow
async def test_no_deadline_is_written_away(talk, wires):
    both = {"orchestrator": "openai", "responder": "openai"}
    await talk.say("hello", **both)  # the client is opened
    wires["openai"].brain = lambda heard: replace(errands(heard), delay_s=0 if heard.tools else 4)
    assert (await talk.say("the time, and write late.txt", **both, deadline_s=4, confirmation="model"))[
        "pending"
    ]
    later = {"started_at": time.time() + 10**6, "waited_s": 10**6}
    ended = await talk.run(command={"resume": APPROVE, "update": later})
    assert ended["stop_reason"] == "deadline"


@pytest.mark.slow
async def test_answers_count_after_the_clock_was_set_back(tmp_path):
    ahead = tmp_path / "ahead"
    ahead.write_text("3600")
    (tmp_path / "sitecustomize.py").write_text(CLOCK.replace("AHEAD", repr(str(ahead))))
    with Server(tmp_path, "", {"PYTHONPATH": f"{tmp_path}:{HOUSE}"}) as server:
        async with get_client(url=server.url) as client:
            talk = Talk(client, (await client.threads.create())["thread_id"])
            assert (await talk.say('write "x" to back.txt'))["pending"]
            ahead.write_text("0")
            ended = await talk.answer(True)
        assert outcomes(ended) == [("write_file", "executed")]
        assert (server.workspace / "back.txt").read_text() == "x"
