"""The terminal at a server: the same screen, one effect there, and words where something is in the way."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.page.conftest import PEOPLE, TOKENS
from tests.server.page.site import Site, Visitor
from tests.terminal.network.breaker import Breaker, breaker

PROMPT = "1m>"
LOOP = "echo began >> count.txt; echo > ready; while [ ! -e go ]; do sleep 0.05; done; echo x >> count.txt"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), PEOPLE) as site:
        yield site


@pytest.fixture
def relay(site: Site) -> Iterator[Breaker]:
    with breaker(int(site.url.rpartition(":")[2])) as relay:
        yield relay


@pytest.fixture
def bob(site: Site) -> Iterator[Visitor]:
    with Visitor(site, Authorization=f"Bearer {TOKENS['bob']}") as visitor:
        yield visitor


def token(name: str) -> dict[str, str]:
    return {"TWOBRAIN_TOKEN": TOKENS[name]}


def place(site: Site, name: str) -> Path:
    folder = site.workspace / ".people" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def said(bob: Visitor, thread: str) -> list[str]:
    return [each["text"] for each in bob.get(f"conversations/{thread}")["messages"] if each["role"] == "user"]


def test_a_chat_at_a_server_asks_on_the_same_card_and_acts_there_once(home, terminal, site, bob):
    screen = terminal("chat", "--server", site.url, "-t", "t1", **token("bob"))
    screen.sees("There is no thread t1 yet", PROMPT)
    screen.sendline("/model x")
    screen.sees("not told here of a server", PROMPT)
    screen.sendline("what is 12*7")
    screen.sees("calculate", "= 84", PROMPT)
    screen.sendline('write "milk" to a.txt')
    screen.sees("Confirm", "write_file", "in bob's folder", "reject >")
    assert not (place(site, "bob") / "a.txt").exists()
    screen.sendline("approve")
    screen.sees("I wrote", PROMPT)
    screen.sendline("/exit")
    screen.ends(0)
    assert (place(site, "bob") / "a.txt").read_text() == "milk"
    assert said(bob, "t1") == ["what is 12*7", 'write "milk" to a.txt']
    assert not home.data.joinpath("workspace").exists()  # nothing happened here
    again = terminal("chat", "--server", site.url, "-c", **token("bob"))
    again.sees("what is 12*7", "I wrote", PROMPT)
    again.sendeof()
    again.ends(0)


def test_one_question_goes_to_a_server_and_its_answer_to_a_pipe(home, site):
    done = home.run("ask", "--server", site.url, "what", "is", "12*7", **token("bob"))
    assert "12*7 = 84" in done.stdout
    waits = home.run("ask", "--server", site.url, 'write "x" to b.txt', code=3, **token("bob"))
    assert "write_file" in waits.stdout
    assert f"--server {site.url}" in waits.stderr
    thread = waits.stdout.partition("twobrain approve ")[2].split()[0]
    done = home.run("approve", thread, "--server", site.url, **token("bob"))
    assert "I wrote" in done.stdout
    again = home.run("approve", thread, "--server", site.url, code=2, **token("bob"))
    assert "waits for no answer" in again.stderr
    told = home.json("ask", "--server", site.url, 'write "x" to c.txt', "--yes", **token("bob"))
    assert told["receipts"][0]["status"] == "executed"
    assert (place(site, "bob") / "c.txt").read_text() == "x"


def test_ctrl_c_stops_the_turn_on_the_server_and_resume_goes_on_there(home, terminal, site):
    folder = place(site, "dora")
    os.mkfifo(folder / "ready")
    screen = terminal("chat", "--server", site.url, "-t", "dora-1", **token("dora"))
    screen.sees(PROMPT)
    screen.sendline(f'use run_command {{"command": "{LOOP}"}}')
    (folder / "ready").read_text()  # by then it has begun
    screen.sendintr()
    screen.sees("Stopped. /resume goes on from here.", PROMPT)
    with Visitor(site, Authorization=f"Bearer {TOKENS['dora']}") as dora:
        assert dora.get("conversations/dora-1")["status"] == "interrupted"
    screen.sendline("/resume")
    screen.sees("Did it happen?", "count it as done >")
    screen.sendline("done")
    screen.sees(PROMPT)
    screen.sendeof()
    screen.ends(0)
    ended = home.run("resume", "dora-1", "--server", site.url, **token("dora"))
    assert "That turn had ended" in ended.stderr
    assert (folder / "count.txt").read_text().split() == ["began"]


@pytest.mark.parametrize(
    "cut",
    [
        (b"POST /app/api/conversations ", b""),  # the message does not arrive
        (b"POST /app/api/conversations ", b"HTTP/1.1 202"),  # it does, and nobody is told
        (b"GET /app/api/conversations/", b"tool_started"),
        (b"GET /app/api/conversations/", b"done"),
    ],
    ids=["the message", "its receipt", "amid the turn", "its end"],
)
def test_a_lost_connection_is_taken_up_again_without_a_second_message(home, relay, bob, cut, request):
    relay.cuts.append(cut)
    thread = request.node.callspec.id.replace(" ", "-")
    done = home.run("ask", "--server", relay.url, "-t", thread, "what is 12*7", **token("bob"))
    assert not relay.cuts
    assert done.stdout.count("12*7 = 84") == 1
    assert done.stderr.count("✓ calculate") == 1
    assert said(bob, thread) == ["what is 12*7"]


def test_an_answer_whose_receipt_is_lost_counts_once(home, relay, site, bob):
    relay.cuts.append((b"POST /app/api/conversations/answered/answer", b"HTTP/1.1 202"))
    args = ("ask", "--server", relay.url, "-t", "answered", 'write "rye" to d.txt', "--yes")
    done = home.run(*args, **token("bob"))
    assert not relay.cuts
    assert "I wrote" in done.stdout
    assert (place(site, "bob") / "d.txt").read_text() == "rye"
    assert said(bob, "answered") == ['write "rye" to d.txt']


def test_what_is_in_the_way_of_a_server_is_said_in_words(home, site):
    port = site.url.rpartition(":")[2]
    cases = {
        (site.url, "wrong"): (2, "does not know who you are", "TWOBRAIN_TOKEN"),
        (site.url, ""): (2, "does not know who you are", "TWOBRAIN_TOKEN"),
        ("http://127.0.0.1:1", ""): (1, "cannot be reached", "Is it running"),
        (f"https://127.0.0.1:{port}", ""): (1, "SSL", "cannot be reached"),
        (f"{site.url}/elsewhere", TOKENS["bob"]): (1, "but not as a twobrain server of this version", "404"),
        ("http://server.example", TOKENS["bob"]): (2, "not encrypted", "https"),
        ("ftp://x", ""): (2, "is no address", "https://"),
        ("http://bob:secret@127.0.0.1", ""): (2, "put your token into TWOBRAIN_TOKEN", "not into"),
    }
    for (url, secret), (code, *words) in cases.items():
        given = {"TWOBRAIN_TOKEN": secret} if secret else {}
        done = home.run("ask", "--server", url, "what is 12*7", code=code, **given)
        assert all(word in done.stderr for word in words), done.stderr
        assert done.stdout == ""
    said = home.run("ask", "--server", site.url, "--model", "x", "hi", code=2, **token("bob")).stderr
    assert "only the path can be chosen" in said
    assert "knows you" in home.run("chat", "--server", site.url, "--user", "bob", code=2).stderr


def test_nobody_goes_on_with_the_conversation_of_another(home, site):
    home.run("ask", "--server", site.url, "-t", "bobs", "what is 12*7", **token("bob"))
    done = home.run("ask", "--server", site.url, "-t", "bobs", "what is 1+1", code=2, **token("alice"))
    assert "no conversation 'bobs' of yours" in done.stderr


def test_what_goes_in_the_clear_goes_through_no_proxy(home, site):
    proxied = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = home.run("ask", "what is 12*7", "--server", site.url, **proxied, **token("bob"))
    assert "84" in done.stdout
