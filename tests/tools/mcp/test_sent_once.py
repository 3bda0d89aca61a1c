"""One consent is one call: what a server may have done already is not sent again, and that is said."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from base.settings import load_settings
from tools.clock import get_time
from tools.declaration import Here
from tools.mcp.servers import Servers
from tools.registry import Registry
from tools.run import Ran, run_tool

TERMINATED = {"error": {"code": 32600, "message": "Session terminated"}}
CLOSED = {"error": {"code": -32000, "message": "Connection closed"}}
PAID = {"result": {"content": [{"type": "text", "text": "paid"}], "isError": False}}


class Bank(ThreadingHTTPServer):
    """A web server that knows one tool, writes down each payment, and answers as it is told to."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Teller)
        self.log = folder / "payments"
        self.answers: list[dict[str, Any] | int] = []
        """To each payment: JSON-RPC, or a status; PAID once there is none left."""
        self.ends_at_ping = False
        """Whether it has forgotten its session; once."""
        self.refusals: dict[str, list[tuple[int, str]]] = {}
        """By a request's method: statuses and bodies of those that it refuses, and does nothing."""
        self.opened = 0
        """How many sessions there were."""

    def paid(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


class Teller(BaseHTTPRequestHandler):
    server: Bank

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.opened += asked["method"] == "initialize"
        if refusals := self.server.refusals.get(asked["method"]):
            self.status, body = refusals.pop(0)
            body = body.replace('"ID"', json.dumps(asked.get("id")))
        else:
            answer = self.answer_to(asked)
            body = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), **answer}) if answer else ""
        self.send_response(self.status)
        self.send_header("content-type", "application/json" if body.startswith("{") else "text/plain")
        self.send_header("content-length", str(len(body)))
        self.send_header("mcp-session-id", "s1")
        self.end_headers()
        self.wfile.write(body.encode())

    def answer_to(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        self.status = 200
        match asked["method"]:
            case "initialize":
                version = asked["params"]["protocolVersion"]
                named = {"name": "bank", "version": "1"}
                return {"result": {"protocolVersion": version, "capabilities": {}, "serverInfo": named}}
            case "tools/list":
                return {"result": {"tools": [{"name": "pay", "inputSchema": {"type": "object"}}]}}
            case "ping" if self.server.ends_at_ping:
                self.server.ends_at_ping, self.status = False, 404
                return None
            case "tools/call":
                with self.server.log.open("a") as log:
                    log.write("paid\n")
                answer = self.server.answers.pop(0) if self.server.answers else PAID
                if isinstance(answer, dict):
                    return answer
                self.status = answer
                return None
        self.status = 200 if "id" in asked else 202
        return {"result": {}} if "id" in asked else None

    def do_GET(self) -> None:
        self.send_error(405)

    def do_DELETE(self) -> None:
        self.send_error(405)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    with serving(Bank(tmp_path)) as server:
        yield server


@contextmanager
def serving(server: Bank) -> Iterator[Bank]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def pay(bank: Bank, tmp_path: Path, effect: str = "send", times: int = 1) -> list[Ran]:
    config = tmp_path / "twobrain.toml"
    url = f"http://127.0.0.1:{bank.server_port}/mcp"
    config.write_text(f'[mcp.servers.bank]\nurl = "{url}"\neffect = "{effect}"\nconnect_timeout_s = 60\n')
    settings = load_settings({"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(tmp_path / "data")})
    servers = Servers(settings)
    try:
        tool = (await servers.join(Registry([get_time]), "local")).get("bank_pay")
        assert tool
        here = Here(settings, "ada", "user", "t", "c", "k")
        return [await run_tool(tool, here, {}) for _ in range(times)]
    finally:
        await servers.close()


async def test_an_answer_of_more_values_than_any_is_left_unread_and_said_to_be_unknown(bank, tmp_path):
    few, many = ({"structuredContent": {"rows": [[]] * number}} for number in (18_000, 50_000))
    bank.answers = [{"result": {"content": [], **rows}} for rows in (few, many)]
    read, left, after = await pay(bank, tmp_path, times=3)
    assert (read.status, left.status, after.status) == ("executed", "unknown", "executed")
    assert bank.paid() == 3


@pytest.mark.parametrize("answer", [404, 500, 502, TERMINATED, CLOSED], ids=str)
async def test_what_a_server_may_have_done_is_not_sent_again_and_is_said_to_be_unknown(
    bank, tmp_path, answer
):
    bank.answers = [answer]
    first, second = await pay(bank, tmp_path, times=2)
    assert bank.paid() == 2
    assert first.status == "unknown"
    assert first.text.startswith("Outcome unknown: the MCP server 'bank' broke off during the call.")
    assert (second.status, second.text) == ("executed", "paid"), "the session is opened anew"


@pytest.mark.parametrize("answer", [404, TERMINATED], ids=str)
async def test_a_read_is_sent_again_in_a_session_of_its_own(bank, tmp_path, answer):
    bank.answers = [answer]
    [only] = await pay(bank, tmp_path, effect="read")
    assert (only.status, only.text) == ("executed", "paid")
    assert bank.paid() == 2


async def test_a_session_that_ended_meanwhile_is_noticed_before_the_call_is_sent(bank, tmp_path):
    bank.ends_at_ping = True
    [only] = await pay(bank, tmp_path)
    assert (only.status, only.text) == ("executed", "paid")
    assert bank.paid() == 1


async def test_a_servers_own_refusal_is_a_failure(bank, tmp_path):
    bank.answers = [{"error": {"code": -32602, "message": "no such account"}}]
    [only] = await pay(bank, tmp_path)
    assert (only.status, only.text) == ("failed", "Tool error: The MCP server 'bank' says: no such account")


def rpc(code: int, message: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": None})


GONE = {
    "typescript example": (400, rpc(-32000, "Bad Request: No valid session ID provided")),
    "typescript transport": (400, rpc(-32000, "Bad Request: Server not initialized")),
    "typescript sdk": (404, rpc(-32001, "Session not found")),
    "python sdk": (404, rpc(-32600, "Not Found: Invalid or expired session ID")),
    "rust sdk": (401, "Unauthorized: Session not found"),
    "elixir": (400, '{"error": "No active session"}'),
    "java sdk": (400, '{"message": "Session ID required in mcp-session-id header"}'),
    "a worker that was put out": (410, "Gone"),
    "affine": (400, rpc(-32000, "Bad Request: No valid session ID or not an initialize request")),
}


@pytest.mark.parametrize("method", ["ping", "tools/call"])
@pytest.mark.parametrize("maker", GONE)
async def test_a_call_to_a_session_that_is_gone_is_made_in_a_new_one(bank, tmp_path, maker, method):
    bank.refusals = {method: [GONE[maker]]}
    [only] = await pay(bank, tmp_path)
    assert (only.status, only.text) == ("executed", "paid")
    assert (bank.paid(), bank.opened) == (1, 2)


async def test_a_server_that_knows_no_session_is_not_asked_for_ever_and_nothing_is_in_doubt(bank, tmp_path):
    bank.refusals = {"tools/call": [GONE["typescript example"]] * 9}
    [only] = await pay(bank, tmp_path)
    assert only.status == "failed"
    assert "cannot be used now: it ends every session at once" in only.text
    assert bank.paid() == 0


REFUSALS = {
    "account: field required": (400, rpc(-32602, "account: field required")),
    "Forbidden by policy": (403, "Forbidden by policy"),
    "no such tool": (404, rpc(-32601, "no such tool")),
    "amount must be positive": (422, '{"detail": "amount must be positive"}'),
    "rate_limited": (429, '{"error": "rate_limited"}'),
    "HTTP 413": (413, ""),
}


@pytest.mark.parametrize("words", REFUSALS)
@pytest.mark.parametrize("effect", ["send", "read"])
async def test_a_refusal_over_http_is_told_in_its_words_and_costs_no_session(bank, tmp_path, effect, words):
    bank.refusals = {"tools/call": [REFUSALS[words]]}
    refused, paid = await pay(bank, tmp_path, effect, times=2)
    assert refused.status == "failed"
    assert refused.text.startswith("Tool error: The MCP server 'bank' says: HTTP 4")
    assert words in refused.text
    assert "taken effect" not in refused.text
    assert (paid.status, bank.paid(), bank.opened) == ("executed", 1, 1)


async def test_a_server_that_lets_nobody_in_is_told_in_its_words(bank, tmp_path):
    bank.refusals = {"initialize": [(401, '{"error": "invalid_token"}')]}
    config = tmp_path / "twobrain.toml"
    config.write_text(f'[mcp.servers.bank]\nurl = "http://127.0.0.1:{bank.server_port}/mcp"\n')
    settings = load_settings({"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(tmp_path / "data")})
    servers = Servers(settings)
    try:
        absent = (await servers.join(Registry([get_time]), "local")).get("mcp:bank")
        assert absent
        assert absent.missing(settings) == "it cannot be used: HTTP 401 invalid_token"
    finally:
        await servers.close()
