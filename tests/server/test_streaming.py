"""What a watching client sees: the answer's tokens, each message once, and the events."""

from collections import defaultdict
from itertools import product

import pytest

from tests.server.talking import APPROVE, GRAPH, each, outcomes


async def watch(talk, **run):
    """Return the pieces of text by message, each with the step that said it, and the custom events."""
    pieces, events = defaultdict(list), []
    async for part in talk.client.runs.stream(
        talk.id, GRAPH, stream_mode=["messages-tuple", "custom"], **run
    ):
        assert part.event != "error", part.data
        if part.event == "messages":
            message, meta = part.data
            pieces[message["id"]].append((meta["langgraph_node"], text_of(message)))
        elif part.event == "custom":
            events.append(part.data)
    return pieces, events


def said(content):
    return {"input": {"messages": [{"role": "user", "content": content}]}}


def text_of(message):
    content = message["content"]
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


async def spoken(talk):
    """Return the text of each message that the thread holds, by id."""
    state = await talk.client.threads.get_state(talk.id)
    return {message["id"]: text_of(message) for message in state["values"]["messages"]}, state["values"]


async def test_the_answer_is_streamed_and_nothing_of_the_planner_leaks(open_talk, wires, kinds):
    async def ask(kind):
        talk = await open_talk()
        brains = {"orchestrator": kind, "responder": kind, "path": "two-brain"}
        pieces, _ = await watch(talk, **said("what time is it in Tokyo"), context=brains if kind else {})
        texts, values = await spoken(talk)
        assert values["summary"]
        assert outcomes(values) == [("get_time", "executed")]

        answers = [found for found in pieces.values() if found[0][0] == "respond"]
        assert ["".join(text for _, text in found) for found in answers] == [values["response"]]
        assert sum(bool(text) for _, text in answers[0]) > 3

        before = [found for found in pieces.values() if found[0][0] != "respond"]
        assert [len(found) for found in before] == [1] * len(before)
        assert not any(values["summary"] in found[0][1] for found in before)
        assert set(pieces) <= set(texts)

    await each([None, *kinds], ask)


@pytest.mark.slow
async def test_no_message_is_emitted_twice(open_talk, wires, kinds):
    async def once(brains):
        kind, path = brains
        talk = await open_talk()
        context = {"orchestrator": kind, "responder": kind, "path": path}
        first, _ = await watch(talk, **said(f"the time, and write s-{path}-{kind}.txt"), context=context)
        second, _ = await watch(talk, command={"resume": APPROVE})
        texts, _ = await spoken(talk)
        for key, found in (*first.items(), *second.items()):
            assert "".join(text for _, text in found) == texts[key]
        assert not set(first) & set(second)

    await each(product(kinds, ["two-brain", "single"]), once)


async def test_on_the_single_path_the_answer_is_streamed_by_the_planner(talk, wires):
    pieces, _ = await watch(talk, **said("the time"), context={"orchestrator": "openai", "path": "single"})
    _, values = await spoken(talk)
    answers = ["".join(text for _, text in found) for found in pieces.values() if found[0][0] == "plan"]
    assert answers[-1] == values["response"]


async def test_the_events_of_tools_and_usage_arrive_in_order(talk):
    _, events = await watch(talk, **said("what is 12*7"))
    assert [event["event"] for event in events] == [
        "usage",
        "tool_started",
        "tool_finished",
        "usage",
        "usage",
    ]
    assert [event["role"] for event in events if event["event"] == "usage"] == [
        "orchestrator",
        "orchestrator",
        "chat",
    ]
    finished = events[2]
    assert (finished["tool"], finished["status"], finished["result"]) == ("calculate", "executed", "84")
    assert finished["call_id"] == events[1]["call_id"]
