"""Pinned definitions of MCP tools, as a person last saw them: `mcp_pins.json`.

A tool that runs unasked was let to because of what it said it is. Where it says something else, it asks.
"""

import json
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict


class Pin(TypedDict):
    """What a person last saw of a tool."""

    hash: str
    agreed: bool
    """A person agreed to it: by a call, or by letting the whole server's tools run unasked."""


class Pinned(TypedDict):
    """A server's tools as first met, and as users agreed to them."""

    trusted: bool
    """Its tools were once all let to run unasked; one that comes after that is new."""
    tools: dict[str, Pin]
    users: dict[str, dict[str, str]]
    """By user and tool: the hash of the definition that they agreed to."""


_FILE = TypeAdapter(dict[str, Pinned])


def pin_of(pinned: Pinned, user: str, tool: str) -> Pin:
    """Return the pin that holds for a user."""
    own = pinned["users"].get(user, {}).get(tool)
    return pinned["tools"][tool] if own is None else {"hash": own, "agreed": True}


class Pins:
    """The file's contents; every method may block on it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def meet(self, server: str, tools: Mapping[str, str], *, trusting: bool) -> Pinned:
        """Remember new tools (name to definition hash), and return a server's pins.

        They count as agreed to where twobrain.toml is `trusting` for the first time.
        """
        with self._lock:
            servers, is_whole = self._read()
            before = json.dumps(servers)
            pinned = servers.setdefault(server, {"trusted": False, "tools": {}, "users": {}})
            agree = trusting and not pinned["trusted"] and is_whole
            for name, current in tools.items():
                pin = pinned["tools"].setdefault(name, {"hash": current if is_whole else "", "agreed": False})
                pin["agreed"] |= agree and pin["hash"] == current
            pinned["trusted"] |= trusting
            if json.dumps(servers) != before:
                self._write(servers)
            return pinned

    def agree(self, server: str, tool: str, user: str, definition: str) -> None:
        """Remember a user's agreement to a tool of that definition hash."""
        with self._lock:
            servers, _ = self._read()
            pinned = servers.setdefault(server, {"trusted": False, "tools": {}, "users": {}})
            pinned["users"].setdefault(user, {})[tool] = definition
            self._write(servers)

    def _read(self) -> tuple[dict[str, Pinned], bool]:
        """Return the pins by server, and whether the file is whole.

        Where it is damaged nothing counts as agreed.
        """
        try:
            return _FILE.validate_json(self._path.read_bytes()), True
        except FileNotFoundError:
            return {}, True
        except (OSError, ValidationError):
            return {}, False

    def _write(self, servers: dict[str, Pinned]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".mcp_pins")  # for its owner alone
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(servers, file, indent=1, sort_keys=True)
        Path(name).replace(self._path)
