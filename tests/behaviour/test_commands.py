"""The same conversation through the terminal command: each step a process, the last one in Python."""

import json
import os
from typing import Any

import pytest

from tests.behaviour.household import LAYOUTS, House
from tests.terminal import forked

MIXED = 'get_time {} & write_file {"path": "notes.txt", "content": "buy milk"}'


async def _run(house: House, *args: str, code: int) -> dict[str, Any]:
    environ = {"PATH": os.defpath, "HOME": str(house.folder), **house.environ}
    done = await forked.run_beside([*args, "--json"], environ, house.folder)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_a_conversation_goes_on_from_process_to_process(settle, layout):
    house: House = settle(layout)
    path = "two-brain" if "writer" in house.wires else "single"
    notes = house.workspace / "notes.txt"
    refused = layout in {"openai", "anthropic+openai"}

    waiting = await _run(house, "ask", MIXED, "--thread", "t", "--path", path, code=3)
    assert [call["tool"] for call in waiting["tool_calls"]] == ["get_time"]
    assert not notes.exists()

    answer = ("reject", "t", "--reason", "we have milk") if refused else ("approve", "t")
    done = await _run(house, *answer, code=0)
    assert [call["status"] for call in done["tool_calls"]] == [
        "executed",
        "denied" if refused else "executed",
    ]
    assert notes.exists() is not refused
    assert ("we have milk" in str(house.planner.heard[-1].raw)) is refused

    async with house.open() as orchestrator:
        after = await orchestrator.ask("And now?", thread_id="t", context=house.context())
    assert after.response == "Answer to: And now?"
    assert "buy milk" in str(house.writer.heard[-1].raw)
    assert house.rejected() == []
