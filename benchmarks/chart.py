"""Draw how far each figure is from its goal: its median and quartiles on a logarithmic scale."""

import math
from collections.abc import Sequence
from html import escape

from benchmarks.figures import Figure
from benchmarks.table import goal_of, measured

_NAMES, _PLOT, _VALUES, _ROW, _TOP = 520, 260, 200, 22, 46
"""Pixels: the width of the three columns, the height of a row, and where the first begins."""
_LEAST, _MOST = 0.01, 10.0
"""Of the goal: the ends of the scale; what is beyond stands at its end."""
_HELD, _MISSED = "#20744e", "#b3261e"


def as_svg(figures: Sequence[Figure]) -> str:
    """Return a drawing of the figures that have a goal other than nought, those that miss it last."""
    drawn = sorted((f for f in figures if f.goal), key=lambda figure: not figure.holds)
    height = _TOP + _ROW * len(drawn) + 10
    width = _NAMES + _PLOT + _VALUES
    rows = [line for number, figure in enumerate(drawn) for line in _row(figure, _TOP + _ROW * number)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        'font-family="sans-serif" font-size="12" role="img" aria-label="Each figure beside its goal">'
    )
    return "\n".join(
        [
            head,
            f'<rect width="{width}" height="{height}" fill="white"/>',
            *_scale(height),
            *rows,
            "</svg>\n",
        ]
    )


def _scale(height: int) -> list[str]:
    lines = [_text(_NAMES + _PLOT / 2, 16, "measured ÷ goal: left of 1 it holds", "middle")]
    for mark in (0.01, 0.1, 1, 10):
        x = _x(mark)
        color = "#444" if mark == 1 else "#ddd"
        lines.append(f'<line x1="{x}" y1="{_TOP - 8}" x2="{x}" y2="{height - 6}" stroke="{color}"/>')
        lines.append(_text(x, _TOP - 14, f"{mark:g}", "middle"))
    return lines


def _row(figure: Figure, top: int) -> list[str]:
    y = top + _ROW / 2
    color = _HELD if figure.holds else _MISSED
    low, middle, high = (_x(_share(figure, value)) for value in _spread(figure))
    shape = (
        f'<circle cx="{middle}" cy="{y}" r="5" fill="{color}"/>'
        if figure.holds
        else f'<rect x="{middle - 5}" y="{y - 5}" width="10" height="10" fill="{color}"/>'
    )
    return [
        _text(_NAMES - 12, y + 4, figure.name, "end"),
        f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke="{color}" stroke-width="2"/>',
        shape,
        _text(_NAMES + _PLOT + 12, y + 4, f"{measured(figure)}, goal {goal_of(figure)}", "start", color),
    ]


def _spread(figure: Figure) -> tuple[float, float, float]:
    return figure.value.low, figure.value.middle, figure.value.high


def _share(figure: Figure, value: float) -> float:
    """Return a value in parts of its goal, turned round where more is better."""
    assert figure.goal  # noqa: S101 (for the type checker)
    if figure.better == "less":
        return value / figure.goal
    return figure.goal / value if value else _MOST


def _x(share: float) -> float:
    part = math.log(min(max(share, _LEAST), _MOST) / _LEAST) / math.log(_MOST / _LEAST)
    return round(_NAMES + part * _PLOT, 1)


def _text(x: float, y: float, words: str, anchor: str, color: str = "#222") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{color}">{escape(words)}</text>'
