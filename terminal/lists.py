"""Lists as tables for people and as JSON for programs."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from itertools import takewhile
from typing import Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.padding import Padding
from rich.segment import Segment, Segments
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
_LEAST_CELL = 16
"""Cells that a column of a table has at least, where its texts are longer."""
_TIMES = {"since", "when", "until", "updated_at"}
"""Keys whose values are seconds since the epoch; a text is one already."""
_THREADS = {"thread", "thread_id"}
"""Keys of ids, of which a person is shown the beginning."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PROBLEMS = {"missing", "why_not"}
"""Keys whose values are why something cannot be used; None: it can."""
_UNBROKEN = {*_TIMES, *_THREADS, "name", "tool", "backend", "status", "effect"}
_HEADINGS = {
    "thread_id": "thread",
    "updated_at": "last used",
    "calls": "waits for",
    "args": "arguments",
    "duration_ms": "ms",
    "asked_by": "asked by",
    "uses_left": "uses left",
    "day": "day (UTC)",
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
_NONE = "\u2013"
"""Shown where there is nothing."""
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


async def list_threads(  # noqa: PLR0913 (as above)
    orchestrator: Orchestrator,
    rows: Rows,
    columns: Sequence[str],
    empty: str,
    *,
    as_json: bool,
    for_people: Callable[[Row], Row] = dict,
) -> None:
    """Print a list of threads, and how many lack a record."""
    missing = await missing_threads(orchestrator)
    if missing:
        said = _MISSING_RECORDS.format(count(len(missing), "conversation"))
        open_screen(machine=as_json).side.print(said, style="yellow")
    if as_json or rows or not missing:
        zone = orchestrator.settings.zone("local")
        list_rows(rows, columns, empty, as_json=as_json, zone=zone, for_people=for_people)


def show(screen: Screen, rows: Rows, columns: Sequence[str], empty: str, zone: tzinfo) -> None:
    """Print some columns of the rows, or what is said without any.

    A terminal gets a table; where that would be too narrow to be read, a paragraph a row. A pipe gets all of
    it, between tabs. Whose clock the times are on is said once.
    """
    if not rows:
        screen.side.print(empty, style="dim")
        return
    if screen.out.is_terminal:
        _draw(screen.out, _shortened(rows), columns, zone)
    else:
        lines = [[_HEADINGS.get(key, key) for key in columns]]
        lines += [[visible(plain(_words(key, row.get(key), zone))) for key in columns] for row in rows]
        texts = ["\t".join("" if each == _NONE else each for each in line) + "\n" for line in lines]
        screen.out.print(Segments(map(Segment, texts)), end="", soft_wrap=True)  # tabs stay what they are
    if any(isinstance(row.get(key), int | float) for row in rows for key in _TIMES.intersection(columns)):
        screen.side.print(f"Times are those of {zone}.", style="dim")


def _shortened(rows: Rows) -> Rows:
    """Return the rows with threads' ids cut, where that is enough."""
    ids = {str(row.get(key)) for row in rows for key in _THREADS if _UUID.fullmatch(str(row.get(key)))}
    if len({each[:8] for each in ids}) < len(ids):
        return rows
    return [{**row, **{key: row[key][:8] for key in _THREADS if row.get(key) in ids}} for row in rows]


def _draw(out: Console, rows: Rows, columns: Sequence[str], zone: tzinfo) -> None:
    cells = [[_cell(key, row.get(key), zone) for key in columns] for row in rows]
    headings = [_HEADINGS.get(key, key) for key in columns]
    widths = [max(cell_len(text.plain) for text in column) for column in zip(*cells, strict=True)]
    least = [
        max(cell_len(heading), width if key in _UNBROKEN else min(width, _LEAST_CELL)) + 1
        for key, heading, width in zip(columns, headings, widths, strict=True)
    ]
    if sum(least) <= out.width:
        out.print(_table(rows, columns, headings, cells))
    else:
        for line in cells:
            out.print(_paragraph(columns, headings, line))


def _table(rows: Rows, columns: Sequence[str], headings: Sequence[str], cells: Sequence[list[Text]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for key, heading in zip(columns, headings, strict=True):
        numbers = key not in _TIMES and any(type(row.get(key)) in {int, float} for row in rows)
        justify: Literal["left", "right"] = "right" if numbers else "left"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=key in _UNBROKEN)
    for line in cells:
        table.add_row(*line)
    return table


def _paragraph(columns: Sequence[str], headings: Sequence[str], cells: Sequence[Text]) -> Padding:
    """Return a row: its first columns, and below by name the rest."""
    heads = len(list(takewhile(_UNBROKEN.__contains__, columns))) or 1
    told = [
        Text.assemble((f"{heading} ", "dim"), cell)
        for heading, cell in list(zip(headings, cells, strict=True))[heads:]
        if cell.plain != _NONE
    ]
    first = Text("  ").join(cells[:heads])
    first.stylize("bold")
    return Padding(Group(first, Padding(Text(" · ").join(told), (0, 0, 0, 2))), (0, 0, 1, 0))


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
        return _NONE
    if key in _TIMES and isinstance(value, int | float):
        return local_time(value, zone)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"${value:.4f}" if key == "cost_usd" else f"{value:,.0f}"
    if isinstance(value, dict):
        value = [f"{name}={part}" for name, part in value.items()]
    return ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)
