"""Turns of the page: begun, heard, answered, stopped, gone on with."""

from tests.server.page.site import Site, Visitor, place_of


def test_a_turn_is_heard_from_its_first_event_to_its_result(bob: Visitor):
    thread = bob.begin("what is 12*7")
    events = bob.hear(thread)
    names = [event["event"] for event in events]
    assert {"tool_started", "tool_finished", "token", "usage"} <= set(names)
    assert names[-1] == "done"
    assert "84" in events[-1]["result"]["response"]
    read = bob.get(place_of(thread))
    assert [message["role"] for message in read["messages"]] == ["user", "assistant"]
    assert read["messages"][1]["text"] == events[-1]["result"]["response"]
    assert (read["status"], read["live"], read["question"]) == ("answered", None, None)


def test_a_call_waits_and_is_approved(bob: Visitor, site: Site):
    thread, entry = bob.wait_for('write "buy milk" to list.txt')
    assert entry["may_answer"]
    assert entry["request"]["action_requests"][0]["args"]["content"] == "buy milk"
    assert bob.answer(entry).status_code == 202
    assert bob.hear(thread)[-1]["event"] == "done"
    assert (site.workspace / ".people" / "bob" / "list.txt").read_text() == "buy milk"
