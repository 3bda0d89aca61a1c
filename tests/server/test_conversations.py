"""The whole conversation over the server: a safe call, a mixed round, the person's answer, another turn."""

import asyncio
from itertools import cycle, product

import pytest
from langgraph.pregel.remote import RemoteGraph

from tests.server.talking import APPROVE, GRAPH, REJECT, Talk, outcomes
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


@pytest.mark.slow
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


_SAID = {"type": "ai", "content": "Noted."}


async def _read(talk: Talk) -> list[str]:
    """Return what the conversation says, and see that every way to read it says the same."""
    state = await talk.client.threads.get_state(talk.id)
    history = await talk.client.threads.get_history(talk.id, limit=20)
    copy = await talk.copy()
    copied = await copy.client.threads.get_state(copy.id)
    remote = RemoteGraph(GRAPH, client=talk.client)
    seen = await remote.aget_state({"configurable": {"thread_id": talk.id}})
    messages = state["values"]["messages"]
    assert history[0]["values"]["messages"] == messages == copied["values"]["messages"]
    assert [message["id"] for message in seen.values["messages"]] == [message["id"] for message in messages]
    return [str(message["content"]) for message in messages]


async def _turn_with_tools(talk: Talk, durability: str = "async") -> None:
    asked = [{"role": "user", "content": 'what is 12*7 and write "buy milk" to forked.txt'}]
    await talk.run(input={"messages": asked}, durability=durability)
    assert outcomes(await talk.answer(APPROVE)) == [("calculate", "executed"), ("write_file", "executed")]


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
async def test_a_conversation_is_read_after_a_fork_from_each_of_its_checkpoints(open_talk, durability):
    talk = await open_talk()
    await _turn_with_tools(talk, durability)
    forked = await talk.client.threads.get_history(talk.id, limit=100)
    assert len(forked) > 8

    for state in forked:
        await talk.client.threads.update_state(talk.id, {"messages": [_SAID]}, checkpoint=state["checkpoint"])
        said = await _read(talk)
        assert said[-1] == "Noted."
        assert said[:-1] == [str(m["content"]) for m in state["values"].get("messages", [])]


async def test_a_conversation_that_a_client_overwrote_goes_on(open_talk):
    talk = await open_talk()
    await _turn_with_tools(talk)
    kept = [{"type": "human", "content": "hello", "id": "m1"}, {"type": "ai", "content": "hi", "id": "m2"}]

    await talk.client.threads.update_state(talk.id, {"messages": {"__overwrite__": kept}})

    assert await _read(talk) == ["hello", "hi"]
    answered = await talk.say("what is 12*7")
    assert "84" in answered["response"]
    assert (await _read(talk))[:2] == ["hello", "hi"]


async def test_a_message_that_is_sent_again_gets_the_answer_that_there_is(open_talk, wires, workspace):
    talk = await open_talk()

    async def send(content, name, **context):
        return await talk.send([{"role": "user", "content": content, "id": name}], **context)

    first = await send("what is 12*7", "m1")
    assert await send("what is 12*7", "m1") == first
    asked = await send('write "x" to again.txt', "m2")
    again = await send('write "x" to again.txt', "m2")
    assert again["pending"]["action_requests"] == asked["pending"]["action_requests"]
    assert not (workspace / "again.txt").exists()
    done = await talk.answer(APPROVE)
    assert outcomes(done) == [("write_file", "executed")]
    (workspace / "again.txt").unlink()
    for name in ("m2", "m1"):
        late = await send("whatever", name)
        assert (late["response"], late["messages"]) == (done["response"], done["messages"])
    assert not (workspace / "again.txt").exists()
    assert "84" in (await send("what is 12*7", "m3"))["response"]


@pytest.mark.prove(sampled=False)
async def test_a_talk_of_200_turns_with_tools_is_read_at_every_turn(open_talk):
    talk = await open_talk()
    durability = cycle(["sync", "async", "exit"])
    for turn in range(1, 201):
        asked = [{"role": "user", "content": f"what is {turn}*7 and what time is it in Tokyo"}]
        output = await talk.run(input={"messages": asked}, durability=next(durability))
        assert str(turn * 7) in output["response"]
        state = await talk.client.threads.get_state(talk.id)
        [latest] = await talk.client.threads.get_history(talk.id, limit=1)
        assert latest["values"]["messages"] == state["values"]["messages"] == output["messages"]
        assert [m["type"] for m in output["messages"]].count("human") == turn
        if turn % 50 == 0:
            assert len(await _read(talk)) == len(output["messages"])
