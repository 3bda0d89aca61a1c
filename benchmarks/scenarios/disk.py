"""What a conversation keeps and writes on disk, and how that grows from 50 to 200 rounds."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.driver import OURS, STOCK, Side
from benchmarks.figures import TIMES, Figure, exact, exponent, spread
from benchmarks.script import Job

_FEW, _MANY = 50, 200
_SAMPLES = 3
_GROWTH = 1.05
_GROWING = {"bytes kept": "kept", "bytes written": "written", "CPU time": "cpu_s"}
_GOALS = {1_000: 8.0, 100_000: 1.15}
"""Bytes of a result to the most bytes kept for each byte of the results."""


@dataclass(frozen=True)
class _Cost:
    kept: int
    written: int
    cpu_s: float


def measure() -> Iterator[Figure]:
    """Yield bytes kept after 200 rounds and the growth of what is kept, written and computed."""
    for size, goal in _GOALS.items():
        pairs = [[_conversation(OURS, rounds, size) for rounds in (_FEW, _MANY)] for _ in range(_SAMPLES)]
        many = pairs[0][1]
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
        for what, attribute in _GROWING.items():
            yield Figure(
                name=f"growth exponent {_FEW} to {_MANY} rounds: {what}, {label}",
                value=spread([_growth(attribute, *pair) for pair in pairs]),
                unit="",
                goal=_GROWTH,
                kind="cpu" if attribute == "cpu_s" else "count",
                note=f"{STOCK}: {_growth(attribute, stock_few, stock):.2f}",
            )


def _conversation(name: str, rounds: int, size: int) -> _Cost:
    """Run one conversation in a process and files of its own."""
    with Side(name) as side:
        side.run(Job(rounds=1, size=size))
        report = side.run(Job(rounds=rounds, size=size))
        side.close()
        return _Cost(side.kept, side.written, report.cpu_s)


def _growth(attribute: str, few: _Cost, many: _Cost) -> float:
    return exponent(getattr(few, attribute), getattr(many, attribute), _MANY / _FEW)
