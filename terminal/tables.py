"""Lists as tables for people and as JSON for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from doctor.diagnose import moment
from terminal.screen import Screen
from terminal.text import as_json, plain

Row = Mapping[str, Any]

_WIDEST_CELL = 200
_MOMENTS = {"since", "started_at", "updated_at"}
"""Keys whose values are seconds since the epoch."""
_UNBROKEN = {*_MOMENTS, "name", "thread", "thread_id", "tool", "backend", "status", "effect"}
_GOOD = {"yes", "executed"}
_BAD = {"no", "failed"}


def show(screen: Screen, rows: Sequence[Row], columns: Mapping[str, str], empty: str) -> None:
    """Print the columns (key to heading) of the rows, or say that there are none."""
    if not rows:
        screen.side.print(empty, style="dim")
        return
    table = Table(
        box=box.SIMPLE_HEAD if screen.out.is_terminal else None, show_edge=False, padding=(0, 1, 0, 0)
    )
    for key, heading in columns.items():
        table.add_column(
            heading,
            justify="right" if _counts(rows, key) else "left",
            overflow="fold",
            no_wrap=key in _UNBROKEN,
        )
    for row in rows:
        table.add_row(*(_cell(key, row.get(key)) for key in columns))
    screen.out.print(table)


def show_json(screen: Screen, value: Any) -> None:
    """Print one JSON value on one line, and nothing else."""
    screen.out.print(as_json(value), soft_wrap=True)


def _counts(rows: Sequence[Row], key: str) -> bool:
    values = [row.get(key) for row in rows]
    return key not in _MOMENTS and any(type(value) in {int, float} for value in values)


def _cell(key: str, value: Any) -> Text:
    text = plain(_words(key, value))
    if len(text) > _WIDEST_CELL:
        text = text[: _WIDEST_CELL - 1] + "…"
    style = "green" if text in _GOOD else "red" if text in _BAD else ""
    return Text(text, style)


def _words(key: str, value: Any) -> str:
    if value is None or value == "":
        return "\u2013"
    if key in _MOMENTS and isinstance(value, int | float):
        return moment(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"${value:.4f}" if key == "cost_usd" else f"{value:,.0f}"
    if isinstance(value, dict):
        value = [f"{name}={part}" for name, part in value.items()]
    return ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)
