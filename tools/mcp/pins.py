"""Pinned definitions of MCP tools, as a person last saw them.

They stand in `mcp_pins.json` of the data directory, or in the database that all processes share.

A tool that runs unasked was let to because of what it said it is. Where it says something else, it asks.
"""

import json
import os
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, select
from typing_extensions import TypedDict

from base.data_dir import MCP_PINS
from base.users import Stamp, stamp
from storage.engine import SqlDatabase
from storage.shared_tables import documents, insert


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


WITHDRAWN = "withdrawn"
"""In place of a hash: the user took their agreement back."""

_FILE = TypeAdapter(dict[str, Pinned])

Change = Callable[[dict[str, Pinned], bool], Pinned]
"""Changes the pins by server; told whether what is stored is whole."""


def pin_of(pinned: Pinned, user: str, tool: str) -> Pin:
    """Return the pin that holds for a user."""
    own = pinned["users"].get(user, {}).get(tool)
    return pinned["tools"][tool] if own is None else {"hash": own, "agreed": True}


class Pins(ABC):
    """What is pinned; every method may block."""

    def meet(self, server: str, tools: Mapping[str, str], *, trusting: bool) -> Pinned:
        """Remember new tools (name to definition hash), and return a server's pins.

        They count as agreed to where twobrain.toml is `trusting` for the first time.
        """

        def met(servers: dict[str, Pinned], is_whole: bool) -> Pinned:
            pinned = servers.setdefault(server, {"trusted": False, "tools": {}, "users": {}})
            agree = trusting and not pinned["trusted"] and is_whole
            for name, current in tools.items():
                pin = pinned["tools"].setdefault(name, {"hash": current if is_whole else "", "agreed": False})
                pin["agreed"] |= agree and pin["hash"] == current
            pinned["trusted"] |= trusting
            return pinned

        return self._change(met)

    def agree(self, server: str, tool: str, user: str, definition: str) -> None:
        """Remember a user's agreement to a tool of that definition hash."""

        def agreed(servers: dict[str, Pinned], _is_whole: bool) -> Pinned:
            pinned = servers.setdefault(server, {"trusted": False, "tools": {}, "users": {}})
            pinned["users"].setdefault(user, {})[tool] = definition
            return pinned

        self._change(agreed)

    def withdraw(self, server: str, tool: str, user: str) -> None:
        """Forget that a user agreed to a tool."""
        self.agree(server, tool, user, WITHDRAWN)

    def of(self, server: str) -> Pinned:
        """Return a server's pins."""

        def found(servers: dict[str, Pinned], _is_whole: bool) -> Pinned:
            return servers.get(server) or {"trusted": False, "tools": {}, "users": {}}

        return self._change(found)

    @abstractmethod
    def version(self) -> Hashable:
        """Return what is another once something was changed."""

    @abstractmethod
    def _change(self, change: Change) -> Pinned:
        """Change what is pinned, and return what `change` does."""


class PinsFile(Pins):
    """A file of one data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def version(self) -> Stamp:
        """Return the file's stamp."""
        return stamp(self._path)

    def _change(self, change: Change) -> Pinned:
        with self._lock:
            try:
                before: bytes | None = self._path.read_bytes()
            except FileNotFoundError:
                before = None
            except OSError:
                before = b""
            found, after = _changed(before, change)
            if after is not None:
                self._write(after)
            return found

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".mcp_pins")  # for its owner alone
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(self._path)


class PinsRow(Pins):
    """A row of the database that all processes share."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    def version(self) -> str | None:
        """Return the whole text: it is short."""
        with self._database.explaining():
            return self._database.read(_text)

    def _change(self, change: Change) -> Pinned:
        def work(connection: Connection) -> Pinned:
            before = _text(connection)
            found, after = _changed(None if before is None else before.encode(), change)
            if after is not None:
                row = insert(connection.dialect, documents).values(name=MCP_PINS, text=after)
                connection.execute(row.on_conflict_do_update(index_elements=["name"], set_={"text": after}))
            return found

        with self._database.explaining():
            return self._database.change(work, {MCP_PINS})


def _text(connection: Connection) -> str | None:
    return connection.scalar(select(documents.c.text).where(documents.c.name == MCP_PINS))


def _changed(before: bytes | None, change: Change) -> tuple[Pinned, str | None]:
    """Return what a change gives, and the text after it.

    None: there is none, or nothing to store. Where the text is damaged nothing counts as agreed.
    """
    try:
        servers, is_whole = ({} if before is None else _FILE.validate_json(before)), True
    except ValidationError:
        servers, is_whole = {}, False
    was = json.dumps(servers)
    found = change(servers, is_whole)
    return found, json.dumps(servers, indent=1, sort_keys=True) if json.dumps(servers) != was else None
