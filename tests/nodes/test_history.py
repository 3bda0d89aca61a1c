"""What the conversation says of a turn is the same, however often and far it was read before."""

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage

from nodes.state import State
from nodes.turn.history import TurnHistory, calls_in, read_turn, result_message, said_before
from nodes.turn.turn import Turn

REQUEST = HumanMessage("Do it.", id="request")
_IDS = st.sampled_from("abcd")


def _made(call_id: str) -> AIMessage:
    return AIMessage("", id=f"made-{call_id}", tool_calls=[{"id": call_id, "name": "act", "args": {}}])


def _result(call_id: str, status: str):
    return result_message({"id": call_id, "name": "act", "args": {}}, status, "told", untrusted=True)


MESSAGES = st.lists(
    _IDS.map(_made)
    | st.tuples(_IDS, st.sampled_from(["executed", "denied"])).map(lambda drawn: _result(*drawn))
    | st.just(AIMessage("Done.", id="said"))
    | st.just(HumanMessage("More.", id="more")),
    max_size=8,
)


@given(MESSAGES, MESSAGES, MESSAGES)
def test_a_turn_that_was_read_before_reads_as_one_that_was_not(first, then, otherwise):
    before = [HumanMessage("Hello", id="earlier"), AIMessage("Hi", id="answer")]
    for messages in (first, [*first, *then], [*first, *otherwise], first):
        read = read_turn([*before, REQUEST, *messages], "request")
        assert read == TurnHistory(REQUEST, 2).followed_by(messages)
        assert [each.call.id for each in read.finished()] == [
            c.id for c in read.calls if c.id in read.results
        ]


def test_the_first_result_of_a_call_counts():
    read = read_turn([REQUEST, _made("a"), _result("a", "executed"), _result("a", "denied")], "request")
    assert [each.result.status for each in read.finished()] == ["executed"]


def test_a_turn_that_is_not_there_is_empty():
    read = read_turn([REQUEST, _made("a")], "other")
    assert (read.rounds, read.results, read.before) == ((), {}, 2)


def test_what_was_said_before_begins_with_the_person_and_fits():
    said = [HumanMessage("x" * 50, id="1"), AIMessage("y", id="2"), HumanMessage("z", id="3")]
    told = [(each.by_person, each.text, each.unanswered) for each in said_before(said, 3, None, 1_000)]
    assert told == [(True, "x" * 50, None), (False, "y", None), (True, "z", "")]
    assert [each.text for each in said_before(said, 3, None, 200)] == ["z"]
    assert [each.text for each in said_before(said, 3, 2, 1_000)] == ["z"]
    assert said_before(said, 1, None, 1_000)[-1].text == "x" * 50


def test_no_id_of_a_call_is_missed_though_a_client_names_the_turn_after_the_message_that_made_it():
    said = [REQUEST, _made("a"), _result("a", "executed")]
    turn = Turn(State(messages=said, turn="made-a"), read_turn(said, "made-a"), *[None] * 4, "local")
    assert turn.call_ids() == {call["id"] for call in calls_in(said)} == {"a"}
