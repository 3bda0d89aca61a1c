"""A server that says that its tools have changed is asked for them again, and loses nothing that it holds."""

import asyncio
import sys
from pathlib import Path

import pytest

from graphs.session import open_orchestrator
from nodes.context import Context
from tests.tools.mcp.household import PLAIN, SERVER, Household, definition, lines, over_http
from tests.wires.brain import Call, Heard, Reply

FAST = Path(__file__).with_name("fast_server.py")
UNASKED = """
[mcp.servers.notes.tools.unlock]
confirm = false
[mcp.servers.notes.tools.vault]
confirm = false
"""


@pytest.fixture
def household(tmp_path: Path) -> Household:
    return Household(tmp_path)


async def unlocked(house: Household) -> None:
    """Open the vault, and look into it."""
    async with house.open() as at_work:
        assert "notes_vault" not in await at_work.tools()
        assert (await at_work.call("notes_unlock")).text == "unlock: {}"
        assert "notes_vault" in await at_work.tools()
        assert (await at_work.call("notes_vault")).text == "vault: {}"


@pytest.mark.parametrize("maker", ["plain", "fastmcp", "lowlevel"])
@pytest.mark.slow
async def test_a_tool_that_a_session_unlocked_is_there_in_that_session(household, maker):
    home = household.folder / "notes"
    script = {"plain": PLAIN[1:], "fastmcp": [str(FAST)], "lowlevel": [str(SERVER)]}[maker]
    household.add("notes", definition("unlock"), command=sys.executable, args=[*script, str(home)])
    await unlocked(household)
    assert lines(home / "called") == ["unlock {}", "vault {}"]
    assert len(lines(home / "pids")) == 1, "the program is not started anew"


@pytest.mark.slow
async def test_a_tool_that_a_session_over_http_unlocked_is_there_in_that_session(household):
    home = household.folder / "notes"
    home.mkdir()
    with over_http(home) as port:
        household.add("notes", definition("unlock"), url=f"http://127.0.0.1:{port}/mcp/")
        await unlocked(household)
    assert len(set(lines(home / "sessions"))) == 1
    assert lines(home / "called") == ["unlock {}", "vault {}"]


async def test_a_server_that_always_says_so_is_listed_and_its_registry_stays_the_same(household):
    home = household.add("notes", definition("add"))
    (home / "says_so_always").touch()
    async with household.open() as house:
        first = await house.registry()
        for _ in range(3):
            assert await house.registry() is first
        assert (await house.call("notes_add")).text == "add: {}"
    assert len(lines(home / "pids")) == 1


async def test_a_list_that_cannot_be_had_again_costs_no_tool_and_no_call_waits_for_it(household):
    home = household.add("notes", definition("add"), definition("unlock"), connect_timeout_s=2)
    async with household.open() as house:
        await house.call("notes_unlock")
        add = (await house.tools())["notes_add"]
        await house.call("notes_unlock")
        (home / "never_list").touch()
        listing = asyncio.create_task(house.tools())
        assert (await house.call_of(add)).text == "add: {}"
        assert not listing.done()
        tools = await listing
        assert set(tools) >= {"notes_add", "notes_unlock", "mcp:notes"}
        why = "its tools have changed, and cannot be listed: it did not answer within 2 s"
        assert tools["mcp:notes"].missing(house.settings) == why
        assert (await house.call("notes_add")).text == "add: {}"
    assert len(lines(home / "pids")) == 1


def climbing(heard: Heard) -> Reply:
    """Call what is unlocked as soon as it is offered."""
    done = [result.name for result in heard.results]
    for name in ("notes_vault", "notes_unlock"):
        if name in heard.tools and name not in done:
            return Reply(calls=(Call(name, {}),))
    return Reply(text=" ".join(result.text for result in heard.results))


@pytest.mark.parametrize("kind", ["openai", "gemini", "anthropic"])
async def test_what_a_call_unlocks_can_be_called_in_the_same_turn(household, open_wire, kind):
    wire = open_wire(kind, brain=climbing)
    provider = {"gemini": "google"}.get(kind, kind)
    household.toml = f"""
    [models.m]
    provider = "{provider}"
    model = "m"
    base_url = "{wire.url}"
    api_key_env = "KEY"
    [roles]
    orchestrator = ["m"]
    chat = ["m"]
    """
    home = household.add("notes", definition("unlock"), toml=UNASKED)
    settings = household.settings(KEY="sk-test-key-1")
    async with open_orchestrator(settings) as orchestrator:
        asked = await orchestrator.ask("open it", thread_id="t", context=Context(path="single"))
        while asked.pending:  # what is new asks first
            asked = await orchestrator.resume("t", answer=True)
    assert [each["tool"] for each in asked.tool_calls] == ["notes_unlock", "notes_vault"]
    assert lines(home / "called") == ["unlock {}", "vault {}"]
    assert len(lines(home / "pids")) == 1
