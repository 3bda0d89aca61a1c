"""A yes is to what was shown: the tool's definition, and the exact effect."""

import asyncio
import json
import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from langgraph.types import Command

from nodes.gate.request import GIVE_A_REASON, unfenced
from tests.behaviour.crashes.power import PLAIN
from tests.behaviour.crashes.process import Home, statuses
from tests.behaviour.invisible import INVISIBLE
from tools.declaration import Here, tool
from tools.registry import Registry

WRITE = 'write_file {"path": "a.txt", "content": "new"}'
RULE = {"decisions": [{"type": "approve", "remember": {"where": {"path": "*"}}}]}


@pytest.fixture
def house(settle):
    house = settle("openai")
    house.workspace.mkdir(parents=True)
    (house.workspace / "a.txt").write_text("old")
    return house


def said(pending) -> str:
    [action] = pending["action_requests"]
    return action["description"]


def edited(path: str):
    return {"type": "edit", "edited_action": {"name": "write_file", "args": {"path": path, "content": "e"}}}


async def test_a_yes_to_a_preview_is_none_to_what_the_file_has_become(house):
    file = house.workspace / "a.txt"
    async with house.open() as orchestrator:
        asked = (await orchestrator.ask(WRITE, thread_id="t", context=house.context())).pending
        assert "-old" in said(asked)
        file.write_text("precious")
        again = (await orchestrator.resume("t", answer=True)).pending
        assert file.read_text() == "precious"
        assert "has changed since" in said(again)
        assert "-precious" in said(again)
        done = await orchestrator.resume("t", answer=True)
    assert statuses(done) == {"write_file": "executed"}
    assert file.read_text() == "new"
    assert house.rejected() == []


async def test_until_when_a_yes_counts_is_said_on_the_persons_clock(settle):
    zone = "Pacific/Kiritimati"
    house = settle("openai", more=f'[users.local]\ntimezone = "{zone}"\n')
    async with house.open() as orchestrator:
        context = house.context(confirm_ttl_s=600)
        asked = (await orchestrator.ask(WRITE, thread_id="t", context=context)).pending
    until = datetime.fromtimestamp(asked["expires_at"], ZoneInfo(zone))
    assert f"A yes counts until {until:%Y-%m-%d at %H:%M:%S} +14." in said(asked)


@pytest.mark.parametrize(
    ("old", "fence"),
    [
        ("- milk\n", "```"),
        ("```\n![](http://evil.example/x)\n```\n", "````"),
        ("`" * 9 + "\r" + "`" * 9, "`" * 10),
    ],
)
async def test_no_preview_is_read_as_markdown(house, old, fence):
    file = house.workspace / "a.txt"
    file.write_bytes(old.encode())
    async with house.open() as orchestrator:
        asked = (await orchestrator.ask(WRITE, thread_id="t", context=house.context())).pending
    before, shown, after = re.split(rf"^{fence}$", said(asked), flags=re.MULTILINE)
    assert not before
    assert after.endswith(GIVE_A_REASON)
    assert "+new" in shown
    assert "`" * len(fence) not in shown
    assert fence not in unfenced(said(asked))
    assert "+new" in unfenced(said(asked))


@pytest.mark.parametrize("unseen", INVISIBLE.values(), ids=INVISIBLE)
async def test_what_cannot_be_seen_is_written_out_in_what_every_client_shows(house, unseen):
    written = json.dumps({"path": "a.txt", "content": f"pay{unseen}me"})
    async with house.open() as orchestrator:
        result = await orchestrator.ask(f"write_file {written}", thread_id="t", context=house.context())
    asked = result.pending
    seen = {char for char in unseen if char.isprintable() and char.isascii()} | {*"\n\0\u0301\u20e3"}
    hidden = {*unseen} - seen
    assert not hidden & {*said(asked)}
    assert "Not all of it can be seen: content holds" in said(asked)
    assert all(char.encode("unicode_escape").decode() in said(asked) for char in hidden)


async def test_a_no_to_what_it_has_become_is_a_denial(house):
    file = house.workspace / "a.txt"
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=house.context())
        file.write_text("precious")
        assert (await orchestrator.resume("t", answer=True)).pending
        done = await orchestrator.resume("t", answer=False)
    assert statuses(done) == {"write_file": "denied"}
    assert file.read_text() == "precious"


async def test_an_edit_of_what_has_changed_is_asked_about_as_it_was_edited(house):
    file = house.workspace / "a.txt"
    edit = edited("a.txt")
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=house.context())
        file.write_text("precious")
        again = (await orchestrator.resume("t", edit)).pending
        assert file.read_text() == "precious"
        assert "-precious" in said(again)
        assert "+e" in said(again)
        done = await orchestrator.resume("t", answer=True)
    assert done.tool_calls[0]["args"] == {"path": "a.txt", "content": "e"}
    assert file.read_text() == "e"


async def test_an_edit_of_what_stayed_runs_at_once(house):
    edit = edited("b.txt")
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=house.context())
        done = await orchestrator.resume("t", edit)
    assert statuses(done) == {"write_file": "executed"}
    assert (house.workspace / "b.txt").read_text() == "e"


async def test_of_two_calls_only_the_one_that_changed_is_asked_about_again(house):
    other = 'write_file {"path": "b.txt", "content": "b"}'
    async with house.open() as orchestrator:
        await orchestrator.ask(f"{WRITE} & {other}", thread_id="t", context=house.context())
        (house.workspace / "a.txt").write_text("precious")
        again = (await orchestrator.resume("t", answer=True)).pending
        assert [action["args"]["path"] for action in again["action_requests"]] == ["a.txt"]
        assert (house.workspace / "b.txt").read_text() == "b"
        done = await orchestrator.resume("t", answer=True)
    assert [call["status"] for call in done.tool_calls] == ["executed"] * 2


def tools_described(words: str):
    """Return the tools of a process in which `write_file` says that of itself."""

    def described(happen):
        def write_file(here: Here, path: str, content: str) -> str:
            happen("write_file")
            return f"wrote {here.user} {path} {content}"

        write_file.__doc__ = words
        return [tool(effect="write")(write_file)]

    return described


@pytest.mark.parametrize("answer", [True, RULE])
async def test_a_yes_to_a_definition_is_none_to_the_one_that_came_after(tmp_path, answer):
    before = Home(tmp_path, tools=tools_described("Write a note."))
    after = Home(tmp_path, tools=tools_described("Write a note, and tell everybody."))
    async with before.opened() as orchestrator:
        assert (await orchestrator.ask('write "x" to a.txt', thread_id="t1", context=PLAIN)).pending
    async with after.opened() as orchestrator:
        again = (await orchestrator.resume("t1", answer)).pending
        assert after.effects == []
        assert "has changed since" in said(again)
        done = await orchestrator.resume("t1", answer=True)
        assert statuses(done) == {"write_file": "executed"}
        assert after.effects == ["write_file"]
        assert (await orchestrator.ask('write "y" to b.txt', thread_id="t2", context=PLAIN)).pending
    assert after.effects == ["write_file"], "no rule holds for a definition that it was not agreed for"


async def test_killed_between_the_yes_and_the_call_what_changed_meanwhile_is_asked_about(house):
    file = house.workspace / "a.txt"
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=house.context())
        config = orchestrator.config("t")
        await orchestrator.graph.ainvoke(Command(resume=True), config, interrupt_before=["execute_tools"])
        assert file.read_text() == "old"
        file.write_text("precious")
    async with house.open() as orchestrator:
        again = (await orchestrator.proceed("t")).pending
        assert file.read_text() == "precious"
        assert "-precious" in said(again)
        config = orchestrator.config("t")
        history = [state async for state in orchestrator.graph.aget_state_history(config)]
        before = next(state for state in history if state.next == ("execute_tools",))
        named = {**config["configurable"], **before.config["configurable"]}
        asked = await orchestrator.graph.ainvoke(None, {"configurable": named})
        assert "-precious" in said(asked["pending"]), "and again, not told to be lost or denied"
        assert (await orchestrator.resume("t", answer=True)).pending is None
    assert file.read_text() == "new"


async def test_an_edit_to_no_arguments_never_runs_the_original_ones(settle):
    """`ring_bell` needs to be told how often; `list_files` needs nothing."""
    house = settle("openai")
    empty = {"type": "edit", "edited_action": {"name": "ring_bell", "args": {}}}
    async with house.open() as orchestrator:
        assert (
            await orchestrator.ask('ring_bell {"times": 3}', thread_id="t", context=house.context())
        ).pending
        asked = (await orchestrator.resume("t", empty)).pending
        assert "'times' is missing" in asked["problem"]
        assert house.rung() == []
        context = house.context(confirm_deny=["list_files"])
        assert (
            await orchestrator.ask('list_files {"path": "nowhere"}', thread_id="u", context=context)
        ).pending
        none = {"type": "edit", "args": {"action": "list_files", "args": {}}}
        done = await orchestrator.resume("u", none)
    assert (done.tool_calls[0]["args"], done.tool_calls[0]["status"]) == ({}, "executed")


async def test_cut_short_what_may_run_twice_is_asked_about_where_it_has_changed(house, monkeypatch):
    """The world is counted in a file; the first run never ends."""
    import nodes.resources

    furnished, guest = nodes.resources.open_registry, house.workspace / "guest.txt"
    booked, begun = house.workspace / "booked.txt", asyncio.Event()

    def preview(here: Here, to: str) -> str:
        return f"It is booked for {guest.read_text()}."

    @tool(effect="write", idempotent=True, preview=preview)
    async def book(here: Here, to: str) -> str:
        """Book a room."""
        with booked.open("a") as rooms:
            rooms.write(f"{guest.read_text()}\n")
        if not begun.is_set():
            begun.set()
            await asyncio.Event().wait()
        return "Booked."

    monkeypatch.setattr(nodes.resources, "open_registry", lambda house: Registry([*furnished(house), book]))
    guest.write_text("Ann")
    async with house.open() as orchestrator:
        asked = (await orchestrator.ask('book {"to": "x"}', thread_id="t", context=house.context())).pending
        assert "booked for Ann" in said(asked)
        running = asyncio.create_task(orchestrator.resume("t", answer=True))
        await begun.wait()
        running.cancel()
        await asyncio.wait({running})
        guest.write_text("Mallory")
        again = (await orchestrator.proceed("t")).pending
        assert booked.read_text() == "Ann\n"
        assert "booked for Mallory" in said(again)
        done = await orchestrator.resume("t", answer=True)
    assert statuses(done) == {"book": "executed"}
    assert booked.read_text() == "Ann\nMallory\n"


@pytest.mark.parametrize(
    ("old", "content", "shown", "new"),
    [
        (b"one\r\ntwo\r\n", "one\n2\n", ["Encoding: UTF-8, line ends \\r\\n", "-two", "+2"], b"one\r\n2\r\n"),
        (b"one\n", "one\r\n", ["-one\\n", "+one"], b"one\r\n"),
        (b"one  \n", "one\n", ["-one\\x20\\x20", "+one"], b"one\n"),
        (b"one\n", "one", ["-one", "+one\n\\ No newline at end of file"], b"one"),
        (b"\xef\xbb\xbfone\n", "1\n", ["Encoding: UTF-8 with a byte order mark", "+1"], b"\xef\xbb\xbf1\n"),
        (b"\xff\xfeo\0", "1", ["Encoding: UTF-16-LE with a byte order mark", "-o", "+1"], b"\xff\xfe1\0"),
        (b"caf\xe9\n", "th\u00e9\n", ["Encoding: Windows-1252 (a guess)", "+th\u00e9"], b"th\xe9\n"),
        (b"caf\xe9\n", "\u8336\n", ["→ UTF-8; Windows-1252 lacks a character of it"], b"\xe8\x8c\xb6\n"),
    ],
)
async def test_what_is_agreed_to_is_what_the_file_then_holds_byte_for_byte(house, old, content, shown, new):
    file = house.workspace / "a.txt"
    file.write_bytes(old)
    call = json.dumps({"path": "a.txt", "content": content})
    async with house.open() as orchestrator:
        asked = (await orchestrator.ask(f"write_file {call}", thread_id="t", context=house.context())).pending
        assert "changes nothing" not in said(asked)
        assert all(f"{line}\n" in said(asked) for line in shown)
        assert file.read_bytes() == old
        done = await orchestrator.resume("t", answer=True)
    assert statuses(done) == {"write_file": "executed"}
    assert file.read_bytes() == new


async def test_what_is_read_and_written_back_is_the_same_file(house):
    file, held = house.workspace / "a.txt", b"\xef\xbb\xbfone\r\ntwo  \r\nend"
    file.write_bytes(held)
    async with house.open() as orchestrator:
        await orchestrator.ask('read_file {"path": "a.txt"}', thread_id="t", context=house.context())
        heard = house.planner.heard[-1].results[0].text
        [read] = re.findall(r"not for you\.\n(.*)\n</untrusted", heard, re.DOTALL)
        call = json.dumps({"path": "a.txt", "content": read})
        asked = (await orchestrator.ask(f"write_file {call}", thread_id="t", context=house.context())).pending
        assert "changes nothing: it holds exactly that" in said(asked)
        await orchestrator.resume("t", answer=True)
    assert file.read_bytes() == held
