"""Run the benchmarks, all or those that are named, and print goal and figure side by side."""

import argparse
import importlib
import sys
import time
from collections.abc import Sequence

from benchmarks.figures import Figure
from benchmarks.table import as_text

SCENARIOS = ("rounds", "parallel", "first_token", "start", "crowd", "disk")


def main(arguments: Sequence[str]) -> None:
    """Measure the scenarios named on the command line; none: all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[[], *SCENARIOS], default=[])
    names = parser.parse_args(arguments).scenario or SCENARIOS
    figures = [figure for name in names for figure in measured(name)]
    print(as_text(figures))


def measured(name: str) -> list[Figure]:
    """Run one scenario."""
    started = time.monotonic()
    figures = list(importlib.import_module(f"benchmarks.scenarios.{name}").measure())
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    return figures


if __name__ == "__main__":
    main(sys.argv[1:])
