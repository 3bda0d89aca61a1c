"""Run the benchmarks, all or those that are named, and print goal and figure side by side.

A run of all of them is written into docs/performance.md.
"""

import argparse
import importlib
import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Figure, as_markdown

SCENARIOS = ("rounds", "first_token", "start", "resume", "disk", "crowd", "postgres", "week")
_DOCS = Path(__file__).parent.parent / "docs"


def main(arguments: Sequence[str]) -> None:
    """Measure the scenarios named on the command line; none: all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[[], *SCENARIOS], default=[])
    named = parser.parse_args(arguments).scenario
    load, started = os.getloadavg()[1], time.monotonic()
    figures = [figure for name in named or SCENARIOS for figure in measured(name)]
    print(as_markdown(figures))
    if not named:
        publish(figures, load, (time.monotonic() - started) / 60)


def measured(name: str) -> list[Figure]:
    """Run one scenario."""
    started = time.monotonic()
    figures = list(importlib.import_module(f"benchmarks.scenarios.{name}").measure())
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    return figures


def publish(figures: Sequence[Figure], load: float, minutes: float, docs: Path = _DOCS) -> None:
    """Put the figures into docs/performance.md, with when and where they were measured.

    Args:
        figures: what was measured.
        load: processes that wanted a core, on average of the minutes before.
        minutes: how long the run took.
        docs: the folder of the page.
    """
    where = (
        f"Measured on {datetime.now(UTC):%d %B %Y, %H:%M} UTC, on {os.cpu_count()} cores with Python "
        f"{platform.python_version()}, in {minutes:.0f} minutes. Before it began, {load:.1f} processes of "
        "others wanted a core, on average of five minutes."
    )
    put("performance.md", "figures", f"{where}\n\n{as_markdown(figures)}", docs)


def put(name: str, part: str, text: str, docs: Path = _DOCS) -> None:
    """Put a text into the part of a page that is marked as generated.

    Raises:
        ValueError: it has no such part.
    """
    page = docs / name
    marked = re.compile(rf"(<!-- {part}: generated -->\n).*?(<!-- end -->)", re.DOTALL)
    whole, found = marked.subn(
        lambda match: f"{match[1]}{text}\n{match[2]}", page.read_text(encoding="utf-8")
    )
    if not found:
        raise ValueError(f"{page} has no place for the {part}.")
    page.write_text(whole, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
