import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.collector import Collector, open_collector
from tests.server.serving import Server
from tests.server.talking import Talk, errands, opened
from tests.wires.brain import Kind
from tests.wires.clients import KINDS
from tests.wires.serve import Host, Wire

KEYS: dict[Kind, str] = {
    "gemini": "planted-key-of-gemini-4711",
    "openai": "planted-key-of-openai-4712",
    "anthropic": "planted-key-of-anthropic-4713",
}
VARIABLES: dict[Kind, str] = {
    "gemini": "GEMINI_API_KEY",
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}
PROVIDERS: dict[Kind, str] = {"gemini": "google", "openai": "openai", "anthropic": "anthropic"}
PROVOKED = "ValidationError|UnknownModelError|UnknownToolError|BadMessageError"
"""Errors that tests make the server log on purpose."""
OFFLINE = """
[models.planner]
provider = "offline"
model = "planner"

[models.writer]
provider = "offline"
model = "writer"

[roles]
orchestrator = ["planner"]
chat = ["writer"]

[users.local]
role = "user"
confirm_allow = ["delete_file"]

[users.alice]
role = "admin"
confirm_allow = ["write_file"]
"""

TOKENS = {"alice": "token-of-alice-4721", "bob": "token-of-bob-4722", "kid": "token-of-kid-4724"}
SCRAPER = "token-of-the-monitor-4723"
BEARERS = {
    name: {"Authorization": f"Bearer {token}"} for name, token in {**TOKENS, "monitor": SCRAPER}.items()
}
GUARDED = "".join(
    f'[users.{name}]\nrole = "{role}"\ntoken_sha256 = "{hashlib.sha256(TOKENS[name].encode()).hexdigest()}"\n'
    for name, role in {"alice": "admin", "bob": "user", "kid": "user"}.items()
)
GUARDED += 'approvers = ["alice"]\ntools = ["write_file", "calculate"]\n'
GUARDED += '[server]\norigins = ["https://chat.example.com"]\nhosts = ["assistant.example.com"]\n'
GUARDED += 'metrics_token_env = "SCRAPING"\n'


def _card(wire: Wire) -> str:
    return f"""
[models.{wire.kind}]
provider = "{PROVIDERS[wire.kind]}"
model = "stand-in"
base_url = "{wire.url}"
api_key_env = "{VARIABLES[wire.kind]}"
max_retries = 0
"""


@pytest.fixture(scope="session")
def kinds(request: pytest.FixtureRequest) -> tuple[Kind, ...]:
    """Return the wires on which a test is to show the same: in a quick run one of them."""
    return ("openai",) if request.config.getoption("--quick") else KINDS


@pytest.fixture(scope="session")
def all_wires(wire_host: Host) -> dict[Kind, Wire]:
    return {kind: wire_host.open(kind, errands, key) for kind, key in KEYS.items()}


@pytest.fixture
def wires(all_wires: dict[Kind, Wire]) -> Iterator[dict[Kind, Wire]]:
    """Return the wires that the server's models are on, and hold every request to the providers' rules."""
    for wire in all_wires.values():
        wire.brain = errands
        wire.heard.clear()
    yield all_wires
    assert [wire.rejected for wire in all_wires.values()] == [[], [], []]


@pytest.fixture(scope="session")
def server(all_wires: dict[Kind, Wire], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return the one server that all these tests share, on the three wires and the offline pair."""
    config = "".join(_card(wire) for wire in all_wires.values()) + OFFLINE
    environ = {VARIABLES[kind]: key for kind, key in KEYS.items()}
    with Server(tmp_path_factory.mktemp("server"), config, environ) as server:
        yield server
    _check_what_it_left(server)


def _check_what_it_left(server: Server) -> None:
    """Check, after all that was said, that nothing blocked or broke, and that no key is in any file."""
    log = server.log
    assert "Blocking" not in log
    errors = [line for line in log.splitlines() if re.search(r"\[(error|critical) ", line)]
    unexpected = [line for line in errors if not re.search(rf"\b({PROVOKED})\b", line)]
    assert not unexpected, unexpected[0] + log.partition(unexpected[0])[2][:4_000]
    files = {path: path.read_bytes() for path in server.folder.rglob("*") if path.is_file()}
    assert any(path.suffix == ".pckl" and b"orchestrator" in content for path, content in files.items())
    leaks = [(key, path.name) for key in KEYS.values() for path in files if key.encode() in files[path]]
    assert leaks == []


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Return what the guarded server tells of its runs."""
    with open_collector() as collector:
        yield collector


@pytest.fixture(scope="session")
def guarded(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server whose users have tokens; it may keep none of them."""
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with Server(tmp_path_factory.mktemp("guarded"), GUARDED, {"SCRAPING": SCRAPER, **told}) as server:
        yield server
    files = [path for path in server.folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".pckl" for path in files)
    assert [path for path in files for token in TOKENS.values() if token.encode() in path.read_bytes()] == []


@pytest.fixture
async def client(server: Server) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url) as client:
        yield client


@pytest.fixture
def open_talk(client: LangGraphClient) -> Callable[[], Awaitable[Talk]]:
    async def new() -> Talk:
        return Talk(client, (await client.threads.create())["thread_id"])

    return new


@pytest.fixture
async def talk(open_talk: Callable[[], Awaitable[Talk]]) -> Talk:
    """Return a thread that nothing was said on."""
    return await open_talk()


@pytest.fixture
def workspace(server: Server) -> Path:
    return server.workspace


@pytest.fixture
def audit(server: Server) -> Callable[[Talk], Awaitable[list[dict[str, Any]]]]:
    """Read what the ledger holds on a thread's calls, oldest first."""

    async def of(talk: Talk) -> list[dict[str, Any]]:
        async with opened(server.ledger) as ledger:
            return await ledger.audit(thread=talk.id)

    return of


async def _client_of(server: Server, name: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url, headers=BEARERS[name]) as client:
        yield client


@pytest.fixture
async def alice(guarded: Server) -> AsyncIterator[LangGraphClient]:
    async for client in _client_of(guarded, "alice"):
        yield client


@pytest.fixture
async def bob(guarded: Server) -> AsyncIterator[LangGraphClient]:
    async for client in _client_of(guarded, "bob"):
        yield client


@pytest.fixture
async def kid(guarded: Server) -> AsyncIterator[LangGraphClient]:
    """Return a client of one whose requests wait for alice."""
    async for client in _client_of(guarded, "kid"):
        yield client
