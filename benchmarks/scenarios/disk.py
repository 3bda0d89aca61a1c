"""What a conversation keeps and writes on disk, and how that grows from 50 to 200 rounds."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.driver import OURS, STOCK, Side
from benchmarks.figures import TIMES, Figure, exact, exponent
from benchmarks.script import Job

_FEW, _MANY = 50, 200
_GROWTH = 1.05
_GOALS = {1_000: 4.0, 100_000: 1.15}
"""Bytes of a result to the most bytes kept for each byte of the results."""


@dataclass(frozen=True)
class _Cost:
    kept: int
    written: int
    cpu_s: float


def measure() -> Iterator[Figure]:
    """Yield bytes kept after 200 rounds and the growth of what is kept, written and computed."""
    for size, goal in _GOALS.items():
        few, many = _conversation(OURS, _FEW, size), _conversation(OURS, _MANY, size)
        stock_few, stock = _conversation(STOCK, _FEW, size), _conversation(STOCK, _MANY, size)
        payload = _MANY * size
        label = f"results of {size // 1_000} KB"
        yield Figure(
            name=f"disk after {_MANY} rounds, {label}, ÷ payload",
            value=exact(many.kept / payload),
            unit=TIMES,
            goal=goal,
            kind="count",
            note=f"{STOCK}: {stock.kept / payload:,.0f}",
        )
        yield _growth(f"bytes kept, {label}", "count", (few.kept, many.kept), (stock_few.kept, stock.kept))
        yield _growth(
            f"bytes written, {label}",
            "count",
            (few.written, many.written),
            (stock_few.written, stock.written),
        )
        yield _growth(f"CPU time, {label}", "cpu", (few.cpu_s, many.cpu_s), (stock_few.cpu_s, stock.cpu_s))


def _conversation(name: str, rounds: int, size: int) -> _Cost:
    """Run one conversation in a process and files of its own."""
    with Side(name) as side:
        side.run(Job(rounds=1, size=size))
        report = side.run(Job(rounds=rounds, size=size))
        side.close()
        return _Cost(side.kept, side.written, report.cpu_s)


def _growth(what: str, kind: str, ours: tuple[float, float], stock: tuple[float, float]) -> Figure:
    return Figure(
        name=f"growth exponent {_FEW} to {_MANY} rounds: {what}",
        value=exact(exponent(*ours, _MANY / _FEW)),
        unit="",
        goal=_GROWTH,
        kind="cpu" if kind == "cpu" else "count",
        note=f"{STOCK}: {exponent(*stock, _MANY / _FEW):.2f}",
    )
