"""Write what a whole run measured into docs/performance.md: the table, the chart, and when and where."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.chart import as_svg
from benchmarks.figures import Figure
from benchmarks.table import as_markdown

_DOCS = Path(__file__).parent.parent / "docs"
_PART = re.compile(r"(<!-- figures: generated -->\n).*?(<!-- end -->)", re.DOTALL)


def publish(figures: Sequence[Figure], load: float, minutes: float, docs: Path = _DOCS) -> None:
    """Put the figures into the page and draw the chart beside it.

    Args:
        figures: what was measured.
        load: processes that wanted a core, on average of the minutes before.
        minutes: how long the run took.
        docs: the folder of the page.
    """
    page = docs / "performance.md"
    part = f"{_where(load, minutes)}\n\n{as_markdown(figures)}\n"
    text, found = _PART.subn(lambda match: f"{match[1]}{part}{match[2]}", page.read_text(encoding="utf-8"))
    if not found:
        raise ValueError(f"{page} has no place for the figures.")
    page.write_text(text, encoding="utf-8")
    (docs / "performance.svg").write_text(as_svg(figures), encoding="utf-8")


def _where(load: float, minutes: float) -> str:
    now = f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC"
    return (
        f"Measured on {now}, on {os.cpu_count()} cores with Python {platform.python_version()}, "
        f"in {minutes:.0f} minutes. Before it began, {load:.1f} processes of others wanted a core, "
        "on average of five minutes."
    )
