"""Other websites, and names that lead here: they get nothing, on any route, with and without tokens."""

import socket
from collections import Counter, defaultdict
from collections.abc import Mapping

import httpx
import pytest

from tests.server.attacks.routes import CLOSED, OPEN, group, routes
from tests.server.serving import Server
from tests.server.talking import APPROVE, GRAPH

FOREIGN: Mapping[str, tuple[Mapping[str, str], int]] = {
    "origin": ({"Origin": "https://evil.example"}, 403),
    "origin null": ({"Origin": "null"}, 403),
    "origin like Studio's": ({"Origin": "https://smith.langchain.com.evil.example"}, 403),
    "origin like loopback's": ({"Origin": "http://localhost.evil.example:8000"}, 403),
    "origin with a login": ({"Origin": "http://localhost@evil.example"}, 403),
    "host": ({"Host": "evil.example"}, 403),
    "host like loopback's": ({"Host": "127.0.0.1.evil.example:2024"}, 403),
    "host with a login": ({"Host": "evil.example@localhost"}, 403),
    "cross-site": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "text/plain": ({"Content-Type": "text/plain;charset=UTF-8"}, 415),
    "a form": ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
}
WELCOME = {
    "nothing": {},
    "Studio": {"Origin": "https://smith.langchain.com", "Sec-Fetch-Site": "cross-site"},
    "Studio in Europe": {"Origin": "https://eu.smith.langchain.com", "Sec-Fetch-Site": "cross-site"},
    "a page of this machine": {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
    "a page of IPv6": {"Origin": "http://[::1]:3000"},
    "the server's own page": {"Sec-Fetch-Site": "same-origin"},
    "another name of loopback": {"Host": "localhost:1"},
}
NAMED = {"Origin": "https://chat.example.com", "Host": "assistant.example.com"}


async def answers(server: Server, headers: Mapping[str, str]) -> list[tuple[str, str, httpx.Response]]:
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
        return [
            (method, path, await client.request(method, filled, content=b"{}"))
            for method, path, filled in routes(server)
        ]


@pytest.mark.parametrize("kind", FOREIGN)
async def test_whatever_another_website_could_send_is_refused_on_every_route(kind, server):
    headers, status = FOREIGN[kind]
    answered = await answers(server, headers)
    assert len(answered) > 60
    assert [one[:2] for one in answered if one[2].status_code != status] == []
    assert {answer.headers.get("access-control-allow-origin") for *_, answer in answered} == {None}
    assert all(len(answer.json()["detail"]) > 20 for *_, answer in answered)


async def test_every_route_refuses_what_is_foreign_and_whoever_brings_no_token(guarded, tell):
    """The table of the routes: how many of each group refuse what."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    kinds = {name: FOREIGN[name][0] for name in ("origin", "host", "cross-site", "text/plain")}
    for kind, headers in {**kinds, "no token": {"Content-Type": "application/json"}}.items():
        for _, path, answer in await answers(guarded, headers):
            if kind == "no token" and path in OPEN:
                table[group(path)]["open"] += 1
                continue
            refused = {403} if kind != "no token" or path in CLOSED else {401}
            assert answer.status_code in ({415} if kind == "text/plain" else refused), (kind, path)
            table[group(path)][kind] += 1
    columns = [*kinds, "no token", "open"]
    lines = [f"{'routes':16}" + "".join(f"{name:>12}" for name in columns)]
    lines += [f"{name:16}" + "".join(f"{row[c]:12}" for c in columns) for name, row in sorted(table.items())]
    tell("\n".join(lines))
    for kind in kinds:
        assert sum(row[kind] for row in table.values()) > 60


async def test_another_website_neither_reads_a_thread_nor_approves_its_call(talk, server, workspace):
    asked = await talk.say('write "x" to approved-by-a-website.txt')
    assert asked["pending"]
    body = {"assistant_id": GRAPH, "command": {"resume": APPROVE}}
    async with httpx.AsyncClient(base_url=server.url) as website:
        for headers, _ in FOREIGN.values():
            for path, sent in ((f"/threads/{talk.id}/runs/wait", body), ("/threads/search", {})):
                answer = await website.post(
                    path, json=sent, headers={"Content-Type": "text/plain", **headers}
                )
                assert answer.status_code in {403, 415}
                assert talk.id not in answer.text
    assert not (workspace / "approved-by-a-website.txt").exists()
    assert (await talk.answer(APPROVE))["tool_calls"][0]["status"] == "executed"


@pytest.mark.parametrize("who", WELCOME)
async def test_studio_pages_of_this_machine_the_sdk_and_curl_are_served_without_a_token(who, server):
    headers = WELCOME[who]
    origin = headers.get("Origin")
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
        found = [await client.get("/info"), await client.post("/threads/search", json={})]
    assert [answer.status_code for answer in found] == [200, 200]
    assert {answer.headers.get("access-control-allow-origin") for answer in found} == {origin}
    assert {answer.headers.get("access-control-allow-credentials") for answer in found} == {None}


async def test_a_link_elsewhere_leads_to_the_pages_that_say_nothing_of_anybody_and_no_further(server):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    frame = {**link, "Sec-Fetch-Dest": "iframe"}
    async with httpx.AsyncClient(base_url=server.url) as browser:
        for path in ("/", "/docs", "/ok"):
            assert (await browser.get(path, headers=link)).status_code == 200
            assert (await browser.get(path, headers=frame)).status_code == 403
            assert (await browser.post(path, headers=link)).status_code == 403
        for path in ("/openapi.json", "/info", "/metrics", "/assistants/x/graph", "/docs/../threads/x"):
            assert (await browser.get(path, headers=link)).status_code == 403


async def test_a_body_that_says_nothing_of_its_type_or_what_curl_says_is_read(server):
    """A page's form brings its Origin; `curl -d` says the same type and brings none."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with httpx.AsyncClient(base_url=server.url) as curl:
        for headers in ({}, form):
            answer = await curl.post("/threads/search", content=b"{}", headers=headers)
            assert answer.status_code == 200
        page = {**form, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert (await curl.post("/threads/search", content=b"{}", headers=page)).status_code == 403


async def test_before_a_page_asks_it_is_told_whether_it_may(server):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    asked |= {"Access-Control-Request-Private-Network": "true"}
    async with httpx.AsyncClient(base_url=server.url) as browser:
        studio = await browser.options("/threads", headers={**asked, **WELCOME["Studio"]})
        other = await browser.options("/threads", headers={**asked, "Origin": "https://evil.example"})
    assert studio.status_code == 200
    assert studio.headers["access-control-allow-origin"] == "https://smith.langchain.com"
    assert studio.headers["access-control-allow-private-network"] == "true"
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers


async def test_names_of_the_configuration_are_served_and_still_need_a_token(guarded):
    async with httpx.AsyncClient(base_url=guarded.url, headers=NAMED) as client:
        assert (await client.get("/ok")).headers["access-control-allow-origin"] == NAMED["Origin"]
        assert (await client.post("/threads/search", json={})).status_code == 401
    own = {"Host": "assistant.example.com", "Origin": "https://assistant.example.com"}
    async with httpx.AsyncClient(base_url=guarded.url, headers=own) as client:
        assert (await client.get("/ok")).status_code == 200


async def test_a_websocket_of_another_website_is_not_opened(server):
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    path = "/threads/00000000-0000-0000-0000-000000000000/stream/events"
    async with httpx.AsyncClient(base_url=server.url, headers=upgrade) as client:
        refused = await client.get(path, headers={"Origin": "https://evil.example"})
    assert refused.status_code == 403


def test_what_is_foreign_is_refused_before_its_body_is_read(server):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as line:
        line.sendall(
            b"POST /threads HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
        )
        assert line.recv(1000).startswith(b"HTTP/1.1 403")


async def test_what_the_development_server_leaves_open_to_anybody_is_closed(talk, server):
    await talk.say("what is 12*7")
    async with httpx.AsyncClient(base_url=server.url) as anybody:
        told = [
            await anybody.get(f"/internal/debug/thread/{talk.id}"),
            await anybody.post("/internal/truncate"),
            await anybody.post("/deploy", json={}, headers={"Origin": "https://smith.langchain.com"}),
        ]
    assert [answer.status_code for answer in told] == [403] * 3
    assert (await talk.client.threads.get(talk.id))["thread_id"] == talk.id
