"""Lists as tables for people and as JSON for programs."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any, Literal

from rich import box
from rich.table import Table
from rich.text import Text

from base.texts import count, local_time, visible
from doctor.missing_records import missing_threads
from graphs.session import Orchestrator
from terminal.screen import Screen, open_screen
from terminal.text import json_line, plain

Row = Mapping[str, Any]
Rows = Sequence[Row]

_WIDEST_CELL = 200
_TIMES = {"since", "started_at", "updated_at"}
"""Keys whose values are seconds since the epoch."""
_PROBLEMS = {"missing", "why_not"}
"""Keys whose values are why something cannot be used; None: it can."""
_UNBROKEN = {*_TIMES, "name", "thread", "thread_id", "tool", "backend", "status", "effect"}
_HEADINGS = {
    "thread_id": "thread",
    "updated_at": "last used",
    "started_at": "when",
    "calls": "waits for",
    "args": "arguments",
    "duration_ms": "ms",
    "decided_by": "by",
    "uses_left": "uses left",
    "role": "for",
    "confirm": "asks first",
    "description": "what it does",
    "backend": "name",
    "missing": "usable",
    "why_not": "holds",
    "model_calls": "calls",
    "input_tokens": "input",
    "output_tokens": "output",
    "cached_tokens": "cached",
    "cost_usd": "cost",
}
"""Of columns that are not headed by their key."""
_STYLES = {"yes": "green", "executed": "green", "no": "red", "failed": "red"}
_MISSING_RECORDS = "The ledger has no record of {} that there is; twobrain doctor says which, and what to do."


def list_rows(  # noqa: PLR0913 (what a list is made of)
    rows: Rows,
    columns: Sequence[str],
    empty: str,
    *,
    as_json: bool,
    for_people: Callable[[Row], Row] = dict,
    zone: tzinfo = UTC,
) -> None:
    """Print what a command lists, for a person or a program.

    The rows are as a program reads them; `for_people` returns what a person reads of one. Columns are keys
    of that; `empty` is said where there are no rows. `zone` is the reader's.
    """
    screen = open_screen(machine=as_json)
    if as_json:
        show_json(screen, rows)
    else:
        show(screen, [for_people(row) for row in rows], columns, empty, zone)


async def list_threads(
    orchestrator: Orchestrator, rows: Rows, columns: Sequence[str], empty: str, *, as_json: bool
) -> None:
    """Print a list of threads, and how many lack a record."""
    missing = await missing_threads(orchestrator)
    if missing:
        said = _MISSING_RECORDS.format(count(len(missing), "conversation"))
        open_screen(machine=as_json).side.print(said, style="yellow")
    if as_json or rows or not missing:
        zone = orchestrator.settings.zone("local")
        list_rows(rows, columns, empty, as_json=as_json, zone=zone)


def show(screen: Screen, rows: Rows, columns: Sequence[str], empty: str, zone: tzinfo) -> None:
    """Print some columns of the rows, or what is said without any."""
    if not rows:
        screen.side.print(empty, style="dim")
        return
    ruled = box.SIMPLE_HEAD if screen.out.is_terminal else None
    table = Table(box=ruled, show_edge=False, padding=(0, 1, 0, 0))
    for key in columns:
        numbers = key not in _TIMES and any(type(row.get(key)) in {int, float} for row in rows)
        justify: Literal["left", "right"] = "right" if numbers else "left"
        table.add_column(_HEADINGS.get(key, key), justify=justify, overflow="fold", no_wrap=key in _UNBROKEN)
    for row in rows:
        table.add_row(*(_cell(key, row.get(key), zone) for key in columns))
    screen.out.print(table)


def show_json(screen: Screen, value: Any) -> None:
    """Print one JSON value on one line, and nothing else."""
    screen.out.print(json_line(value), soft_wrap=True)


def _cell(key: str, value: Any, zone: tzinfo) -> Text:
    text = visible(plain(_words(key, value, zone)))
    if len(text) > _WIDEST_CELL:
        text = text[: _WIDEST_CELL - 1] + "…"
    return Text(text, _STYLES.get(text, ""))


def _words(key: str, value: Any, zone: tzinfo) -> str:
    if key in _PROBLEMS:
        return "yes" if value is None else f"no: {value}"
    if value is None or value == "":
        return "\u2013"
    if key in _TIMES and isinstance(value, int | float):
        return local_time(value, zone)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"${value:.4f}" if key == "cost_usd" else f"{value:,.0f}"
    if isinstance(value, dict):
        value = [f"{name}={part}" for name, part in value.items()]
    return ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)
