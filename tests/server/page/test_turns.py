"""Turns of the page: begun, heard, answered, stopped, gone on with."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import pytest

from base.errors import NothingPendingError
from graphs.stream import final_result
from nodes.context import Context
from nodes.events import ToolStarted
from tests.server.page.conftest import TOKENS
from tests.server.page.site import Site, Visitor, place_of

_BEGINS = "echo began >> {0}; [ ! -p {0}.ready ] || echo > {0}.ready"
_LOOP = f"{_BEGINS}; while [ ! -e {{0}}.go ]; do sleep 0.05; done; echo ended >> {{0}}"
WAITS = f'use run_command {{{{"command": "{_LOOP}"}}}}'
"""A command that ends once a file is there."""
COUNTS = 'use run_command {"command": "echo once >> count.txt"}'


def home(site: Site, name: str) -> Path:
    return site.workspace / ".people" / name


def let_go(site: Site, file: str) -> None:
    """Let the command that waits for it end."""
    home(site, "dora").mkdir(parents=True, exist_ok=True)
    (home(site, "dora") / f"{file}.go").touch()


@contextmanager
def begins(site: Site, file: str) -> Iterator[None]:
    """Return, at the end, once the command itself has begun: before that, a stop undoes its claim."""
    home(site, "dora").mkdir(parents=True, exist_ok=True)
    os.mkfifo(home(site, "dora") / f"{file}.ready")
    yield
    (home(site, "dora") / f"{file}.ready").read_text()


def began(visitor: Visitor, thread: str) -> None:
    """Return once a call of a turn has begun."""
    with visitor.listening(thread) as events:
        assert any(event["event"] == "tool_started" for _, event in events)


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


def test_a_call_waits_and_is_approved_edited_or_rejected(bob: Visitor, site: Site):
    thread, entry = bob.wait_for('write "buy milk" to list.txt')
    [action] = entry["request"]["action_requests"]
    assert (entry["may_answer"], action["args"]["content"]) == (True, "buy milk")
    assert "To reject" not in action["description"]
    assert "content" in entry["schemas"]["write_file"]["properties"]
    assert bob.get(place_of(thread))["question"] == entry["question"]
    assert bob.answer(entry).status_code == 202
    assert bob.hear(thread)[-1]["event"] == "done"
    edited = {"name": "write_file", "args": {"path": "list.txt", "content": "buy tea"}}
    thread, entry = bob.wait_for('write "buy beer" to list.txt')
    assert bob.answer(entry, "edit", edited_action=edited).status_code == 202
    assert bob.hear(thread)[-1]["event"] == "done"
    thread, entry = bob.wait_for('write "buy rum" to list.txt')
    assert bob.answer(entry, "reject", message="not today").status_code == 202
    assert "not today" in str(bob.hear(thread)[-1]["result"]["tool_calls"])
    assert (home(site, "bob") / "list.txt").read_text() == "buy tea"


def test_whoever_reconnects_hears_what_they_missed_and_nothing_twice(dora: Visitor, site: Site):
    thread = dora.begin(WAITS.format("missed.txt"))
    with dora.listening(thread) as events:
        heard = [next(events)]
        while heard[-1][1]["event"] != "tool_started":
            heard.append(next(events))
    let_go(site, "missed.txt")
    numbers = [number for number, _ in heard]
    with dora.listening(thread, **{"Last-Event-ID": str(numbers[-1])}) as events:
        rest = list(events)
    assert rest[-1][1]["event"] == "done"
    with dora.listening(thread) as events:
        assert [number for number, _ in events] == [*numbers, *[number for number, _ in rest]]
    done = dora.call("GET", f"{place_of(thread)}/events", headers={"Last-Event-ID": str(rest[-1][0])})
    assert done.status_code == 204
    with dora.listening(thread, **{"Last-Event-ID": str(10**18)}) as events:  # no turn's of this thread
        assert next(events)[0] == numbers[0]


def test_two_pages_hear_the_same_and_one_that_leaves_ends_nothing(dora: Visitor, site: Site):
    thread = dora.begin(WAITS.format("two.txt"))
    with Visitor(site) as sofa:
        sofa.sign_in(TOKENS["dora"])
        with sofa.listening(thread) as events:
            began(dora, thread)  # and is closed
            let_go(site, "two.txt")
            heard = [event for _, event in events]
    assert heard == dora.hear(thread)
    assert (home(site, "dora") / "two.txt").read_text() == "began\nended\n"


def test_one_turn_of_a_conversation_runs_at_a_time(dora: Visitor, site: Site):
    thread = dora.begin(WAITS.format("alone.txt"))
    began(dora, thread)
    read = dora.get(place_of(thread))
    assert (read["status"], read["live"] is not None) == ("running", True)
    place = place_of(thread)
    for answer in (
        dora.say(thread, "what is 1+1"),
        dora.call("POST", f"{place}/proceed"),
        dora.call("DELETE", place),
        dora.call("POST", f"{place}/answer", json={"question": "q", "decisions": [{"tool_call_id": "c"}]}),
    ):
        assert answer.status_code == 409, answer.text
    let_go(site, "alone.txt")
    assert dora.hear(thread)[-1]["event"] == "done"
    assert dora.say(thread, "what is 1+1").status_code == 202
    assert "2" in dora.hear(thread)[-1]["result"]["response"]


def test_a_turn_is_stopped_and_gone_on_with_and_nothing_runs_twice(dora: Visitor, site: Site):
    with begins(site, "stopped.txt"):
        thread = dora.begin(WAITS.format("stopped.txt"))
    place = place_of(thread)
    assert dora.call("POST", f"{place}/stop").status_code == 202
    last = dora.hear(thread)[-1]
    assert (last["event"], last["stopped"]) == ("failed", True)
    assert dora.get(place)["status"] == "interrupted"
    assert [each["status"] for each in dora.get("conversations") if each["id"] == thread] == ["interrupted"]
    assert dora.call("POST", f"{place}/stop").status_code == 409
    assert dora.call("POST", f"{place}/proceed").status_code == 202
    assert dora.hear(thread)[-1]["result"]["pending"]["action_requests"][0]["attempt"] == 1
    [entry] = [each for each in dora.get("waiting") if each["id"] == thread]
    assert dora.answer(entry, "reject").status_code == 202
    assert dora.hear(thread)[-1]["event"] == "done"
    assert (home(site, "dora") / "stopped.txt").read_text() == "began\n"


@pytest.mark.slow
def test_two_tabs_that_answer_at_once_have_one_effect(alice: Visitor, site: Site):
    file, barrier = home(site, "alice") / "count.txt", Barrier(4)
    for rounds in range(1, 4):
        thread, entry = alice.wait_for(COUNTS)

        def click(_: int, entry: dict = entry) -> int:
            with Visitor(site, Authorization=f"Bearer {TOKENS['alice']}") as tab:
                barrier.wait()
                return tab.answer(entry).status_code

        with ThreadPoolExecutor(4) as tabs:
            assert sorted(tabs.map(click, range(4))) == [202, 409, 409, 409]
        assert alice.hear(thread)[-1]["event"] == "done"
        assert file.read_text() == "once\n" * rounds
        again = alice.answer(entry)
        assert again.status_code == 409
        assert "run_command was approved by alice" in again.json()["detail"]


def test_a_stale_card_is_told_what_became_of_its_question(bob: Visitor, site: Site):
    thread, entry = bob.wait_for('write "one" to stale.txt')
    assert bob.say(thread, 'write "two" to stale.txt').status_code == 202
    assert bob.hear(thread)[-1]["result"]["pending"]
    answer = bob.answer(entry)
    assert answer.status_code == 409
    assert "asks something else by now" in answer.json()["detail"]
    assert not (home(site, "bob") / "stale.txt").exists()


async def test_what_the_terminal_answered_is_not_answered_again(site: Site, bob: Visitor):
    thread, entry = await asyncio.to_thread(bob.wait_for, 'write "mine" to elsewhere.txt')
    async with site.beside() as terminal:
        await terminal.resume(thread, False, context=Context(user="bob"))
        answer = await asyncio.to_thread(bob.answer, entry)
        assert answer.status_code == 409
        assert "write_file was rejected by bob" in answer.json()["detail"]
        with pytest.raises(NothingPendingError):
            async for _ in terminal.stream_resume(thread, True, asked=entry["question"]):
                pass
    assert not (home(site, "bob") / "elsewhere.txt").exists()


async def test_an_answer_to_one_question_never_answers_the_next(site: Site, bob: Visitor):
    thread, entry = await asyncio.to_thread(bob.wait_for, 'write "one" to next.txt')
    async with site.beside() as terminal:
        context = Context(user="bob")
        assert (await terminal.ask('write "two" to next.txt', thread_id=thread, context=context)).pending
        with pytest.raises(NothingPendingError, match="asks something else"):
            async for _ in terminal.stream_resume(thread, True, asked=entry["question"]):
                pass
        assert await terminal.question(thread) != entry["question"]
    assert not (home(site, "bob") / "next.txt").exists()


async def test_a_turn_of_the_terminal_is_followed_to_its_end(site: Site, dora: Visitor):
    async with site.beside() as terminal:
        context, text = Context(user="dora"), WAITS.format("followed.txt")
        events = terminal.stream(text, thread_id="of/the terminal", context=context)
        async for event in events:
            if isinstance(event, ToolStarted):
                break
        turn = asyncio.create_task(final_result(events))
        read = await asyncio.to_thread(dora.get, place_of("of/the terminal"))
        assert (read["status"], read["live"]) == ("running", None)
        hearing = asyncio.create_task(asyncio.to_thread(dora.hear, "of/the terminal"))
        stopped = await asyncio.to_thread(dora.call, "POST", f"{place_of('of/the terminal')}/stop")
        assert (stopped.status_code, "another process" in stopped.json()["detail"]) == (409, True)
        let_go(site, "followed.txt")
        result = await turn
        assert (await hearing)[-1] == {"event": "done", "result": result.to_json()}


def test_a_page_left_open_over_a_restart_answers_its_card_once(own_site: Site):
    with Visitor(own_site) as visitor:
        visitor.sign_in(TOKENS["bob"])
        thread, entry = visitor.wait_for('write "after" to restart.txt')
        cookie = visitor.http.cookies["twobrain"]
    own_site.stop()
    own_site.start()
    with Visitor(own_site, Cookie=f"twobrain={cookie}") as visitor:
        assert visitor.answer(entry).status_code == 202
        assert visitor.hear(thread)[-1]["event"] == "done"
        assert visitor.answer(entry).status_code == 409
    assert (home(own_site, "bob") / "restart.txt").read_text() == "after"


def test_what_runs_when_the_server_ends_is_cut_short_and_can_be_gone_on_with(own_site: Site):
    with Visitor(own_site) as visitor:
        visitor.sign_in(TOKENS["dora"])
        with begins(own_site, "ended.txt"):
            thread = visitor.begin(WAITS.format("ended.txt"))
        cookie = visitor.http.cookies["twobrain"]
    own_site.stop()
    own_site.start()
    with Visitor(own_site, Cookie=f"twobrain={cookie}") as visitor:
        assert visitor.get(place_of(thread))["status"] == "interrupted"
        assert visitor.call("GET", f"{place_of(thread)}/events").status_code == 204
        assert visitor.call("POST", f"{place_of(thread)}/proceed").status_code == 202
        assert visitor.hear(thread)[-1]["result"]["pending"]
    assert (home(own_site, "dora") / "ended.txt").read_text() == "began\n"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"text": ""}, "empty"),
        ({"text": " \u200b"}, "empty"),
        ({"text": "x" * 200_001}, "200,000"),
        ({"text": "hi", "model": "none"}, "There is no role or model 'none'"),
        ({"text": "hi", "path": "elsewhere"}, "path"),
        ({"text": 7}, "text"),
        ({}, "text"),
    ],
)
def test_what_cannot_be_said_begins_no_conversation(said, words, bob: Visitor):
    before = bob.get("conversations")
    answer = bob.call("POST", "conversations", json=said)
    assert (answer.status_code, words in answer.json()["detail"]) == (422, True), answer.text
    assert bob.get("conversations") == before


def test_a_model_and_a_path_are_chosen(bob: Visitor):
    assert [model["name"] for model in bob.get("me")["models"]] == ["planner", "writer"]
    _, last = bob.ask("hello", path="direct", model="writer")
    assert (last["result"]["backend"], last["result"]["tool_calls"]) == ("writer", [])


@pytest.mark.parametrize(
    "decisions",
    [[], [{}], [{"type": "approve"}], ["yes"], "yes", [{"type": "approve", "tool_call_id": None}]],
)
def test_what_names_no_call_decides_nothing(decisions, bob: Visitor):
    thread, entry = bob.wait_for('write "x" to unnamed.txt')
    body = {"question": entry["question"], "decisions": decisions}
    assert bob.call("POST", f"{place_of(thread)}/answer", json=body).status_code == 422
    assert bob.get(place_of(thread))["status"] == "waiting"


@pytest.mark.parametrize(
    "decision",
    [
        {"type": "approve", "tool_call_id": "another"},
        {"type": "yes, but not now", "tool_call_id": "…"},
        {
            "type": "edit",
            "tool_call_id": "…",
            "edited_action": {"name": "delete_file", "args": {"path": "a"}},
        },
    ],
)
def test_what_is_not_understood_is_asked_again(decision, bob: Visitor, site: Site):
    thread, entry = bob.wait_for('write "x" to unclear.txt')
    if decision["tool_call_id"] == "…":
        decision = {**decision, "tool_call_id": entry["request"]["action_requests"][0]["tool_call_id"]}
    body = {"question": entry["question"], "decisions": [decision]}
    assert bob.call("POST", f"{place_of(thread)}/answer", json=body).status_code == 202
    *_, asked, last = bob.hear(thread)
    assert asked["event"] == "confirmation"
    assert asked["request"]["problem"]
    assert last["result"]["pending"]
    assert not (home(site, "bob") / "unclear.txt").exists()


def test_a_guest_is_offered_no_choice_and_refused_one(site):
    with Visitor(site) as visitor:
        visitor.sign_in(TOKENS["tim"])
        me = visitor.get("me")
        assert (me["models"], me["paths"]) == ([], ["auto"])
        for chosen in ({"path": "direct"}, {"model": "writer"}):
            answer = visitor.call("POST", "conversations", json={"text": "hi", **chosen})
            assert (answer.status_code, "twobrain.toml" in answer.json()["detail"]) == (403, True)
