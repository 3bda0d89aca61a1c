"""Fixtures that every room's tests may ask for."""

import gc
from collections.abc import Callable, Iterator

import pytest

from tests.wires.serve import Host, Wire


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--prove", action="store_true", help="run the long proofs in full, as `make prove` does")
    parser.addoption("--rewrite", action="store_true", help="write anew what tests write into docs/")


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


@pytest.fixture(scope="session")
def wire_host() -> Iterator[Host]:
    gc.freeze()  # what is there for good need not be looked through after each test
    gc.set_threshold(701, 10, 10)  # or an orchestrator changes it, and lets go of what is frozen
    with Host() as host:
        yield host


@pytest.fixture
def open_wire(wire_host: Host) -> Iterator[Callable[..., Wire]]:
    """Open a provider's endpoint: `open_wire("gemini" | "openai" | "anthropic", brain=…, key=…)`."""
    yield wire_host.open
    gc.collect()  # while no loop runs: a client of google-genai that is found in one begins a task on it


@pytest.fixture
def gemini_wire(wire_host: Host) -> Wire:
    return wire_host.open("gemini")


@pytest.fixture
def openai_wire(wire_host: Host) -> Wire:
    return wire_host.open("openai")


@pytest.fixture
def anthropic_wire(wire_host: Host) -> Wire:
    return wire_host.open("anthropic")
