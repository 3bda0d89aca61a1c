"""Answers and lists that are not as the protocol has them are read where they can be, and told at once."""

import json
import queue
from typing import Any

import pytest

from tests.tools.mcp.household import WORDS, Household, definition
from tests.tools.mcp.test_sent_once import PAID, Bank, Teller, pay, serving

READ: dict[str, Any] = {
    "its number as a text": {"jsonrpc": "2.0", "id": "ID", **PAID},
    "no version": {"id": "ID", **PAID},
    "a list of one": [{"jsonrpc": "2.0", "id": "ID", **PAID}],
    "a list with a note": [
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}},
        {"jsonrpc": "2.0", "id": "ID", **PAID},
    ],
    "an error that is none": {"jsonrpc": "2.0", "id": "ID", "error": None, **PAID},
    "a bare text": {"jsonrpc": "2.0", "id": "ID", "result": "paid"},
}
"""A form of an answer that tells what the call gave."""
FAILED: dict[str, Any] = {
    "an error of no request": {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32603, "message": "no funds"},
    },
    "an error without a number": {"jsonrpc": "2.0", "error": {"code": -32603, "message": "no funds"}},
    "an error in a word": {"jsonrpc": "2.0", "id": "ID", "error": "no funds"},
    "an error alone": {"error": "no funds"},
    "an error with a named code": {
        "jsonrpc": "2.0",
        "id": "ID",
        "error": {"code": "E1", "message": "no funds"},
    },
}
"""A form of an error."""
NO_FUNDS = "Tool error: The MCP server 'bank' says: no funds"
LOST = {
    "a page": "<!doctype html><html><title>Sign in</title></html>",
    "nothing": "",
    "words": "Traceback (most recent call last):",
    "an answer to another": json.dumps({"jsonrpc": "2.0", "id": 999, **PAID}),
    "a list of numbers": "[1]",
}
"""A 200 that answers nothing."""


@pytest.fixture
def household(tmp_path) -> Household:
    return Household(tmp_path)


@pytest.mark.parametrize("form", [*READ, *FAILED])
async def test_an_answer_in_another_form_is_read_over_http(tmp_path, form):
    with serving(Bank(tmp_path)) as bank:
        bank.refusals = {"tools/call": [(200, json.dumps({**READ, **FAILED}[form]))]}
        only, again = await pay(bank, tmp_path, times=2)
        told = (
            ("executed", "paid")
            if form in READ
            else ("failed", "Tool error: The MCP server 'bank' says: no funds")
        )
        assert (only.status, only.text) == told
        assert (again.text, bank.opened) == ("paid", 1), "the session holds"


async def test_an_answer_in_another_form_is_read_over_pipes(household):
    home = household.add("bank", definition("pay"), effect="send")
    async with household.open() as opened:
        for form, answer in {**READ, **FAILED}.items():
            (home / "odd").write_text(json.dumps(answer))
            ran = await opened.call("bank_pay")
            told = ("executed", "paid") if form in READ else ("failed", NO_FUNDS)
            assert (form, ran.status, ran.text) == (form, *told)
        assert len((home / "pids").read_text().splitlines()) == 1, "the session holds"


@pytest.mark.parametrize("form", LOST)
async def test_what_answers_nothing_is_told_at_once(tmp_path, form):
    with serving(Bank(tmp_path)) as bank:
        bank.refusals = {"tools/call": [(200, LOST[form])]}
        first, second = await pay(bank, tmp_path, times=2)
    assert (first.status, second.status) == ("unknown", "executed")
    assert "broke off during the call" in first.text


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, LOST["a page"], "it answers with what is no message of MCP: Sign in"),
        (200, '{"id": "ID", "result": [1]}', "its answer is not as the protocol has it"),
        (502, "<html><title>502 Bad Gateway</title></html>", "HTTP 502 502 Bad Gateway"),
        (
            500,
            '{"jsonrpc": "2.0", "id": null, "error": {"code": -32603, "message": "no key"}}',
            "HTTP 500 no key",
        ),
    ],
)
async def test_a_server_that_cannot_be_opened_says_so_at_once_and_in_its_words(household, status, body, why):
    with serving(Bank(household.folder)) as bank:
        bank.refusals = {"initialize": [(status, body)]}
        household.add("bank", url=f"http://127.0.0.1:{bank.server_port}/mcp")
        async with household.open() as opened:
            assert await opened.missing("mcp:bank") == f"it cannot be used: {why}"


async def test_a_server_whose_list_cannot_be_read_costs_its_own_tools(household):
    with serving(Bank(household.folder)) as bank:
        bank.refusals = {"tools/list": [(200, '{"id": "ID", "result": {"tools": "none"}}')]}
        household.add("bank", url=f"http://127.0.0.1:{bank.server_port}/mcp")
        household.add("good", definition("add"))
        async with household.open() as opened:
            assert set(await opened.tools()) == {"mcp:bank", "good_add"}
            why = "it cannot be used: its list of tools is not as the protocol has it"
            assert await opened.missing("mcp:bank") == why


class LateTeller(Teller):
    """Accepts a call, and answers it over the session's own stream."""

    server: "LateBank"

    def do_GET(self) -> None:  # noqa: N802 (its name in http.server)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b": here\n\n")
        while (answer := self.server.late.get()) is not None:
            self.wfile.write(f"event: message\ndata: {json.dumps(answer)}\n\n".encode())

    def answer_to(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        answer = super().answer_to(asked)
        if asked["method"] != "tools/call":
            return answer
        self.status = 202
        self.server.late.put({"jsonrpc": "2.0", "id": asked["id"], **PAID})
        return None


class LateBank(Bank):
    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        self.RequestHandlerClass = LateTeller
        self.late: queue.Queue[Any] = queue.Queue()


async def test_a_call_that_is_accepted_is_answered_late(tmp_path):
    with serving(LateBank(tmp_path)) as bank:
        [only] = await pay(bank, tmp_path)
        bank.late.put(None)
    assert (only.status, only.text, bank.paid()) == ("executed", "paid", 1)


async def test_a_tool_that_is_not_as_the_protocol_has_it_costs_no_other(household):
    household.add(
        "bank",
        {"name": "bare"},
        {"name": "void", "inputSchema": None},
        {"name": "spoilt", "inputSchema": WORDS, "outputSchema": "text", "icons": 5, "title": 7},
        {"name": "listed", "inputSchema": []},
        {"name": "hinted", "inputSchema": WORDS, "annotations": "readOnly"},
        {"description": "nameless", "inputSchema": WORDS},
        definition("pay"),
    )
    async with household.open() as opened:
        tools = await opened.tools()
        offered = {name for name, tool in tools.items() if tool.missing(opened.settings) is None}
        assert offered == {"bank_bare", "bank_void", "bank_spoilt", "bank_pay"}
        assert (await opened.call("bank_bare")).status == "executed"
        why = await opened.missing("mcp:bank")
    left_out = "is left out: its definition is not as the protocol has it"
    assert why == "; ".join(f"{name!r} {left_out}" for name in ("listed", "hinted", "a tool without a name"))
