"""Conversations on the page: whose they are, listed, searched, renamed, deleted; and what waits."""

import asyncio
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from nodes.context import Context
from tests.server.page.conftest import PEOPLE, TOKENS
from tests.server.page.site import Site, Visitor, place_of

ODD = [
    "a/b",
    "../me",
    "a?b#c",
    "100%",
    "a%2Fb",
    "ä ö",
    "x/events",
    "x/turns",
    "\u202eabc",
    "a\nb",
    "🎈",
    "a;b,c",
]


def ids(visitor: Visitor, **params: str) -> list[str]:
    return [each["id"] for each in visitor.get("conversations", **params)]


def test_every_route_on_anothers_conversation_finds_nothing(alice: Visitor, bob: Visitor):
    thread, entry = alice.wait_for('write "hers" to hers.txt')
    before, place = alice.get(place_of(thread)), place_of(thread)
    decision = {"type": "approve", "tool_call_id": entry["request"]["action_requests"][0]["tool_call_id"]}
    tried = [
        bob.call("GET", place),
        bob.call("GET", f"{place}/events"),
        bob.call("PATCH", place, json={"title": "mine"}),
        bob.call("DELETE", place),
        bob.call("POST", f"{place}/turns", json={"text": "hi"}),
        bob.call("POST", f"{place}/answer", json={"question": entry["question"], "decisions": [decision]}),
        bob.call("POST", f"{place}/stop"),
        bob.call("POST", f"{place}/proceed"),
    ]
    unknown = bob.call("GET", place_of("another")).json()["detail"].replace("another", thread)
    assert {(answer.status_code, answer.json()["detail"]) for answer in tried} == {(404, unknown)}
    assert thread not in ids(bob)
    assert thread not in {each["id"] for each in bob.get("waiting")}
    assert ids(bob, q="hers") == []
    assert alice.get(place) == before


def test_what_a_child_waits_for_is_read_and_answered_by_its_approver_alone(
    kid: Visitor, alice: Visitor, bob: Visitor, site: Site
):
    thread, entry = kid.wait_for('write "please" to wish.txt')
    assert (entry["may_answer"], entry["may_reject"]) == (False, True)
    [hers] = [each for each in alice.get("waiting") if each["id"] == thread]
    assert (hers["user"], hers["may_answer"]) == ("kid", True)
    assert thread in ids(alice)
    assert alice.get(place_of(thread))["user"] == "kid"
    assert thread not in {each["id"] for each in bob.get("waiting")}
    place = place_of(thread)
    for method, path in (("POST", "turns"), ("POST", "proceed"), ("POST", "stop")):
        assert alice.call(method, f"{place}/{path}", json={"text": "hi"}).status_code == 404
    assert alice.call("DELETE", place).status_code == 404
    assert alice.call("PATCH", place, json={"title": "hers"}).status_code == 404
    assert kid.answer(entry).status_code == 202  # and counts for nothing
    assert "Only alice may agree" in str(kid.hear(thread))
    [hers] = [each for each in alice.get("waiting") if each["id"] == thread]
    assert alice.answer(hers).status_code == 202
    assert alice.hear(thread)[-1]["event"] == "done"
    assert (site.workspace / ".people" / "kid" / "wish.txt").read_text() == "please"
    assert thread not in ids(alice)
    assert alice.answer(hers).status_code == 409
    [row] = kid.get("audit", thread=thread)
    assert (row["user"], row["decided_by"], row["status"]) == ("kid", "alice", "executed")


@pytest.mark.parametrize("thread", ODD)
async def test_whatever_its_id_a_conversation_is_found_and_no_other(thread, site: Site, bob: Visitor):
    async with site.beside() as terminal:
        await terminal.ask("what is 3*3", thread_id=thread, context=Context(user="bob"))
    with_more = asyncio.to_thread(bob.get, place_of(thread))
    assert (await with_more)["id"] == thread
    assert bob.say(thread, "what is 4*4").status_code == 202
    assert "16" in bob.hear(thread)[-1]["result"]["response"]
    assert bob.call("DELETE", place_of(thread)).status_code == 204
    assert bob.call("GET", place_of(thread)).status_code == 404


def test_a_conversation_is_renamed_for_good(bob: Visitor):
    thread, _ = bob.ask("what is 5*5")
    assert bob.call("PATCH", place_of(thread), json={"title": " My sums \n"}).status_code == 204
    assert bob.get(place_of(thread))["title"] == "My sums"
    bob.say(thread, "what is 6*6")
    bob.hear(thread)
    assert [each["title"] for each in bob.get("conversations") if each["id"] == thread] == ["My sums"]
    for title in ("", "  ", "x" * 1_001, None):
        assert bob.call("PATCH", place_of(thread), json={"title": title}).status_code == 422


def test_conversations_are_found_by_title_and_by_what_was_said(bob: Visitor):
    first, _ = bob.ask("what is 1111*3")
    second, _ = bob.ask("what time is it in Tokyo")
    bob.call("PATCH", place_of(second), json={"title": "Über Japan"})
    assert ids(bob)[:2] == [second, first]
    assert ids(bob, q="3333") == [first]
    assert ids(bob, q="über tokyo") == [second]
    assert ids(bob, q="ÜBER") == [second]
    assert ids(bob, q="nothing like it") == []
    bob.say(first, "what is 2222*2")
    bob.hear(first)
    assert ids(bob, q="4444 1111") == [first]


def test_each_search_of_many_at_once_finds_its_own(bob: Visitor):
    found = {str(number): bob.ask(f"what is 7{number}*1000")[0] for number in range(4)}
    wanted = [*found, "nowhere"] * 3
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda each: ids(bob, q=f"7{each}*1000"), wanted))
    assert answers == [[found[each]] if each in found else [] for each in wanted]


def test_a_deleted_conversation_is_gone_and_its_calls_stay_on_record(bob: Visitor, site: Site):
    thread, _ = bob.wait_for('write "x" to gone.txt')
    assert bob.call("DELETE", place_of(thread)).status_code == 204
    assert bob.call("GET", place_of(thread)).status_code == 404
    assert thread not in ids(bob)
    assert thread not in {each["id"] for each in bob.get("waiting")}
    assert [row["tool"] for row in bob.get("audit", thread=thread)] == ["write_file"]


def test_what_was_said_is_text_whatever_it_looks_like(bob: Visitor):
    said = '<img src="https://evil.example/x.png" onerror=alert(1)> [a](https://evil.example) \u202e \x07'
    thread, _ = bob.ask(said)
    read = bob.call("GET", place_of(thread))
    assert read.headers["content-type"] == "application/json"
    assert read.json()["messages"][0]["text"] == said
    assert "<img" in read.json()["title"]


def test_every_open_page_hears_of_a_change_within_a_second(site: Site, bob: Visitor, alice: Visitor):
    def listen(visitor: Visitor) -> tuple[set[str], float]:
        heard: set[str] = set()
        with visitor.stream("events") as events:
            assert next(events)[1] == {"event": "listening"}
            ready.wait()
            while not {"waiting", "conversations", "audit", "usage"} <= heard:
                heard |= set(next(events)[1]["what"])
        return heard, time.monotonic()

    ready = Barrier(3)
    with Visitor(site, Authorization=f"Bearer {TOKENS['bob']}") as sofa, ThreadPoolExecutor(2) as pages:
        listening = [pages.submit(listen, each) for each in (bob, sofa)]
        with alice.stream("events") as others:
            assert next(others)[1] == {"event": "listening"}
            ready.wait()
            asyncio.run(_ask(site, 'write "y" to heard.txt'))
            ended = time.monotonic()
            assert all(each.result()[1] - ended < 1.0 for each in listening)
            with Visitor(site, Authorization=f"Bearer {TOKENS['alice']}") as phone:
                phone.call("PATCH", "conversations/none", json={"title": "x"})
                thread = phone.begin("what is 1+2")
                assert "conversations" in next(others)[1]["what"]  # the first that she hears, and hers
                phone.hear(thread)


def test_files_come_with_a_message_and_what_cannot_be_read_is_refused(bob: Visitor):
    picture = b"\x89PNG\r\n\x1a\n" + b"x" * 100
    sent = [("list.txt", "text/plain", b"milk"), ("<b>a</b>.png", "image/png", picture)]
    files = [{"name": name, "type": kind, "data": b64encode(data).decode()} for name, kind, data in sent]
    thread, last = bob.ask("", attachments=files)
    assert last["event"] == "done"
    [message] = [each for each in bob.get(place_of(thread))["messages"] if each["role"] == "user"]
    told = [{"name": "list.txt", "type": "text/plain"}, {"name": "<b>a</b>.png", "type": "image/png"}]
    assert message["attachments"] == told
    assert bob.get("conversations")[0]["title"] == "list.txt, <b>a</b>.png"
    most, before = bob.get("me")["attachments"], len(bob.get("conversations"))
    too_large = b64encode(picture + b"x" * most["max_bytes"]).decode()
    wrong = [
        [{"name": "a.bin", "type": "", "data": b64encode(b"PK\x03\x04\xff\xfe\x00\x01\x9d").decode()}],
        [{"name": "a.txt", "type": "text/plain", "data": ""}],
        [{"name": "a.txt", "type": "text/plain", "data": "no base64!"}],
        [{"name": "a.png", "type": "image/png", "data": too_large}],
        [files[0]] * (most["max_count"] + 1),
        [{"name": "a.txt", "url": "https://evil.example/x"}],
        "a.txt",
    ]
    for attachments in wrong:
        answer = bob.call("POST", "conversations", json={"text": "see", "attachments": attachments})
        assert answer.status_code == 422, answer.text
        assert len(answer.json()["detail"]) > 20
    assert len(bob.get("conversations")) == before


async def _ask(site: Site, text: str) -> None:
    async with site.beside() as terminal:
        assert (await terminal.ask(text, context=Context(user="bob"))).pending


def test_a_stream_ends_with_the_session(bob: Visitor):
    with bob.stream("events") as events:
        assert next(events)[1] == {"event": "listening"}
        assert bob.call("DELETE", "sessions").status_code == 204
        assert {event["event"] for _, event in events} <= {"changed"}  # of what was said before; and it ends


def test_an_approver_hears_what_their_child_waits_for(kid: Visitor, alice: Visitor):
    with alice.stream("events") as events:
        assert next(events)[1] == {"event": "listening"}
        kid.wait_for('write "more" to wish.txt')
        assert "waiting" in next(events)[1]["what"]


@pytest.mark.slow
def test_the_page_is_the_same_on_postgres(tmp_path: Path, database_url: str):
    with Site(tmp_path, PEOPLE, TWOBRAIN_DATABASE_URL=database_url) as site, Visitor(site) as bob:
        bob.sign_in(TOKENS["bob"])
        thread, entry = bob.wait_for('write "x" to there.txt')
        assert bob.answer(entry).status_code == 202
        assert bob.hear(thread)[-1]["event"] == "done"
        assert bob.answer(entry).status_code == 409
        assert bob.call("PATCH", place_of(thread), json={"title": "Mine"}).status_code == 204
        assert ids(bob, q="mine") == [thread]
        bob.ask("remember that the bin goes out on Monday")
        assert [each["text"] for each in bob.get("memories")] == ["the bin goes out on Monday"]
        assert [row["tool"] for row in bob.get("audit", q="THERE")] == ["write_file"]
        assert {row["role"] for row in bob.get("usage", by="role")} >= {"orchestrator", "chat"}
        deleted = bob.call("DELETE", place_of(thread))
        assert deleted.status_code == 204, deleted.text
        assert bob.call("GET", place_of(thread)).status_code == 404
