"""Run the benchmarks, all or those that are named, and print goal and figure side by side.

A run of all of them is written into docs/performance.md, with its chart.
"""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Sequence

from benchmarks.figures import Figure
from benchmarks.page import publish
from benchmarks.table import as_text

SCENARIOS = (
    *("rounds", "parallel", "first_token", "start", "resume", "tokens"),
    *("disk", "crowd", "paused", "bad_input"),
)


def main(arguments: Sequence[str]) -> None:
    """Measure the scenarios named on the command line; none: all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[[], *SCENARIOS], default=[])
    named = parser.parse_args(arguments).scenario
    load, started = os.getloadavg()[1], time.monotonic()
    figures = [figure for name in named or SCENARIOS for figure in measured(name)]
    print(as_text(figures))
    if not named:
        publish(figures, load, (time.monotonic() - started) / 60)


def measured(name: str) -> list[Figure]:
    """Run one scenario."""
    started = time.monotonic()
    figures = list(importlib.import_module(f"benchmarks.scenarios.{name}").measure())
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    return figures


if __name__ == "__main__":
    main(sys.argv[1:])
