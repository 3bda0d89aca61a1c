"""The terminal at the real `langgraph dev`: consent there, effects counted there."""

import pytest

from tests.server.conftest import TOKENS
from tests.server.page.site import Visitor
from tests.server.serving import Server
from tests.server.talking import opened
from tests.terminal.conftest import Home, Terminal

pytestmark = pytest.mark.slow


async def test_a_call_is_approved_from_the_terminal_and_runs_once_on_the_server(guarded: Server, tmp_path):
    home, given = Home(tmp_path), {"TWOBRAIN_TOKEN": TOKENS["alice"]}
    args = ["chat", "--server", guarded.url, "-t", "terminal"]
    screen = Terminal(home.directory, args, home.env(**given), 80)
    screen.sees("1m>")
    screen.sendline('what is 12*7 and write "milk" to terminal.txt')
    screen.sees("Confirm", "write_file", "in alice's folder", "reject >")
    screen.sendline("approve")
    screen.sees("84", "1m>")
    screen.sendline("/exit")
    screen.ends(0)
    screen.close()
    assert (guarded.workspace / ".people" / "alice" / "terminal.txt").read_text() == "milk"
    async with opened(guarded.ledger) as ledger:
        rows = await ledger.audit(thread="terminal")
    assert [(row["tool"], row["status"], row["user"]) for row in rows] == [
        ("calculate", "executed", "alice"),
        ("write_file", "executed", "alice"),
    ]
    assert [row["decided_by"] for row in rows if row["decision"]] == ["alice"]
    assert "Blocking" not in guarded.log


def test_a_question_left_by_the_terminal_is_answered_on_the_page(guarded: Server, tmp_path):
    home, given = Home(tmp_path), {"TWOBRAIN_TOKEN": TOKENS["bob"]}
    args = ("ask", "--server", guarded.url, "-t", "left", 'write "rye" to left.txt')
    home.run(*args, code=3, **given)
    with Visitor(guarded) as visitor:
        visitor.sign_in(TOKENS["bob"])
        [entry] = [each for each in visitor.get("waiting") if each["id"] == "left"]
        assert visitor.answer(entry).status_code == 202
        assert visitor.hear("left")[-1]["event"] == "done"
    done = home.json("ask", "--server", guarded.url, "-t", "left", "read left.txt", **given)
    assert "rye" in done["response"]
    assert "Blocking" not in guarded.log
