"""From an answer to a thread that was paused after 200 rounds until the step that waited is entered again."""

from collections.abc import Iterator

from benchmarks.driver import OURS, Side, told_by
from benchmarks.figures import Figure, spread
from benchmarks.script import Job

_ROUNDS = 200
_THREADS = 7
_GOAL_MS = 15.0
_SIZES = (1_000, 100_000)
"""Bytes of a result."""


def measure() -> Iterator[Figure]:
    """Yield the time in a new process, its first answer left out."""
    for size in _SIZES:
        with Side(OURS) as side:
            side.run(Job(rounds=_ROUNDS, size=size, runs=_THREADS + 1, asks=True))
            side.close()
            threads = [f"job1-{number}" for number in range(_THREADS + 1)]
            waits = told_by("resume", side.folder, str(side.folder), str(_ROUNDS), *threads)
        yield Figure(
            name=f"resume after {_ROUNDS} rounds of {size // 1_000} KB: until the waiting step is entered",
            value=spread([wait * 1_000 for wait in waits[1:]]),
            unit="ms",
            goal=_GOAL_MS,
            kind="wall",
            note=f"a process's first: {waits[0] * 1_000:.0f} ms",
        )
