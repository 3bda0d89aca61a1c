"""A figure beside its goal, the few statistics it takes, and the table of all."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

TIMES = "x"
"""The unit of a ratio."""


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    low: float
    middle: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the quartiles of measurements."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, middle, high)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the ratio of each measurement to the one taken beside it."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def exponent(few: float, many: float, times: float) -> float:
    """Return the power by which a quantity grows where its cause grows that many times: 1 is linear."""
    return math.log(many / few) / math.log(times)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table."""

    name: str
    value: Spread
    unit: str
    """TIMES for a ratio; empty for a bare number."""
    goal: float | None = None
    """None: told for comparison."""
    better: Literal["less", "more"] = "less"
    kind: Literal["cpu", "wall", "count"]
    """What it is made of; wall-clock figures need a quiet machine, counts need none."""
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.value.middle <= self.goal if self.better == "less" else self.value.middle >= self.goal


def exact(value: float) -> Spread:
    """Return what was counted, not sampled."""
    return Spread(value, value, value)


def as_markdown(figures: Sequence[Figure]) -> str:
    """Return the figures as a table: goal and figure side by side."""
    heading = ("figure", "goal", "measured", "quartiles", "holds", "from", "in absolute terms")
    rows = (heading, ("---",) * len(heading), *(_row(figure) for figure in figures))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(figure: Figure) -> tuple[str, ...]:
    spread, sign = figure.value, "≤" if figure.better == "less" else "≥"
    return (
        figure.name,
        "" if figure.goal is None else f"{sign} {_number(figure.goal)} {figure.unit}".strip(),
        f"{_number(spread.middle)} {figure.unit}".strip(),
        f"{_number(spread.low)}-{_number(spread.high)}" if spread.low != spread.high else "",
        {True: "yes", False: "NO", None: ""}[figure.holds],
        figure.kind,
        figure.note,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 (three digits are enough)
