"""What was done, what it took, what was agreed to and remembered: each user's own, or an admin's view."""

import asyncio
import csv
import io

import pytest

from nodes.context import Context
from tests.server.page.site import Site, Visitor, place_of


def _ruled(visitor: Visitor, file: str) -> dict:
    """Have a rule made by an approval; return it."""
    thread, entry = visitor.wait_for(f'write "x" to {file}')
    assert visitor.answer(entry, remember={"where": {"path": file}, "uses": 3}).status_code == 202
    visitor.hear(thread)
    [rule] = [each for each in visitor.get("rules") if each["where"] == {"path": file}]
    return rule


def test_the_audit_is_ones_own_and_an_admin_sees_everybodys(bob: Visitor, kid: Visitor, alice: Visitor):
    mine, _ = bob.ask("what is 7*8")
    his, _ = kid.ask("what is 8*9")
    assert {row["user"] for row in bob.get("audit")} == {"bob"}
    assert bob.get("audit", user="kid") == bob.get("audit", user="bob")
    assert bob.get("audit", thread=his) == []
    assert {mine, his} <= {row["thread"] for row in alice.get("audit", limit=500)}
    assert {row["user"] for row in alice.get("audit", user="kid")} == {"kid"}


def test_the_audit_is_filtered_searched_and_paged_newest_first(bob: Visitor):
    thread, _ = bob.ask("what is 31*41 and what time is it in Tokyo and what is 2+2")
    rows = bob.get("audit", thread=thread)
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert {row["tool"] for row in rows} == {"calculate", "get_time"}
    assert [row["tool"] for row in bob.get("audit", thread=thread, tool="get_time")] == ["get_time"]
    assert [row["args"] for row in bob.get("audit", thread=thread, q="31*41")] == [{"expression": "31*41"}]
    assert len(bob.get("audit", thread=thread, q="CALCULATE")) == 2
    for wild in ("%", "_", "\\", "nowhere"):
        assert bob.get("audit", thread=thread, q=wild) == [
            row for row in rows if wild in row["tool"] or wild in str(row["args"])
        ]
    assert bob.get("audit", thread=thread, status="failed") == []
    paged, before = [], 2**62
    for _ in rows:
        [row] = bob.get("audit", thread=thread, limit=1, before=before)
        paged, before = [*paged, row], row["id"]
    assert paged == rows
    for wrong in ({"limit": 0}, {"limit": 501}, {"before": "x"}, {"before": 2**63}, {"other": 1}):
        assert bob.call("GET", "audit", params=wrong).status_code == 422


@pytest.mark.parametrize("formula", ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\tx"])
async def test_a_spreadsheet_computes_nothing_of_the_audit(formula, bob: Visitor, site: Site):
    async with site.beside() as terminal:
        await terminal.ask("what is 6*7", thread_id=formula, context=Context(user="bob"))
    answer = await asyncio.to_thread(bob.call, "GET", "audit.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="twobrain-audit.csv"'
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0][:3] == ["started_at", "thread", "call_id"]
    assert f"'{formula}" in {row[1] for row in rows}
    assert answer.text.startswith('"started_at","thread",'), "nor where ; parts the cells"
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t"))]


@pytest.mark.parametrize("by", ["day", "user", "model", "role"])
def test_usage_is_summed_of_ones_own_and_for_an_admin_of_all(by, bob: Visitor, alice: Visitor):
    bob.ask("what is 1+1")
    alice.ask("what is 1+1")
    mine, all_of_them = bob.get("usage", by=by), alice.get("usage", by=by)
    calls = [sum(row["model_calls"] for row in rows) for rows in (mine, all_of_them)]
    assert 0 < calls[0] < calls[1]
    assert {"input_tokens", "output_tokens", "cost_usd", "unpriced_calls"} <= mine[0].keys()
    if by == "role":
        assert {row["role"] for row in mine} >= {"orchestrator", "chat"}
    if by == "user":
        assert [row["user"] for row in mine] == ["bob"]
    assert bob.get("me")["used_today"]["tokens"] > 0
    for wrong in ({"by": "turn"}, {"by": "thread"}, {"days": 0}, {"days": "x"}):
        assert bob.call("GET", "usage", params=wrong).status_code == 422


def test_a_rule_is_listed_used_and_revoked_by_its_user_alone(bob: Visitor, kid: Visitor, site: Site):
    rule = _ruled(bob, "ruled.txt")
    assert (rule["holds"], rule["uses_left"], rule["user"], rule["tool"]) == (True, 3, "bob", "write_file")
    assert rule["id"] not in {each["id"] for each in kid.get("rules")}
    assert kid.call("DELETE", f"rules/{rule['id']}").status_code == 404
    _, last = bob.ask('write "unasked" to ruled.txt')
    assert last["result"]["pending"] is None
    assert (site.workspace / ".people" / "bob" / "ruled.txt").read_text() == "unasked"
    assert bob.call("DELETE", f"rules/{rule['id']}").status_code == 204
    assert bob.call("DELETE", f"rules/{rule['id']}").status_code == 404
    _, last = bob.ask('write "asked" to ruled.txt')
    assert last["result"]["pending"]


def test_an_admin_sees_and_revokes_everybodys_rules(bob: Visitor, alice: Visitor):
    rule = _ruled(bob, "admins.txt")
    assert rule in alice.get("rules")
    assert alice.call("DELETE", f"rules/{rule['id']}").status_code == 204


def test_memories_are_listed_rewritten_and_forgotten_by_their_user_alone(bob: Visitor, kid: Visitor):
    bob.ask("remember that the bin goes out on Monday")
    [memory] = bob.get("memories")
    assert (memory["text"], memory["untrusted"]) == ("the bin goes out on Monday", False)
    assert (memory["by"], memory["title"]) == ("assistant", "remember that the bin goes out on Monday")
    assert kid.get("memories") == []
    place = f"memories/{memory['id']}"
    assert kid.call("PATCH", place, json={"text": "mine"}).status_code == 404
    assert kid.call("DELETE", place).status_code == 404
    for text in ("", " ", "x" * 4_001):
        assert bob.call("PATCH", place, json={"text": text}).status_code == 422
    changed = bob.call("PATCH", place, json={"text": "the bin goes out on Tuesday"}).json()
    [memory] = bob.get("memories")
    assert (memory["text"], memory["by"]) == ("the bin goes out on Tuesday", "person")
    assert changed["untrusted"] is memory["untrusted"] is False
    _, last = bob.ask("what do you remember about the bin")
    assert "Tuesday" in str(last["result"]["tool_calls"])
    assert bob.call("DELETE", place).status_code == 404
    assert bob.call("DELETE", f"memories/{changed['id']}").status_code == 204
    assert bob.get("memories") == []


def test_without_mcp_servers_there_are_no_pins(bob: Visitor):
    assert bob.get("pins") == []
    assert bob.call("DELETE", "pins/notes/add").status_code == 404


def test_an_edit_of_a_call_stands_in_the_audit_as_it_ran(bob: Visitor):
    thread, entry = bob.wait_for('write "one" to edited.txt')
    edited = {"name": "write_file", "args": {"path": "edited.txt", "content": "two"}}
    assert bob.answer(entry, "edit", edited_action=edited).status_code == 202
    bob.hear(thread)
    [row] = bob.get("audit", thread=thread)
    assert (row["decision"], row["decided_by"], row["args"]["content"]) == ("edited", "bob", "two")
    assert bob.get(place_of(thread))["result"]["receipts"][0]["status"] == "executed"
