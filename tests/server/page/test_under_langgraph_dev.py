"""The page under the real `langgraph dev`, beside the server's own routes."""

import asyncio
import time
from pathlib import Path

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.server.conftest import BEARERS, GUARDED, TOKENS
from tests.server.page.site import Visitor, place_of
from tests.server.serving import Server
from tests.server.talking import APPROVE, Talk, outcomes

pytestmark = pytest.mark.slow


async def test_what_the_page_and_the_server_are_told_is_one_list(guarded: Server):
    async with get_client(url=guarded.url, headers=BEARERS["alice"]) as alice:
        await _one_list(guarded, alice)


async def _one_list(guarded: Server, alice: LangGraphClient) -> None:
    with Visitor(guarded) as visitor:
        assert visitor.call("GET", "me").status_code == 401
        assert visitor.sign_in(TOKENS["alice"]).status_code == 204
        thread, entry = await asyncio.to_thread(visitor.wait_for, 'write "from the page" to page.txt')
        found = await alice.threads.search(status="interrupted", limit=1_000)
        assert thread in {each["thread_id"] for each in found}
        assert visitor.answer(entry).status_code == 202
        assert visitor.hear(thread)[-1]["event"] == "done"
        assert (guarded.workspace / ".people" / "alice" / "page.txt").read_text() == "from the page"
        made = (await alice.threads.create())["thread_id"]
        assert (await Talk(alice, made).say('write "from a client" to page.txt'))["pending"]
        [entry] = [each for each in visitor.get("waiting") if each["id"] == made]
        assert outcomes(await Talk(alice, made).answer(APPROVE)) == [("write_file", "executed")]
        assert visitor.answer(entry).status_code == 409
        assert visitor.get(place_of(made))["status"] == "answered"
        assert visitor.call("DELETE", place_of(thread)).status_code == 204
    assert thread not in {each["thread_id"] for each in await alice.threads.search(limit=1_000)}
    assert "Blocking" not in guarded.log


def test_the_cookie_opens_no_route_of_the_server(guarded: Server):
    with Visitor(guarded) as visitor:
        visitor.sign_in(TOKENS["bob"])
        sent = {"Cookie": f"twobrain={visitor.http.cookies['twobrain']}"}
        for method, path in (("POST", "/threads/search"), ("GET", "/metrics"), ("POST", "/runs/wait")):
            assert visitor.http.request(method, path, json={}, headers=sent).status_code == 401


def test_a_server_with_pages_open_ends_at_once_and_its_turn_can_be_gone_on_with(tmp_path: Path):
    config = GUARDED.replace("[users.alice]", '[users.alice]\nconfirm_allow = ["run_command"]')
    with Server(tmp_path, config + "[tools.run_command]\nenabled = true\n", {}) as server:
        with Visitor(server) as visitor:
            visitor.sign_in(TOKENS["alice"])
            thread = visitor.begin('use run_command {"command": "echo once >> ended.txt; sleep 600"}')
            with visitor.stream("events"), visitor.listening(thread) as events:
                assert any(event["event"] == "tool_started" for _, event in events)
                began = time.monotonic()
                server.stop()
                assert time.monotonic() - began < 20
            server.start()
            with Visitor(server, Cookie=f"twobrain={visitor.http.cookies['twobrain']}") as again:
                assert again.get(place_of(thread))["status"] == "interrupted"
                assert again.call("POST", f"{place_of(thread)}/proceed").status_code == 202
                assert again.hear(thread)[-1]["result"]["pending"]["action_requests"][0]["attempt"] == 1
        assert (server.workspace / ".people" / "alice" / "ended.txt").read_text() == "once\n"
        assert "Blocking" not in server.log
