"""Who is let in to the page, and for how long."""

import hashlib
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from ledger.ledger import Ledger
from server.page.sessions import SignIns
from server.page.sign_in import COOKIE
from tests.server.page.conftest import PEOPLE, TOKENS
from tests.server.page.site import Site, Visitor, place_of

ROUTES = [
    *[("GET", path) for path in ("me", "conversations", "waiting", "events", "audit", "audit.csv")],
    *[("GET", path) for path in ("usage", "rules", "pins", "memories", "planned", "conversations/x")],
    *[("GET", "conversations/x/events"), ("DELETE", "session"), ("DELETE", "sessions")],
    *[("POST", f"conversations/x/{act}") for act in ("turns", "answer", "stop", "proceed")],
    *[("POST", "conversations"), ("PATCH", "conversations/x"), ("DELETE", "conversations/x")],
    *[("DELETE", path) for path in ("rules/x", "pins/x/y", "memories/x", "planned/x")],
    *[("PATCH", path) for path in ("memories/x", "planned/x")],
    *[("GET", "notices"), ("POST", "notices/dismissed")],
]
FORGED = {
    "nothing": {},
    "a wrong secret": {"Cookie": f"{COOKIE}=forged"},
    "a token as the cookie": {"Cookie": f"{COOKIE}={TOKENS['alice']}"},
    "a digest as the cookie": {"Cookie": f"{COOKIE}={hashlib.sha256(TOKENS['alice'].encode()).hexdigest()}"},
    "a user as the cookie": {"Cookie": f"{COOKIE}=alice"},
    "an empty cookie": {"Cookie": f"{COOKIE}="},
    "bytes as the cookie": {"Cookie": f"{COOKIE}=\xff\xfe"},
    "a wrong token": {"Authorization": "Bearer nobodys"},
    "two tokens": {"Authorization": f"Bearer {TOKENS['bob']}", "X-Api-Key": TOKENS["alice"]},
}
LOST = pytest.mark.parametrize("way", ["here", "everywhere", "revoked", "changed", "expired"])


@pytest.mark.parametrize("who", FORGED)
def test_every_route_refuses_whoever_is_not_signed_in(who, site: Site):
    headers = {name: value.encode("latin-1") for name, value in FORGED[who].items()}
    with httpx.Client(base_url=f"{site.url}/app/api", headers=headers) as stranger:
        answers = [stranger.request(method, f"/{path}", json={}) for method, path in ROUTES]
    assert {answer.status_code for answer in answers} == {401}
    assert all(len(answer.json()["detail"]) > 20 for answer in answers)


def test_all_routes_there_are_are_tried_above(site: Site):
    from server.page import agreements, consent, notifications, reports, sign_in
    from server.page import site as pages

    modules = (sign_in, pages, reports, agreements, consent, notifications)
    known = {
        (method, route.path) for each in modules for route in each.router.routes for method in route.methods
    }
    assert len(known) == len(ROUTES) + 1  # and to sign in


def test_a_cookie_is_for_the_page_alone_and_no_script_reads_it(site: Site):
    with Visitor(site) as visitor:
        answer = visitor.sign_in(TOKENS["bob"])
        assert answer.status_code == 204
        parts = {part.strip() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert {"HttpOnly", "Path=/app", "SameSite=strict"} <= parts
        assert not any("Secure" in part for part in parts)
        me = visitor.get("me")
        assert (me["user"], me["role"], me["guarded"], me["signed_in"]) == ("bob", "user", True, True)
        assert TOKENS["bob"] not in answer.headers["set-cookie"]
    with closing(sqlite3.connect(site.data_dir / "ledger.db")) as ledger:
        stored = str(ledger.execute("SELECT * FROM page_sessions").fetchall())
    assert visitor.http.cookies[COOKIE] not in stored
    assert TOKENS["bob"] not in stored


def test_a_bearer_token_works_without_a_cookie(site: Site):
    with Visitor(site, Authorization=f"Bearer {TOKENS['bob']}") as visitor:
        me = visitor.get("me")
    assert (me["user"], me["signed_in"]) == ("bob", False)


def test_over_tls_the_cookie_is_secure(site: Site):
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"}
    with Visitor(site, **forwarded) as visitor:
        assert "Secure" in visitor.sign_in(TOKENS["bob"]).headers["set-cookie"]


@LOST
def test_a_session_ends_here_everywhere_and_with_its_token(way, own_site: Site):
    with Visitor(own_site) as phone, Visitor(own_site) as sofa:
        for each in (phone, sofa):
            each.sign_in(TOKENS["bob"])
        secret = phone.http.cookies[COOKIE]
        if way == "here":
            assert phone.call("DELETE", "session").status_code == 204
            assert sofa.get("me")["user"] == "bob"
        elif way == "everywhere":
            assert sofa.call("DELETE", "sessions").status_code == 204
        elif way == "expired":
            with closing(sqlite3.connect(own_site.data_dir / "ledger.db")) as ledger:
                ledger.execute("UPDATE page_sessions SET expires_at = 1")
                ledger.commit()
        else:
            _change_token(own_site.config, None if way == "revoked" else "another-5832")
        answer = httpx.get(f"{own_site.url}/app/api/me", headers={"Cookie": f"{COOKIE}={secret}"})
        assert answer.status_code == 401
        assert "Sign in with your token" in answer.json()["detail"]
        if way != "here":
            assert sofa.call("GET", "me").status_code == 401


def _change_token(config: Path, token: str | None) -> None:
    digest = hashlib.sha256(TOKENS["bob"].encode()).hexdigest()
    line = f'token_sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n' if token else ""
    config.write_text(PEOPLE.replace(f'token_sha256 = "{digest}"\n', line))


def test_a_session_outlives_a_restart(own_site: Site):
    with Visitor(own_site) as visitor:
        visitor.sign_in(TOKENS["bob"])
        secret = visitor.http.cookies[COOKIE]
    own_site.stop()
    own_site.start()
    answer = httpx.get(f"{own_site.url}/app/api/me", headers={"Cookie": f"{COOKIE}={secret}"})
    assert answer.json()["user"] == "bob"


def test_of_many_sign_ins_at_once_no_more_than_twenty_are_tried(own_site: Site):
    with Visitor(own_site) as visitor, ThreadPoolExecutor(20) as pool:
        came = list(pool.map(lambda n: visitor.sign_in(f"guess {n}").status_code, range(60)))
    assert came.count(401) == 20
    assert came.count(429) == 40


def test_after_twenty_failed_sign_ins_a_place_waits_and_others_do_not(own_site: Site):
    with Visitor(own_site) as visitor, Visitor(own_site) as signed_in:
        signed_in.sign_in(TOKENS["bob"])
        assert [visitor.sign_in(f"guess {n}").status_code for n in range(20)] == [401] * 20
        refused = visitor.sign_in(TOKENS["alice"])
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 900
        assert "Try again in" in refused.json()["detail"]
        assert signed_in.get("me")["user"] == "bob"
    own_site.stop()
    own_site.start()  # another process knows of it, too
    with Visitor(own_site) as visitor, Visitor(own_site, **{"X-Forwarded-For": "192.0.2.7"}) as other:
        assert visitor.sign_in(TOKENS["alice"]).status_code == 429
        assert other.sign_in(TOKENS["alice"]).status_code == 204


@pytest.mark.parametrize("stored_in", ["files", pytest.param("postgres", marks=pytest.mark.slow)])
async def test_sessions_and_failures_are_one_for_all_processes(stored_in, tmp_path: Path, request):
    place = tmp_path / "ledger.db" if stored_in == "files" else request.getfixturevalue("database_url")
    ledgers = [await Ledger.open(place) for _ in range(2)]
    here, there = map(SignIns, ledgers)
    try:
        secret = await here.begin("bob", "digest")
        assert (await there.find(secret))["user"] == "bob"
        await there.end(secret)
        assert await here.find(secret) is None
        others = [await here.begin(name, "digest") for name in ("bob", "alice")]
        await there.end_all("bob")
        assert [await here.find(each) is None for each in others] == [True, False]
        for _ in range(20):
            assert (await here.attempt("192.0.2.1"))[0] == 0
        assert 0 < (await there.attempt("192.0.2.1"))[0] <= 900
        assert (await there.attempt("192.0.2.2"))[0] == 0
    finally:
        for each in ledgers:
            await each.close()


@pytest.mark.parametrize("token", ["", " ", "tok\nen", "\ud800", "x" * 1_001, None, 7, ["a"]])
def test_what_is_no_token_is_refused_in_a_sentence(token, site: Site):
    with Visitor(site) as visitor:
        body = '{"token": "\\ud800"}' if token == "\ud800" else None
        sent = (
            {"content": body, "headers": {"Content-Type": "application/json"}}
            if body
            else {"json": {"token": token}}
        )
        answer = visitor.call("POST", "session", **sent)
    assert answer.status_code in {401, 422}
    assert isinstance(answer.json()["detail"], str)


FOREIGN = {
    "origin": {"Origin": "https://evil.example"},
    "origin null": {"Origin": "null"},
    "another port of this machine": {"Origin": "http://127.0.0.1:1"},
    "localhost": {"Origin": "http://localhost"},
    "Studio": {"Origin": "https://smith.langchain.com"},
    "another website": {"Sec-Fetch-Site": "cross-site"},
    "another port without origin": {"Sec-Fetch-Site": "same-site"},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_page_of_another_origin_does_nothing_by_the_cookie(kind, bob: Visitor):
    thread, entry = bob.wait_for('write "x" to foreign.txt')
    routes = [*ROUTES, ("POST", "session"), ("POST", f"{place_of(thread)}/answer")]
    for method, path in routes:
        answer = bob.call(method, path, json={}, headers=FOREIGN[kind])
        assert answer.status_code == 403, (method, path)
    assert bob.get("me")["user"] == "bob"
    assert bob.get(place_of(thread))["question"] == entry["question"]


def test_where_nobody_needs_a_token_another_origins_page_gets_nothing_either(open_site: Site):
    with Visitor(open_site) as visitor:
        assert visitor.get("me")["user"] == "local"
        for headers in FOREIGN.values():
            assert visitor.call("GET", "conversations", headers=headers).status_code == 403
            assert (
                visitor.call("POST", "conversations", json={"text": "hi"}, headers=headers).status_code == 403
            )
        assert visitor.sign_in("anything").status_code == 204


BODIES = {
    "text/plain": ({"Content-Type": "text/plain"}, b'{"text": "hi"}', 415),
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, b"text=hi", 415),
    "no type": ({}, b'{"text": "hi"}', 415),
    "json that is none": ({"Content-Type": "application/json"}, b"{", 422),
    "a list": ({"Content-Type": "application/json"}, b"[]", 422),
    "more than that": ({"Content-Type": "application/json"}, b'{"text": "hi", "user": "alice"}', 422),
    "deep": ({"Content-Type": "application/json"}, b"[" * 100_000, 400),
    "chunked": ({"Content-Type": "application/json", "Transfer-Encoding": "chunked"}, [b"{}"], 411),
}


@pytest.mark.parametrize("kind", BODIES)
def test_what_is_no_json_of_ours_begins_nothing(kind, bob: Visitor):
    headers, body, status = BODIES[kind]
    before = len(bob.get("conversations"))
    answer = bob.call("POST", "conversations", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["detail"], str)
    assert len(bob.get("conversations")) == before


def test_a_body_that_is_too_long_is_refused_before_it_is_read(site: Site):
    for path, length in {"session": 10_001, "conversations": 32 * 1024 * 1024 + 1}.items():
        with socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2])), 10) as connection:
            lines = [
                f"POST /app/api/{path} HTTP/1.1",
                f"Host: {site.url[7:]}",
                "Content-Type: application/json",
            ]
            connection.sendall("\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_all_under_app_has_the_policy_and_nothing_is_cached(site: Site, bob: Visitor):
    paths = ["/app", "/app/", "/app/static/index.html", "/app/static/none.js", "/app/api/me", "/app/none"]
    answers = [bob.http.get(path) for path in paths]
    answers.append(bob.http.get("/app", headers={"Origin": "https://evil.example"}))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert answers[4].headers["cache-control"] == "no-store"
    first = answers[0]
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    again = bob.http.get("/app", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for path in ("/app/static/../page.py", "/app/static/%2e%2e/page.py", "/app/static/..%2fpage.py"):
        assert b"import" not in bob.http.get(path).content
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert httpx.get(f"{site.url}/app", headers=link).status_code == 200
