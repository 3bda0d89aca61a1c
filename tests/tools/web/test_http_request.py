import asyncio
import json
from dataclasses import replace

import pytest

from base.errors import ConfigurationError
from tests.tools.loopback import answer, moved, open_site, stuck
from tools.registry import open_registry
from tools.run import run_tool

LIGHT = json.dumps({"entity_id": "light.kitchen", "state": "on"})


@pytest.fixture
async def hub():
    """Return a stand-in for a home automation server."""
    async with open_site() as site:
        site.pages["/api/states/light.kitchen"] = answer(LIGHT, "application/json")
        site.pages["/api/services/light/turn_on"] = answer("[]", "application/json")
        yield site


@pytest.fixture
def home(hub, household):
    return household(
        f"""
        [tools.http_request]
        allow_hosts = ["{hub.host}", "plain.example"]
        [tools.http_request.headers_env]
        "{hub.host}" = {{ Authorization = "HOUSE", X-Door = "DOOR" }}
        """,
        HOUSE="eyJhbGciOi.secret",
        DOOR="Front 7",
    )


async def test_a_state_is_read_with_the_headers_of_its_host(hub, home, call_in):
    outcome = await call_in(home, "http_get", url=hub.url("/api/states/light.kitchen"))
    assert (outcome.status, outcome.text) == ("executed", f"200 OK\n{LIGHT}")
    (asked,) = hub.seen
    assert (asked.method, asked.body) == ("GET", "")
    assert asked.headers["authorization"] == "Bearer eyJhbGciOi.secret"
    assert asked.headers["x-door"] == "Front 7"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_service_is_called_with_its_body(hub, home, call_in, method):
    url, body = hub.url("/api/services/light/turn_on"), '{"entity_id": "light.kitchen"}'
    outcome = await call_in(home, "http_request", method=method, url=url, body=body)
    assert (outcome.status, outcome.text) == ("executed", "200 OK\n[]")
    (asked,) = hub.seen
    assert (asked.method, asked.body) == (method, body)
    assert asked.headers["content-type"] == "application/json"


async def test_a_body_that_is_no_json_is_sent_as_text_and_none_as_nothing(hub, home, call_in):
    url = hub.url("/api/services/light/turn_on")
    await call_in(home, "http_request", method="POST", url=url, body="hällo")
    await call_in(home, "http_request", method="POST", url=url)
    assert [asked.headers.get("content-type") for asked in hub.seen] == ["text/plain; charset=utf-8", None]
    assert [asked.body for asked in hub.seen] == ["hällo", ""]


def test_reading_runs_unasked_and_all_else_asks(home):
    registry = open_registry(home.settings)
    get, request = registry.get("http_get"), registry.get("http_request")
    assert (get.effect, get.confirm, get.untrusted, get.role) == ("read", False, True, "user")
    assert (request.effect, request.confirm, request.untrusted, request.role) == ("send", True, True, "user")
    with pytest.raises(ValueError, match="method"):
        request.check({"method": "GET", "url": "http://x/"})


async def test_the_person_sees_what_will_be_sent_and_which_secrets_go_along_but_not_their_values(hub, home):
    tool = open_registry(home.settings).get("http_request")
    url = hub.url("/api/services/light/turn_on")
    shown = await tool.preview(home, {"method": "POST", "url": url, "body": "{}"})
    assert shown == f"POST {url}\nwith Authorization from HOUSE\nwith X-Door from DOOR\n\n{{}}"
    shown = await tool.preview(home, {"method": "POST", "url": "http://evil.example/"})
    assert shown.startswith("This will fail: evil.example:80 is not open to this tool.")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/", "127.0.0.1:1 is not open to this tool. Open are: 127.0.0.1:"),
        ("http://localhost:{port}/", "is not open to this tool"),
        ("http://127.0.0.1:{port}@evil.example/", "is not open to this tool"),
        ("http://evil.example/?127.0.0.1:{port}", "is not open to this tool"),
        ("http://2130706433:{port}/", "unusual form"),
        ("ftp://127.0.0.1:{port}/", "must begin with https://"),
        ("127.0.0.1:{port}/", "must begin with https://"),
        ("http://ada:pw@127.0.0.1:{port}/", "must not hold a user name or password"),
    ],
)
async def test_only_the_hosts_that_were_opened_are_asked(hub, home, call_in, url, words):
    outcome = await call_in(home, "http_get", url=url.format(port=hub.port))
    assert outcome.status == "failed"
    assert words in outcome.text
    outcome = await call_in(home, "http_request", method="POST", url=url.format(port=hub.port))
    assert words in outcome.text
    assert "taken effect" not in outcome.text
    assert hub.seen == []


async def test_what_network_opens_is_not_open_to_this_tool(hub, household, call_in):
    async with open_site() as other:
        here = household(
            f'[tools.network]\nallow_hosts = ["{other.host}"]\n'
            f'[tools.http_request]\nallow_hosts = ["{hub.host}"]'
        )
        assert "is not open to this tool" in (await call_in(here, "http_get", url=other.url())).text
        assert other.seen == []


async def test_headers_go_to_their_own_host_and_along_no_redirect(hub, home, household, call_in):
    async with open_site() as other:
        hub.pages["/away"] = moved(other.url())
        outcome = await call_in(home, "http_get", url=hub.url("/away"))
        assert "answered 302 Found" in outcome.text
        assert other.seen == []
        other.pages["/"] = answer("hello")
        here = household(
            f"""
            [tools.http_request]
            allow_hosts = ["{hub.host}", "{other.host}"]
            [tools.http_request.headers_env]
            "{hub.host}" = {{ Authorization = "HOUSE_TOKEN" }}
            """,
            HOUSE_TOKEN="Basic abc",
        )
        await call_in(here, "http_get", url=other.url())
        await call_in(here, "http_get", url=hub.url("/api/states/light.kitchen"))
        assert "authorization" not in other.seen[0].headers
        assert hub.seen[-1].headers["authorization"] == "Basic abc"


async def test_a_refusal_of_the_server_is_told_with_its_reason(hub, home, call_in):
    hub.pages["/api"] = answer('{"message": "no such service"}', "application/json", "400 Bad Request")
    outcome = await call_in(home, "http_request", method="POST", url=hub.url("/api"))
    assert outcome.status == "failed"
    assert outcome.text == ('Tool error: 127.0.0.1 answered 400 Bad Request. {"message": "no such service"}')


@pytest.mark.parametrize("status", ["404 Not Found", "408 Request Timeout", "502 Bad Gateway", "504 Late"])
async def test_an_answer_that_a_gateway_may_give_leaves_a_doubt_that_is_said(hub, home, call_in, status):
    hub.pages["/api"] = answer("sorry", "text/plain", status)
    outcome = await call_in(home, "http_request", method="POST", url=hub.url("/api"))
    assert outcome.status == "unknown"
    assert outcome.text.endswith("sorry It may have taken effect all the same.")
    assert len(hub.seen) == 1
    assert (await call_in(home, "http_get", url=hub.url("/api"))).status == "failed"


async def test_a_binary_answer_is_described_and_a_long_one_cut(hub, home, call_in):
    hub.pages["/camera"] = answer(b"\xff\xd8\xff\0", "image/jpeg")
    hub.pages["/log"] = answer("x" * 2_000_001, "text/plain")
    assert (await call_in(home, "http_get", url=hub.url("/camera"))).text == "200 OK\n(4 bytes of image/jpeg)"
    assert (await call_in(home, "http_get", url=hub.url("/log"))).text.endswith("there are more.]")


async def test_a_request_whose_answer_is_lost_admits_its_doubt_and_one_never_sent_has_none(
    hub, home, household, call_in
):
    hub.pages["/api"] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"
    lost = await call_in(home, "http_request", method="POST", url=hub.url("/api"))
    assert lost.status == "unknown"
    assert lost.text.endswith("It may have taken effect all the same.")
    async with open_site() as gone:
        pass
    here = household(f'[tools.http_request]\nallow_hosts = ["{gone.host}"]')
    unsent = await call_in(here, "http_request", method="POST", url=gone.url())
    assert "127.0.0.1 cannot be reached" in unsent.text
    assert "taken effect" not in unsent.text


async def test_a_server_that_hangs_is_left_when_the_time_is_over(hub, home):
    hub.pages["/api"] = stuck()
    tool = replace(open_registry(home.settings).get("http_request"), timeout_s=0.2)
    outcome = await run_tool(tool, home, {"method": "POST", "url": hub.url("/api")})
    assert outcome.text.endswith("was stopped. It may have taken effect all the same.")
    await asyncio.wait_for(hub.left.wait(), 5)


async def test_a_secret_that_no_header_can_carry_is_not_told(hub, household, call_in):
    here = household(
        f'[tools.http_request]\nallow_hosts = ["{hub.host}"]\n[tools.http_request.headers_env]\n'
        f'"{hub.host}" = {{ X-Door = "DOOR" }}',
        DOOR="front\nback",
    )
    outcome = await call_in(here, "http_get", url=hub.url("/"))
    assert "holds what HTTP cannot carry; it was not sent" in outcome.text
    assert "back" not in outcome.text


async def test_a_secret_that_comes_back_is_not_told(hub, home, call_in):
    hub.pages["/echo"] = answer("you sent eyJhbGciOi.secret", "text/plain")
    assert "eyJhbGciOi" not in (await call_in(home, "http_get", url=hub.url("/echo"))).text


def test_what_is_not_configured_is_missing(settings, household):
    tool = open_registry(settings).get("http_request")
    assert tool.missing(settings) == "set [tools.http_request] allow_hosts in twobrain.toml"
    headers = 'headers_env = { "a:1" = { Authorization = "HA_TOKEN" } }'
    here = household(f'[tools.http_request]\nallow_hosts = ["a:1"]\n{headers}')
    assert tool.missing(here.settings) == "set the environment variable HA_TOKEN"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("allow_hosts = ['http://a']", "not a host or host:port"),
        ("headers_env = {}", "allow_hosts"),
        ("allow_hosts = ['a']\nheaders_env = { b = { X = 'Y' } }", "headers_env names 'b'"),
        ("allow_hosts = ['a']\ntoken = 'x'", "unknown name"),
    ],
)
def test_a_table_that_cannot_be_used_fails_at_start_up(household, table, words):
    with pytest.raises(ConfigurationError, match=words):
        open_registry(household(f"[tools.http_request]\n{table}").settings)
