"""Whatever a conversation went through, the server shows it."""

from langgraph.pregel.remote import RemoteGraph

from tests.server.talking import APPROVE, GRAPH, Talk, outcomes

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


async def _turn_with_tools(talk: Talk) -> None:
    await talk.say('what is 12*7 and write "buy milk" to forked.txt')
    assert outcomes(await talk.answer(APPROVE)) == [("calculate", "executed"), ("write_file", "executed")]


async def test_a_conversation_is_read_after_a_fork_from_each_of_its_checkpoints(open_talk):
    talk = await open_talk()
    await _turn_with_tools(talk)
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
