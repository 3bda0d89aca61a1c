"""Fixtures that every room's tests may ask for."""

from collections.abc import Callable, Iterator

import pytest

from tests.wires.serve import Host, Wire


@pytest.fixture(scope="session")
def wire_host() -> Iterator[Host]:
    with Host() as host:
        yield host


@pytest.fixture
def open_wire(wire_host: Host) -> Callable[..., Wire]:
    """Open a provider's endpoint: `open_wire("gemini" | "openai" | "anthropic", brain=…, key=…)`."""
    return wire_host.open


@pytest.fixture
def gemini_wire(wire_host: Host) -> Wire:
    return wire_host.open("gemini")


@pytest.fixture
def openai_wire(wire_host: Host) -> Wire:
    return wire_host.open("openai")


@pytest.fixture
def anthropic_wire(wire_host: Host) -> Wire:
    return wire_host.open("anthropic")
