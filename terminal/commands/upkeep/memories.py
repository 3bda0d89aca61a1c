"""`twobrain memories`: what is remembered, and where it is from."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from base.errors import ConfigurationError, RequestError
from base.settings import LOCAL
from base.texts import local_time, visible
from graphs.session import Orchestrator
from nodes.turn.history import as_json
from terminal.commands.conversations.export import save
from terminal.lists import Row, list_rows, show_json
from terminal.prompt import agrees, edited
from terminal.screen import Screen, open_screen
from terminal.text import one_line, plain
from tools.declaration import ToolFailure
from tools.memory import import_memory, memory_rows, place_of, write_memory

_COLUMNS = ("id", "text", "when", "from")
_NONE = "Nothing is remembered. Say so in a conversation, or: twobrain memories add TEXT"
_TEXT_WIDTH = 60
_MARKED = """\
Marked untrusted, for anybody can write a file: after one is recalled, what would change something asks.
With --trust they are marked as the file has them; an edit takes a mark off."""
_AS_IT_IS = "It is as it was. Trust it from now on?"


async def list_all(orchestrator: Orchestrator, *, user: str | None, as_json: bool) -> None:
    """List them, the latest first."""
    rows = await _rows(orchestrator, user)
    zone = orchestrator.settings.zone(user or LOCAL)
    list_rows(rows, _COLUMNS, _NONE, as_json=as_json, for_people=_for_people, zone=zone)


async def show(orchestrator: Orchestrator, ident: str, *, user: str | None, as_json: bool) -> None:
    """Show one whole, with all that stands beside it."""
    row, screen = await _find(orchestrator, ident, user), open_screen(machine=as_json)
    if as_json:
        show_json(screen, row)
        return
    screen.out.print(visible(row["text"], "\n"), markup=False, highlight=False)
    zone = orchestrator.settings.zone(user or LOCAL)
    facts = [f"{local_time(row['created_at'], zone)} ({zone})", row["from"], row["thread"]]
    screen.note(" · ".join(plain(visible(each)) for each in facts if each), "dim")


async def add(orchestrator: Orchestrator, text: str, *, user: str | None, as_json: bool) -> None:
    """Remember something by hand."""
    ident = await _write(orchestrator, text, user)
    _tell(open_screen(machine=as_json), as_json, f"Remembered as {ident}.", {"id": ident})


async def edit(orchestrator: Orchestrator, ident: str, text: str, *, user: str | None, as_json: bool) -> None:
    """Have something else remembered instead.

    Whoever saves it has read it, so that a mark goes. Without a text, their editor has it.
    """
    row, screen = await _find(orchestrator, ident, user), open_screen(machine=as_json)
    if not text:
        if not screen.interactive:
            raise ConfigurationError("Nobody is here to edit it: say the new text behind the id.")
        text = await edited(screen, row["text"])
        if text == row["text"] and not (row["untrusted"] and await agrees(screen, _AS_IT_IS)):
            screen.note("Nothing was changed.", "dim")
            return
    ident = await _write(orchestrator, text, user, row["id"])
    unmarked = " You have read it, so it is no longer marked untrusted." if row["untrusted"] else ""
    _tell(screen, as_json, f"Remembered as {ident}.{unmarked}", {"id": ident, "untrusted": False})


async def delete(
    orchestrator: Orchestrator, ident: str, *, user: str | None, yes: bool, as_json: bool
) -> int:
    """Forget one, once a person has said yes."""
    row, screen = await _find(orchestrator, ident, user), open_screen(machine=as_json)
    if not yes:
        if as_json or not screen.interactive:
            raise ConfigurationError("Nobody is here to be asked: say --yes to forget it for good.")
        if not await agrees(screen, f"Forget “{one_line(row['text'], _TEXT_WIDTH)}” for good?"):
            screen.note("Nothing was forgotten.", "dim")
            return 1
    await _store(orchestrator).adelete(place_of(row["user"]), row["id"])
    _tell(screen, as_json, f"Forgot {row['id']}.", {"deleted": row["id"]})
    return 0


async def export(orchestrator: Orchestrator, to: str | None, *, user: str | None) -> None:
    """Write all as JSON to a file, or to standard output."""
    rows, screen = await _rows(orchestrator, user), open_screen(machine=to is None)
    if to is None:
        show_json(screen, rows)
        return
    await asyncio.to_thread(save, Path(to), as_json(rows))
    screen.note(f"Written to {to}, for you alone to read: memories: {len(rows):,}.", "dim")


async def import_all(
    orchestrator: Orchestrator, file: str, *, user: str | None, trust: bool, as_json: bool
) -> None:
    """Remember what an export holds; what is remembered already stays."""
    name, settings = user or LOCAL, orchestrator.settings
    settings.user(name)
    rows, added, wrong = await asyncio.to_thread(_load, Path(file)), 0, 0
    for row in rows:
        try:
            given = row if isinstance(row, Mapping) else {}
            added += await import_memory(_store(orchestrator), name, given, settings.redact, is_trusted=trust)
        except ToolFailure:
            wrong += 1
    known = len(rows) - added - wrong
    screen = open_screen(machine=as_json)
    told = f"Imported: {added}; remembered already: {known}; no memories: {wrong}."
    _tell(screen, as_json, told, {"imported": added, "known": known, "wrong": wrong})
    if added and not trust and not as_json:
        screen.note(_MARKED, "yellow")


def _store(orchestrator: Orchestrator) -> Any:
    return orchestrator.graph.store


async def _rows(orchestrator: Orchestrator, user: str | None) -> list[dict[str, Any]]:
    name = user or LOCAL
    orchestrator.settings.user(name)
    return await memory_rows(_store(orchestrator), orchestrator.ledger, name)


async def _find(orchestrator: Orchestrator, ident: str, user: str | None) -> dict[str, Any]:
    wanted = ident.strip("[] ")
    if found := [row for row in await _rows(orchestrator, user) if row["id"] == wanted]:
        return found[0]
    raise RequestError(f"There is no memory {ident!r}. `twobrain memories list` lists those there are.")


async def _write(orchestrator: Orchestrator, text: str, user: str | None, instead: str = "") -> str:
    name, settings = user or LOCAL, orchestrator.settings
    settings.user(name)
    try:
        return await write_memory(_store(orchestrator), name, text, settings.redact, instead=instead)
    except ToolFailure as failure:
        raise RequestError(str(failure)) from None


def _tell(screen: Screen, as_json: bool, words: str, value: Row) -> None:
    if as_json:
        show_json(screen, value)
    else:
        screen.note(words)


def _load(place: Path) -> Sequence[Any]:
    try:
        found = json.loads(place.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{place} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise RequestError(f"{place} is no export of memories: it holds no list in JSON.")
    return found


def _for_people(row: Row) -> Row:
    return {**row, "when": row["created_at"]}
