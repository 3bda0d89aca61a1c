"""The whole conversation over the server: a safe call, a mixed round, the person's answer, another turn."""

import asyncio
from itertools import product

import pytest

from tests.server.talking import APPROVE, REJECT, outcomes
from tests.wires.clients import KINDS


def edit(path):
    action = {"name": "write_file", "args": {"path": path, "content": "buy bread"}}
    return {"decisions": [{"type": "edit", "edited_action": action}]}


ANSWERS = {
    "approve": (lambda path: APPROVE, "executed", "buy milk"),
    "reject": (lambda path: REJECT, "denied", None),
    "edit": (edit, "executed", "buy bread"),
}


def content_of(file):
    return file.read_text() if file.exists() else None


@pytest.mark.parametrize("kind", KINDS)
async def test_the_conversation_and_its_twins_run_on_every_wire_and_both_paths(
    kind, open_talk, wires, workspace, audit
):
    async def twin(path, word):
        talk = await open_talk()
        context = {"orchestrator": kind, "responder": kind, "path": path}
        name = f"{kind}-{path}-{word}.txt"
        decision, status, content = ANSWERS[word]

        asked = await talk.say(f"the time, and write {name}", **context)
        assert outcomes(asked) == [("get_time", "executed")]
        assert [action["args"]["path"] for action in asked["pending"]["action_requests"]] == [name]
        assert asked["__interrupt__"][0]["value"] == asked["pending"]
        assert not (workspace / name).exists()

        after = await talk.answer(decision(name))
        assert outcomes(after) == [("get_time", "executed"), ("write_file", status)]
        assert (after["pending"], after["stop_reason"], after["backend"]) == (None, "answered", kind)
        assert ("not today" in after["tool_calls"][1]["result"]) == (word == "reject")
        assert bool(after["summary"]) == (path == "two-brain")

        last = await talk.say("the time, please", **context)
        assert outcomes(last) == [("get_time", "executed")]
        assert "Asia/Tokyo" in last["response"]
        assert content_of(workspace / name) == content
        ran = [(row["tool"], row["status"], row["model"]) for row in await audit(talk)]
        assert ran == [
            ("get_time", "executed", kind),
            ("write_file", status, kind),
            ("get_time", "executed", kind),
        ]

    await asyncio.gather(*(twin(path, word) for path, word in product(["two-brain", "single"], ANSWERS)))


async def test_the_conversation_and_its_twins_run_without_any_provider(open_talk, workspace, audit):
    async def twin(word):
        talk = await open_talk()
        name = f"offline-{word}.txt"
        decision, status, content = ANSWERS[word]
        asked = await talk.say(f'what is 12*7 and write "buy milk" to {name}')
        assert outcomes(asked) == [("calculate", "executed")]
        after = await talk.answer(decision(name))
        assert outcomes(after) == [("calculate", "executed"), ("write_file", status)]
        assert "84" in after["response"]
        assert after["backend"] == "writer"
        last = await talk.say("what time is it in Tokyo")
        assert outcomes(last) == [("get_time", "executed")]
        assert content_of(workspace / name) == content
        assert [row["status"] for row in await audit(talk)] == ["executed", status, "executed"]

    await asyncio.gather(*(twin(word) for word in ANSWERS))
