"""Fixtures that every room's tests may ask for."""

import gc
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from zlib import crc32

import certifi
import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from base.settings import Settings
from tests.behaviour.crashes.process import Home
from tests.behaviour.household import LAYOUTS, House, obedient, ring_bell
from tests.postgres import database, server
from tests.wires.cards import Card, at, configure
from tests.wires.clients import OpenWire
from tests.wires.serve import Host, Wire
from tools.registry import Registry, open_registry

FEW = ("gemini+anthropic", "openai")
"""Layouts in which each wire and both paths occur."""
SLOW_FIXTURES = frozenset({"wire_host", "home", "guarded", "hers"})
"""What runs turns, or needs a conversation on a server: of such a test a quick run has one case."""
SHARED = {
    "tests/server/page/": "pages",
    "tests/channels/matrix/": "Synapse",
    "tests/server/completions/": "pages",
    "tests/server/": "servers",
    "tests/behaviour/database/": "Postgres",
    "tests/storage/test_postgres.py": "Postgres",
    "tests/terminal/": "forks",
    "tests/behaviour/crashes/": "forks",
    "tests/behaviour/test_commands.py": "forks",
    "tests/behaviour/test_secrets.py": "forks",
    "tests/doctor/test_prune.py": "forks",
    "tests/graphs/test_forks.py": "forks",
    "tests/house/": "trees",
}
"""Whose tests share what takes seconds to open: servers, a process to fork from, syntax trees."""
WITH_OTHERS = re.compile(
    r"tests/(behaviour|channels|doctor|graphs|ledger|models|schedules|server|storage|terminal|tools/(mail|mcp|web))/"
)
"""Whose tests run turns, servers, programs, databases: a quick run has the first that each promise names."""
PROMISES = Path(__file__).parents[1] / "docs" / "behaviours.md"
MEMORY = "/dev/shm"
"""Where files are kept in memory: a fifth of a run's time goes into waiting for a disk."""
ROOM_BYTES = 4_000_000_000
LEFT_OUT = pytest.StashKey[int]()
"""How many slow tests a quick run left out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out what is slow, as `make test` does")
    parser.addoption("--prove", action="store_true", help="run the long proofs in full, as `make prove` does")
    parser.addoption("--rewrite", action="store_true", help="write anew what tests write into docs/")


def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis try more where a proof runs in full; no example fails for a busy machine."""
    patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("quick", max_examples=15, **patient)
    settings.register_profile("sample", max_examples=100, **patient)
    settings.register_profile("proof", max_examples=1_000, **patient)
    quick = "quick" if config.getoption("--quick") else "sample"
    is_proof = config.getoption("--prove")
    if not is_proof and os.path.ismount(MEMORY) and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        os.environ.setdefault("TMPDIR", MEMORY)  # for the processes that run the tests, too
        tempfile.tempdir = None
    settings.load_profile("proof" if is_proof else quick)


def pytest_sessionstart() -> None:
    """Import and collect without looking for garbage, of which there is next to none."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage again, but not among what has been collected."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)  # a room marks its tests first
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only a longer run has: `make check` what is slow, `make prove` what is sampled=False."""
    if config.getoption("--prove"):
        return
    full = {item for item in items if any(not _is_sampled(mark) for mark in item.iter_markers("prove"))}
    rest = [item for item in items if item not in full] if config.getoption("--quick") else []
    slow = {item for item in rest if _is_slow(item)} | _repeats(rest)
    slow |= _further(item for item in rest if item not in slow)
    config.stash[LEFT_OUT] = len(slow)
    config.hook.pytest_deselected(items=[item for item in items if item in full | slow])
    items[:] = [item for item in items if item not in full | slow]


class Scheduling(LoadScopeScheduling):
    """Give a process one test at a time, but all to one that share what is dear to open: `SHARED`.

    xdist's own loadgroup heeds no group since pytest 9.2: each process would start both servers.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((shared for place, shared in SHARED.items() if nodeid.startswith(place)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return more than there are cores: tests wait for servers and terminals. Each takes 20 s to begin."""
    return (os.cpu_count() or 1) + (1 if config.getoption("--quick") else 2)


def _is_slow(item: pytest.Item) -> bool:
    """Tell whether `make test` leaves it out: marked so, or showing on one more wire what another shows.

    Whether a reply is streamed or whole makes a wire, too.
    """
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    is_repeated = (
        params.get("layout", FEW[0]) not in FEW
        or False in (params.get("stream"), params.get("streaming"))
        or (
            not {"behaviour", "server"}.isdisjoint(item.path.parts)
            and params.get("kind") in {"gemini", "anthropic"}
        )
    )
    measures = "benchmark" in getattr(item, "fixturenames", ())
    return is_repeated or measures or item.get_closest_marker("slow") is not None


def _repeats(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Return what is left out of tests that run turns: all cases but one, which is not always the first."""
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())) and not _is_slow(item):
            cases[item.nodeid.partition("[")[0]].append(item)
    kept = {each[crc32(test.encode()) % len(each)] for test, each in cases.items()}
    return {item for each in cases.values() for item in each} - kept


def _further(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Return what proves further, `WITH_OTHERS`, what the first test that a promise names has shown."""
    costly = {item: item.nodeid.partition("[")[0] for item in items if WITH_OTHERS.match(item.nodeid)}
    names = set(costly.values())
    rows = re.findall(r"^\|.*$", PROMISES.read_text(encoding="utf-8"), re.MULTILINE)
    first = {next(filter(names.__contains__, re.findall(r"`(tests/[^`]+)`", row)), None) for row in rows}
    return {item for item, name in costly.items() if name not in first}


def _is_sampled(mark: pytest.Mark) -> bool:
    return mark.kwargs.get("sampled", True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a worker of xdist say how many tests it left out: it alone knows."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(LEFT_OUT, 0):
        words = "tests that measure, or prove further what these have shown, left out: make check runs them"
        terminalreporter.write_line(f"{count} {words}")


@pytest.fixture
def proving(request: pytest.FixtureRequest) -> bool:
    """Whether a proof is to run in full; else a sample of it is enough."""
    return request.config.getoption("--prove")


@pytest.fixture
def tell(proving: bool, capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Return what prints a proof's figure where it runs in full."""

    def told(figure: str) -> None:
        if proving:
            with capsys.disabled():
                print(f"\n{figure}")  # noqa: T201 (it is what the proof was run for)

    return told


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one authority: a provider's client takes 50 ms of CPU to read the usual 120, for each model."""
    first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----")
    path = tmp_path_factory.mktemp("authorities") / "one.pem"
    path.write_text(f"{first}{end}\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture(scope="session")
def wire_host() -> Iterator[Host]:
    for package in ("langchain_google_genai", "langchain_openai", "langchain_anthropic"):
        import_module(package)
    with Host() as host:
        yield host


@pytest.fixture
def open_wire(wire_host: Host) -> Iterator[Callable[..., Wire]]:
    """Open a provider's endpoint: `open_wire("gemini" | "openai" | "anthropic", brain=…, key=…)`."""
    yield wire_host.open
    gc.collect()  # while no loop runs: a client of google-genai that is found in one begins a task on it
    gc.freeze()  # what outlives a test is there for good, and need not be looked through after each


@pytest.fixture
def gemini_wire(wire_host: Host) -> Wire:
    return wire_host.open("gemini")


@pytest.fixture
def openai_wire(wire_host: Host) -> Wire:
    return wire_host.open("openai")


@pytest.fixture
def anthropic_wire(wire_host: Host) -> Wire:
    return wire_host.open("anthropic")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a Postgres server, of this process's own."""
    with server() as url:
        yield url


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """The URL of a new Postgres database."""
    with database(postgres) as url:
        yield url


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def bell(monkeypatch) -> None:
    """Add a tool whose every run leaves a line in a file."""

    def with_bell(settings: Settings) -> Registry:
        return Registry([*open_registry(settings), ring_bell])

    monkeypatch.setattr("nodes.resources.open_registry", with_bell)


@pytest.fixture
def furnish(tmp_path: Path, bell) -> Callable[..., House]:
    """Return a function that puts models at wires: name to card, and role to names."""

    def furnished(
        cards: Mapping[str, Card], roles: Mapping[str, list[str]] | None = None, more: str = ""
    ) -> House:
        names = list(cards)
        roles = {"orchestrator": names[:1], "chat": names[-1:], **(roles or {})}
        environ = configure(tmp_path, cards, roles, more)
        return House(tmp_path, {name: card.wire for name, card in cards.items()}, environ)

    return furnished


@pytest.fixture
def settle(open_wire: OpenWire, furnish) -> Callable[..., House]:
    """Return a function that furnishes one of the layouts with obedient brains."""

    def settled(layout: str = "gemini+anthropic", more: str = "", **fields: Any) -> House:
        wires = [open_wire(kind, brain=obedient) for kind in LAYOUTS[layout]]
        names = ("planner", "writer")[: len(wires)]
        return furnish({n: at(wire, **fields) for n, wire in zip(names, wires, strict=True)}, more=more)

    return settled
