"""At most so many calls at work at once, counted by the calls themselves in a file."""

import json
import sqlite3
import threading
from contextlib import closing

import pytest

from tools.declaration import tool
from tools.registry import Registry, open_registry


def visiting(folder, *, at_once=None):
    """Return a tool that notes when it comes and goes; each visit waits for another, and the third fails."""
    meeting, one_line = threading.Barrier(2, timeout=60), threading.Lock()

    def note(word):
        with one_line, (folder / "visits.log").open("a") as log:
            log.write(f"{word}\n")

    @tool(effect="write", confirm=False, at_once=at_once)
    def visit(number: int) -> str:
        """Visit."""
        note("in")
        try:
            meeting.wait()
            with closing(sqlite3.connect(folder / "data" / "ledger.db", timeout=20)) as ledger:
                claimed = ledger.execute("SELECT count(*) FROM calls WHERE status = 'running'").fetchone()[0]
            if number == 3:
                raise RuntimeError("tripped")
            return f"{claimed} claimed"
        finally:
            note("out")

    return visit


@pytest.mark.parametrize(("at_once", "more"), [(2, ""), (None, "[limits]\ntools_at_once = 2\n")])
async def test_no_more_calls_are_at_work_or_claimed_at_once_than_allowed_and_a_crash_harms_none(
    settle, monkeypatch, tmp_path, at_once, more
):
    visit = visiting(tmp_path, at_once=at_once)
    monkeypatch.setattr(
        "nodes.resources.open_registry", lambda settings: Registry([*open_registry(settings), visit])
    )
    house = settle("openai", more)
    request = " & ".join(f"visit {json.dumps({'number': number})}" for number in range(8))
    async with house.open() as orchestrator:
        result = await orchestrator.ask(request, context=house.context())
    told = {call["args"]["number"]: call["result"] for call in result.tool_calls}
    assert told.pop(3) == "Tool error: RuntimeError: tripped"
    assert len(told) == 7
    assert set(told.values()) <= {"1 claimed", "2 claimed"}, "one that waits for its place is not claimed"
    inside, most = 0, 0
    for word in (tmp_path / "visits.log").read_text().split():
        inside += 1 if word == "in" else -1
        most = max(most, inside)
    assert most == 2
