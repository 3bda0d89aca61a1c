"""An undo that is cut short at any write is done once, or asked about."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from base.errors import UndoError, UnknownThreadError
from graphs.session import Orchestrator
from tests.behaviour.crashes.power import PLAIN, Power, PowerCutError
from tests.behaviour.crashes.process import Home
from tools.declaration import Here, Tool, Undo
from tools.files.tools import TOOLS

WRITE = 'write "milk" to a.txt'


def tools(happen: Callable[[str], None]) -> list[Tool]:
    """Return the file tools, which ask nobody and say when they undo."""

    def counted(tool: Tool) -> Tool:
        way = tool.undo
        if way is None:
            return tool

        def run(here: Here, record: dict[str, Any]) -> Any:
            done = way.run(here, record)
            happen("undo")
            return done

        return replace(tool, confirm=False, undo=Undo(way.preview, run, way.verify))

    return [counted(tool) for tool in TOOLS]


async def written(home: Home, thread: str = "t1") -> str:
    home.tools = tools
    async with home.opened() as orchestrator:
        result = await orchestrator.ask(f"{WRITE} then read a.txt", thread_id=thread, context=PLAIN)
    return str(result.tool_calls[0]["call_id"])


async def cut(home: Home, call: str, writes: int, *, life: int, dies: bool = False) -> bool:
    """Undo with power for so many writes; `dies`: until the effect. Return whether it was enough."""
    power = Power(writes)

    def happen(name: str) -> None:
        if power.is_cut:
            raise PowerCutError
        home.happen(name)
        if dies:
            power.left = -1

    ledger = await power.ledger(home.settings(), life)
    async with home.opened(happen, ledger, power.draw) as orchestrator:
        try:
            await orchestrator.undo(call, True)
        except PowerCutError:
            return False
    return not power.is_cut


async def agreed(orchestrator: Orchestrator, call: str) -> str:
    """Undo, saying yes to whatever is asked; return how it ended."""
    try:
        result = await orchestrator.undo(call)
        if result.pending:
            result = await orchestrator.undo(call, answer=True)
    except UndoError as refusal:
        return str(refusal)
    return str(result.receipts[0]["status"])


@pytest.mark.slow
async def test_an_undo_is_done_once_wherever_its_power_is_cut(home):
    call, file = await written(home), home.data / "workspace" / "a.txt"
    for writes in count():
        (home.directory / "effects").unlink(missing_ok=True)
        whole = await cut(home, call, writes, life=writes)
        async with home.opened() as orchestrator:
            ended = await agreed(orchestrator, call)
        assert ended == "executed" or (whole and "undone already" in ended), (writes, ended)
        assert not file.exists()
        assert home.effects == ["undo"], writes
        if whole:
            break
        async with home.opened() as orchestrator:  # the next round undoes another write of the same
            result = await orchestrator.ask(
                f"{WRITE} then read a.txt", thread_id=f"t{writes + 2}", context=PLAIN
            )
        call = str(result.tool_calls[0]["call_id"])
    assert writes > 3


async def test_an_undo_cut_short_is_not_done_again_for_a_world_that_looks_undone(home):
    call, file = await written(home), home.data / "workspace" / "a.txt"
    assert not await cut(home, call, 99, life=1, dies=True)
    assert not file.exists()
    file.write_text("milk")  # by somebody else, after the effect
    async with home.opened() as orchestrator:
        asked = await orchestrator.undo(call)
        assert "nobody knows whether it happened" in asked.pending["message"]
        counted = await orchestrator.undo(call, answer=False)
        assert counted.receipts[0]["status"] == "unknown"
        with pytest.raises(UndoError, match="may have been undone already"):
            await orchestrator.undo(call, True)
    assert file.read_text() == "milk"
    assert home.effects == ["undo"]


async def recovered(orchestrator: Orchestrator, thread: str) -> str | None:
    """Go on with what was cut short, saying yes to all; return its call's id where that was executed."""
    try:
        result = await orchestrator.proceed(thread)
    except UnknownThreadError:  # nothing of it was stored yet
        return None
    if result.pending:
        result = await orchestrator.resume(thread, answer=True)
    calls = [call["call_id"] for call in result.tool_calls if call["status"] == "executed"]
    return calls[0] if calls else None


@pytest.mark.slow
async def test_a_write_cut_short_anywhere_is_undone_to_what_was_there(home):
    home.tools = tools
    file, undone = home.data / "workspace" / "a.txt", 0
    file.parent.mkdir(parents=True)
    for writes in count():
        file.write_text("before")
        power = Power(writes)
        ledger = await power.ledger(home.settings(), writes)
        async with home.opened(None, ledger, power.draw) as orchestrator:
            with suppress(PowerCutError):
                await orchestrator.ask(WRITE, thread_id=f"t{writes}", context=PLAIN)
        async with home.opened() as orchestrator:
            if call := await recovered(orchestrator, f"t{writes}"):
                assert file.read_text() == "milk"
                ended = await agreed(orchestrator, call)
                assert ended == "executed" or "changed nothing" in ended, (writes, ended)
                assert file.read_text() == ("before" if ended == "executed" else "milk")
                undone += ended == "executed"
        if not power.is_cut:
            break
    assert undone > 3
