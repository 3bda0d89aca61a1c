"""`twobrain doctor --online`: every model called with one token, every server reached, a line each."""

import asyncio
import base64
import json
import re
import socket
import sys
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.tools.loopback import answer, open_site
from tests.tools.mail.imap_server import open_imap
from tests.wires.brain import Heard, Reply
from tests.wires.cards import at, configure, key_of, variable_of

PLAIN_SERVER = Path(__file__).parents[2] / "tools" / "mcp" / "plain_server.py"
OTHER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "quite-another",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
}
TAKES_NO_TOOLS = "registry.ollama.ai/library/gemma:2b does not support tools"
TEMPERATURE = "Unsupported value: 'temperature' does not support 0.3 with this model. Only the default is."
RENAMED = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)


FIXED = {
    "stranger": Reply(status=401, error=f"Incorrect API key provided: {key_of('good')}."),
    "unknown": Reply(status=404, error="The model `unknown` does not exist."),
    "poor": Reply(
        status=429,
        error={"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
    ),
    "thinker": Reply(text="", output_tokens=1, reasoning_tokens=1, finish="length"),
    "silent": Reply(text="Too late.", delay_s=8),
    "babbler": Reply(raw=b"<<< no JSON at all >>>"),
    "other": Reply(raw=json.dumps(OTHER).encode()),
}


def said(heard: Heard) -> Reply:
    """Answer as a model of that name would."""
    refused = [
        (TAKES_NO_TOOLS, heard.tools and heard.model in {"toolless", "several"}),
        (TEMPERATURE, "temperature" in heard.raw and heard.model in {"rigid", "several"}),
        ("Your organization must be verified to stream this model.", heard.stream and heard.model == "whole"),
        (RENAMED, "max_tokens" in heard.raw and heard.model in {"renamed", "limited"}),
        ("Invalid 'max_tokens': below the least value, 16.", _limit(heard) < 16 and heard.model == "least"),
    ]
    if reason := next((reason for reason, holds in refused if holds), None):
        return Reply(status=400, error=reason)
    return FIXED.get(heard.model, Reply(text="Yes.", output_tokens=1))


def _limit(heard: Heard) -> int:
    return int(heard.raw.get("max_tokens") or heard.raw.get("max_completion_tokens") or 0)


MODELS: Mapping[str, tuple[dict, str, str]] = {
    "good": ({}, "good", r"^answered in \d+\.\d s; its price is not known"),
    "thinker": ({}, "good", "^answered in"),
    "least": ({}, "good", "^answered in"),
    "other": ({"streaming": False}, "good", "by quite-another; it reports no usage: tokens are estimated"),
    "renamed": (
        {},
        "note",
        'with max_output_tokens its card needs output_limit_parameter = "max_completion_',
    ),
    "limited": ({"max_output_tokens": 50}, "bad", 'with output_limit_parameter = "max_completion_tokens" on'),
    "toolless": ({}, "bad", "with tools = false on its card"),
    "rigid": ({"temperature": 0.3}, "bad", r"answered in .* with no temperature on its card"),
    "whole": ({}, "bad", r"must be verified .* with streaming = false on its card"),
    "several": ({"temperature": 0.3}, "bad", "with (tools = false and no temperature|no temp.* = false) on"),
    "stranger": ({}, "bad", "rejected the key"),
    "unknown": ({}, "bad", r"does not exist.* Check its model"),
    "poor": ({}, "bad", "no credit left"),
    "silent": ({"timeout_s": 1}, "bad", "did not answer in time"),
    "babbler": ({"streaming": False}, "bad", "could not be read"),
    "closed": ({}, "bad", "cannot be reached"),
}


@pytest.fixture
def closed_port():
    """Return a port at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def online(home, code: int, **environ: str) -> dict[str, tuple[str, str]]:
    done = home.run("doctor", "--online", "--json", code=code, **environ)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["ok"] == (code == 0)
    return {one["name"]: (one["state"], one["text"]) for one in told["findings"]}


def test_each_model_is_called_and_told_with_what_its_card_should_say(home, open_wire, closed_port):
    wire = open_wire("openai", brain=said)
    cards = {
        name: at(wire, model=name, api_key_env="GOOD_KEY", **more) for name, (more, *_) in MODELS.items()
    }
    nowhere = f"http://127.0.0.1:{closed_port}/v1"
    cards["closed"] = at(wire, model="closed", base_url=nowhere, api_key_env="GOOD_KEY")
    cards |= {kind: at(open_wire(kind, brain=said)) for kind in ("gemini", "anthropic")}
    environ = configure(home.directory, cards, {"orchestrator": list(MODELS), "chat": ["good"]})
    found = online(home, 1, **environ)
    for name, (_, state, words) in MODELS.items():
        assert found[f"model {name}"][0] == state, found[f"model {name}"]
        assert re.search(words, found[f"model {name}"][1], re.DOTALL), found[f"model {name}"]
    for kind in ("gemini", "anthropic"):
        assert found[f"model {kind}"][0] == "good", found[f"model {kind}"]
    assert found["storage"][0] == "good"
    assert not any(key_of(name) in text for name in cards for _, text in found.values())
    assert all(_limit(heard) in {0, 1, 16} for heard in wire.heard)
    rows = {row["backend"]: row for row in home.json("usage", **environ)}
    assert (rows["good"]["model_calls"], rows["good"]["output_tokens"]) == (1, 1)
    assert rows["toolless"]["model_calls"] == 2
    assert {row["user"] for row in home.json("usage", "--by", "user", **environ)} == {"local"}


def test_a_users_own_key_is_tried_too_and_one_that_is_not_set_is_told(home, open_wire):
    wire = open_wire("openai", brain=said, key="sk-of-the-house-0123456789")
    environ = configure(home.directory, {"good": at(wire)}, {"chat": ["good"]}, _users())
    environ[variable_of("good")] = "sk-of-the-house-0123456789"
    found = online(home, 1, **environ, ALICE_KEY="sk-of-alice-0123456789")
    assert found["model good"][0] == "good"
    assert "rejected the key" in found["model good of alice"][1]
    assert "BOB_KEY is not set" in found["model good of bob"][1]
    assert "sk-of" not in str(found)


def _users() -> str:
    return "".join(f'[users.{name}]\nkeys = {{ good = "{name.upper()}_KEY" }}\n' for name in ("alice", "bob"))


def test_without_keys_and_servers_all_is_well(home):
    found = online(home, 0)
    assert found["model offline-planner"][0] == "good"
    assert {name for name in found if name in {"mail", "search", "telemetry"}} == set()
    assert all(line[0] in "✓·" for line in home.run("doctor", "--online").stdout.splitlines())


PROPFOUND = (
    '<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:response><d:href>/cal/</d:href>'
    "<d:propstat><d:prop><d:resourcetype><c:calendar/></d:resourcetype></d:prop></d:propstat></d:response>"
    "</d:multistatus>"
)
WELL = {
    "/cal/": answer(PROPFOUND, "application/xml", "207 Multi-Status"),
    "/search": answer('{"results": [{"url": "https://example.com", "title": "x"}]}', "application/json"),
    "/sessions": answer("[]", "application/json"),
    "/v1/traces": answer(b"", "application/x-protobuf"),
}
ILL = {
    "/cal/": answer("", status="401 Unauthorized"),
    "/search": answer("no JSON"),
    "/sessions": answer("{}", "application/json", "403 Forbidden"),
    "/v1/traces": answer("", status="503 Service Unavailable"),
}


async def _smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet, and take nothing but the password `swordfish`."""
    writer.write(b"220 mail\r\n")
    while line := (await reader.readline()).decode():
        verb, _, rest = line.strip().partition(" ")
        if verb == "EHLO":
            writer.write(b"250-mail\r\n250 AUTH PLAIN\r\n")
        elif verb == "AUTH":
            is_known = base64.b64decode(rest.split()[-1]).endswith(b"\0swordfish")
            writer.write(b"235 OK\r\n" if is_known else b"535 no such user\r\n")
        else:
            writer.write(b"221 bye\r\n" if verb == "QUIT" else b"250 OK\r\n")
        await writer.drain()
    writer.close()


@asynccontextmanager
async def house(home, pages: Mapping[str, object], *commands: str):
    """Give the environment of a house whose servers are on loopback."""
    mail = await asyncio.start_server(_smtp, "127.0.0.1", 0)
    async with mail, open_imap() as imap, open_site() as site:
        site.pages.update(pages)
        tables = [
            f'[tools.send_email]\nhost = "127.0.0.1"\nport = {mail.sockets[0].getsockname()[1]}',
            'from = "ada@example.com"\nsecurity = "none"\nuser = "ada"\npassword_env = "MAIL_PASSWORD"\n',
            f"[tools.inbox.local]\n{imap.table}",
            f'[tools.calendar]\nurl = "{site.url("/cal/")}"\nuser = "ada"\npassword_env = "CAL_PASSWORD"\n',
            f'[tools.web_search]\nprovider = "searxng"\nurl = "{site.url("")}"\n',
            *(
                f'[mcp.servers.s{n}]\ncommand = "{command}"\nargs = ["{PLAIN_SERVER}", "{home.directory}"]\n'
                "connect_timeout_s = 20\n"
                for n, command in enumerate(commands)
            ),
        ]
        home.configure("\n".join(tables))
        (home.directory / "tools.json").write_text('[{"name": "ring", "inputSchema": {"type": "object"}}]')
        yield (
            site,
            {
                "MAIL_PASSWORD": "swordfish",
                "CAL_PASSWORD": "planted-password-4741",
                "LANGSMITH_TRACING": "true",
                "LANGSMITH_ENDPOINT": site.url("").rstrip("/"),
                "LANGSMITH_API_KEY": "planted-key-4742",
                "OTEL_EXPORTER_OTLP_ENDPOINT": site.url(""),
                "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20planted-4743",
            },
        )


async def test_each_server_is_reached_and_told(home):
    async with house(home, WELL, sys.executable) as (site, environ):
        found = await asyncio.to_thread(online, home, 0, **environ)
    names = ("mail", "inbox of local", "calendar", "search", "mcp s0", "langsmith", "telemetry")
    assert {name: found[name][0] for name in names} == dict.fromkeys(names, "good"), found
    assert found["mcp s0"][1].startswith("1 tool in ")
    assert "logged in" in found["mail"][1]
    sent = {request.path.partition("?")[0]: request for request in site.seen}
    assert sent["/v1/traces"].headers["authorization"] == "Basic planted-4743"
    assert "planted" not in str(found)


@pytest.mark.slow
async def test_each_server_that_cannot_be_used_is_told_with_the_reason_and_ends_with_code_1(home):
    async with house(home, ILL, "/nowhere/at/all") as (_, environ):
        wrong = {**environ, "MAIL_PASSWORD": "planted-password-4744"}
        found = await asyncio.to_thread(online, home, 1, **wrong)
    words = {
        "mail": "refused the login of 'ada': 535 no such user",
        "inbox of local": "refused the login of 'ada'",
        "calendar": "refused the user or the password",
        "search": "did not answer as searxng does",
        "mcp s0": "/nowhere/at/all",
        "langsmith": "403 Forbidden. Check its key.",
        "telemetry": "answered 503",
    }
    for name, reason in words.items():
        assert found[name][0] == "bad", name
        assert reason in found[name][1], found[name]
    assert "planted" not in str(found)
