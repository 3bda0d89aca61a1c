from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from settings import Settings
from tests.graphs.crashes.process import Home
from tests.graphs.household import LAYOUTS, House, obedient, ring_bell
from tests.wires.cards import Card, at, configure
from tests.wires.clients import OpenWire
from tools.registry import Registry, open_registry


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
