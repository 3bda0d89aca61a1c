import copy
from dataclasses import fields
from typing import Annotated, Any, get_args

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from typing_extensions import TypedDict

from nodes.state import Messages, State, Update, append, new_turn
from storage.checkpoints.saver import open_checkpoints

_MAKE = (
    lambda text, id_: HumanMessage(text, id=id_),
    lambda text, id_: AIMessage(text, id=id_),
    lambda text, id_: AIMessageChunk(content=text, id=id_),
    lambda text, id_: ToolMessage(text, id=id_, tool_call_id="c1"),
    lambda text, id_: {"role": "user", "content": text},
    lambda text, id_: {"type": "ai", "content": text},
    lambda text, id_: RemoveMessage(id=id_ or REMOVE_ALL_MESSAGES),
)
MESSAGES = st.tuples(
    st.sampled_from(_MAKE), st.sampled_from(["", "hi", "ho"]), st.sampled_from([None, "a", "b", "c"])
).map(lambda drawn: drawn[0](*drawn[1:]))
WRITES = st.lists(MESSAGES | st.lists(MESSAGES, max_size=3), max_size=6)


@given(WRITES, WRITES, WRITES)
def test_however_writes_are_batched_the_conversation_is_the_same(before, xs, ys):
    state = append([], before)
    untouched = copy.deepcopy(state)

    assert append(append(state, xs), ys) == append(state, [*xs, *ys])
    assert state == untouched


@given(WRITES, st.lists(WRITES, max_size=6))
def test_conversations_that_went_different_ways_know_nothing_of_each_other(before, forks):
    common = append([], before)

    for writes in forks:
        alone = append(list(copy.deepcopy(common)), writes)
        fork = append(copy.copy(common), writes)
        assert fork == alone
        assert append(fork, before) == append(list(alone), before)


@given(WRITES)
def test_every_message_has_an_id_of_its_own_and_the_same_one_each_time(writes):
    conversation = append([], writes)

    assert all(message.id for message in conversation)
    assert len({message.id for message in conversation}) == len(conversation)
    assert append([], writes) == conversation
    assert not any(isinstance(message, AIMessageChunk) for message in conversation)


@given(WRITES, WRITES)
def test_what_was_said_can_be_taken_away_but_never_rewritten(before, writes):
    state = append([], before)
    kept = [write for write in _flat(writes) if not isinstance(write, RemoveMessage)]

    assert append(state, kept)[: len(state)] == state


def _flat(writes):
    return [message for write in writes for message in (write if isinstance(write, list) else [write])]


def test_a_message_is_taken_away_by_its_id_and_all_by_the_sign_for_all():
    state = append([], [HumanMessage("1", id="a"), HumanMessage("2", id="b")])

    assert append(state, [RemoveMessage(id="a")]) == [HumanMessage("2", id="b")]
    assert append(state, [RemoveMessage(id="zzz")]) == state
    everything = RemoveMessage(id=REMOVE_ALL_MESSAGES)
    assert append(state, [[everything, HumanMessage("3", id="a")]]) == [HumanMessage("3", id="a")]


async def test_whole_copies_of_a_conversation_grow_with_it_and_not_with_its_square(tmp_path):
    rounds, kept = 300, type(get_args(Messages)[1])
    config = {"configurable": {"thread_id": "t1"}, "recursion_limit": 2 * rounds}

    class Talk(TypedDict):
        messages: Annotated[list[AnyMessage], kept(append, snapshot_frequency=10)]

    async def talk(state: Talk) -> dict[str, Any]:
        said = str(len(state["messages"]))
        return {"messages": [AIMessage(said, id=said)]}

    async def further(state: Talk) -> str:
        return "talk" if len(state["messages"]) < rounds else END

    graph = StateGraph(Talk).add_node(talk).add_edge(START, "talk")
    graph.add_conditional_edges("talk", further, ["talk", END])
    async with open_checkpoints(tmp_path / "checkpoints.db") as saver:
        talking = graph.compile(checkpointer=saver)
        await talking.ainvoke({"messages": []}, config)
        said = (await talking.aget_state(config)).values["messages"]
        held = [found.checkpoint["channel_values"].get("messages") async for found in saver.alist(config)]

    copies = [len(copy.value) for copy in held if copy is not None]
    assert [message.id for message in said] == [str(number) for number in range(rounds)]
    assert copies
    assert sum(copies) <= 2 * rounds


def test_a_step_may_return_what_the_state_holds_and_a_turn_begins_with_its_defaults():
    assert Update.__annotations__.keys() == {each.name for each in fields(State)}
    assert State(messages=[], **new_turn()) == State()
    assert new_turn().keys() == Update.__annotations__.keys() - {"messages"}
