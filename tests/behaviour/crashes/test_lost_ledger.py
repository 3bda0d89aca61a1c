"""The ledger is lost, put back from an older copy, or another's: it is said, and nothing runs unasked."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from base.settings import load_settings
from graphs.session import open_orchestrator
from tests.behaviour.crashes.power import PLAIN, cut_short
from tests.behaviour.crashes.process import Home, check_pairs, statuses
from tests.terminal import forked

REMEMBER = "remember that it rains"
WRITE = 'write "x" to a.txt'
NO_RECORD = "the ledger was lost, or put back from an older copy, and has no record of it"
Blow = Callable[[Home], Awaitable[None]]

pytestmark = pytest.mark.sqlite_files


async def lose(home: Home) -> None:
    for file in home.data.glob("ledger.db*"):
        file.unlink()


async def put_back(home: Home, copy: Path | None = None) -> None:
    await lose(home)
    for file in (copy or home.directory / "copy").glob("ledger.db*"):
        shutil.copy(file, home.data)


async def take_anothers(home: Home) -> None:
    """Put the ledger of another data directory in place, which knows a thread of the same name."""
    other = Home(home.directory / "other")
    await cut_short(other, REMEMBER, "remember")
    await put_back(home, other.data)


async def die_after(home: Home, text: str, tool: str) -> None:
    """Let a process die after a tool took effect; what it asked about was copied while it waited."""
    given: Any = text
    if text == WRITE:
        async with home.opened() as orchestrator:
            assert (await orchestrator.ask(text, thread_id="t1", context=PLAIN)).pending
        shutil.copytree(home.data, home.directory / "copy")
        given = True
    await cut_short(home, given, tool)


CASES = [
    (REMEMBER, "remember", lose),
    (REMEMBER, "remember", take_anothers),
    (WRITE, "write_file", lose),
    (WRITE, "write_file", take_anothers),
    (WRITE, "write_file", put_back),
]


@pytest.mark.parametrize(("text", "name", "befall"), CASES)
@pytest.mark.parametrize("again", [True, False])
async def test_a_call_cut_short_is_asked_about_and_neither_run_again_nor_said_to_be_denied(
    home, text, name, befall: Blow, again
):
    await die_after(home, text, name)
    await befall(home)
    async with home.opened() as orchestrator:
        asked = (await orchestrator.proceed("t1")).pending
        assert home.effects == [name]
        result = await orchestrator.resume("t1", answer=again)
        await check_pairs(orchestrator)

    [action] = asked["action_requests"]
    assert (action["name"], action["attempt"]) == (name, 1)
    assert NO_RECORD in action["description"]
    assert statuses(result) == {name: "executed" if again else "unknown"}
    assert home.effects == [name] * (1 + again)


@pytest.mark.parametrize(("text", "name", "befall"), CASES)
async def test_a_message_after_the_loss_closes_a_call_cut_short_as_unknown(home, text, name, befall):
    await die_after(home, text, name)
    await befall(home)
    async with home.opened() as orchestrator:
        result = await orchestrator.ask("what is 12*7", thread_id="t1")
        await check_pairs(orchestrator)

    receipts = {receipt["tool"]: receipt for receipt in result.receipts}
    assert receipts[name]["status"] == "unknown"
    assert "has no record of it" in receipts[name]["text"]
    assert home.effects == [name, "calculate"]


@pytest.mark.parametrize(("path", "effects"), [("done.txt", 1), ("undone.txt", 2)])
async def test_where_the_world_can_tell_it_is_asked_instead_of_the_lost_ledger(home, path, effects):
    await cut_short(home, f"delete {path}", "delete_file")
    await lose(home)
    async with home.opened() as orchestrator:
        result = await orchestrator.proceed("t1")

    assert statuses(result) == {"delete_file": "executed"}
    assert home.effects == ["delete_file"] * effects


@pytest.mark.parametrize("answer", [True, False])
async def test_a_ledger_lost_at_the_gate_asks_anew_and_says_why(home, answer):
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask(WRITE, thread_id="t1", context=PLAIN)).pending
    await lose(home)
    async with home.opened() as orchestrator:
        anew = (await orchestrator.resume("t1", answer)).pending
        assert home.effects == []
        assert (await orchestrator.pending())[0]["request"] == anew
        result = await orchestrator.resume("t1", answer)
        [row] = await orchestrator.ledger.audit()
        await check_pairs(orchestrator)

    assert "The ledger has no record of this question" in anew["problem"]
    assert "attempt" not in anew["action_requests"][0]
    assert statuses(result) == {"write_file": "executed" if answer else "denied"}
    assert row["decision"] == ("approved" if answer else "rejected")
    assert home.effects == ["write_file"] * answer


@pytest.mark.parametrize("befall", [lose, put_back])
@pytest.mark.parametrize("again", [True, False])
async def test_a_ledger_lost_while_a_doubt_is_asked_about_asks_about_it_anew(home, befall, again):
    await die_after(home, WRITE, "write_file")
    async with home.opened() as orchestrator:
        assert (await orchestrator.proceed("t1")).pending
    await befall(home)
    async with home.opened() as orchestrator:
        anew = (await orchestrator.resume("t1", answer=again)).pending
        assert home.effects == ["write_file"]
        result = await orchestrator.resume("t1", answer=again)

    assert NO_RECORD in anew["action_requests"][0]["description"]
    assert statuses(result) == {"write_file": "executed" if again else "unknown"}
    assert home.effects == ["write_file"] * (1 + again)


async def test_what_an_earlier_turn_did_is_neither_run_nor_asked_about_again(home):
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask(WRITE, thread_id="t1", context=PLAIN)).pending
        await orchestrator.resume("t1", answer=True)
    await lose(home)
    async with home.opened() as orchestrator:
        assert statuses(await orchestrator.proceed("t1")) == {"write_file": "executed"}
        result = await orchestrator.ask(REMEMBER, thread_id="t1")
        await check_pairs(orchestrator)

    assert [(receipt["tool"], receipt["status"]) for receipt in result.receipts] == [("remember", "executed")]
    assert home.effects == ["write_file", "remember"]


async def test_a_run_again_from_before_a_call_that_the_lost_ledger_knew_asks_first(home):
    async with home.opened() as orchestrator:
        await orchestrator.ask(REMEMBER, thread_id="t1")
        config = orchestrator.config("t1")
        history = [state async for state in orchestrator.graph.aget_state_history(config)]
    await lose(home)
    async with home.opened() as orchestrator:
        before = next(state for state in history if state.next == ("execute_tools",))
        again = {**before.config["configurable"], **orchestrator.config("t1")["configurable"]}
        await orchestrator.graph.ainvoke(None, {"configurable": again})
        [action] = (await orchestrator.result("t1")).pending["action_requests"]

    assert NO_RECORD in action["description"]
    assert home.effects == ["remember"]


async def test_a_command_takes_no_database_from_a_program_that_opened_it_twice(tmp_path):
    environ = {"TWOBRAIN_DATA_DIR": str(tmp_path / "data"), "PATH": "/nowhere", "HOME": str(tmp_path)}
    (tmp_path / "twobrain.toml").touch()
    environ["TWOBRAIN_CONFIG"] = str(tmp_path / "twobrain.toml")
    settings = load_settings(environ)

    async def told(*command: str) -> str:
        done = await forked.run_beside(command, environ, tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async with open_orchestrator(settings) as first:
        await first.ask("remember that it rains", thread_id="t1")
        async with open_orchestrator(settings) as second:
            await second.ask("what do you remember", thread_id="t2")
            await told("ask", "what is 1+1")
            await first.ask("remember that it snows", thread_id="t1")
            assert (await told("audit")).count("remember") == 2
            assert "snows" in await told("show", "t1")
            assert "snows" in await told("ask", "what do you remember about snows?")
