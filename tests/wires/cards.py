"""A twobrain.toml whose models stand at the wires, each with a key of its own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.wires.brain import Kind
from tests.wires.serve import Wire

PROVIDERS: Mapping[Kind, tuple[str, str]] = {
    "gemini": ("google", "gemini-3-flash-preview"),
    "openai": ("openai", "gpt-test"),
    "anthropic": ("anthropic", "claude-sonnet-4-6"),
}


@dataclass(frozen=True)
class Card:
    """A model at a wire, with further fields of its table."""

    wire: Wire
    fields: Mapping[str, Any]


def at(wire: Wire, **fields: Any) -> Card:
    """Return a model's card; retries are off unless asked for, so that a fault costs no time."""
    return Card(wire, {"max_retries": 0, "timeout_s": 10, **fields})


def configure(
    folder: Path, cards: Mapping[str, Card], roles: Mapping[str, list[str]], more: str = ""
) -> dict[str, str]:
    """Write twobrain.toml, make each wire without a key ask for its model's, and return the environment."""
    tables = [_table(f"models.{name}", _fields(name, card)) for name, card in cards.items()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "twobrain.toml"
    path.write_text("\n".join([*tables, _table("roles", roles), more]))
    for name, card in cards.items():
        card.wire.key = card.wire.key or key_of(name)
    keys = {variable_of(name): key_of(name) for name in cards}
    return {"TWOBRAIN_CONFIG": str(path), "TWOBRAIN_DATA_DIR": str(folder / "data"), **keys}


def key_of(model: str) -> str:
    """Return the made-up key that a model's wire asks for."""
    return f"sk-{model}-0123456789abcdef"


def variable_of(model: str) -> str:
    """Return the variable that holds a model's key."""
    return f"{model.upper()}_KEY"


def _fields(name: str, card: Card) -> dict[str, Any]:
    provider, model = PROVIDERS[card.wire.kind]
    where = {"provider": provider, "model": model, "base_url": card.wire.url}
    return {**where, "api_key_env": variable_of(name), **card.fields}


def _table(name: str, fields: Mapping[str, Any]) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items() if value is not None]
    return "\n".join([f"[{name}]", *lines, ""])
