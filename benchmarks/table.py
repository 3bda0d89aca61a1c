"""Print figures as a table: goal and figure side by side."""

from collections.abc import Sequence

from benchmarks.figures import Figure


def rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """Return the table's cells, the heading first."""
    heading = ("figure", "goal", "measured", "quartiles", "holds", "from", "in absolute terms")
    return [heading, *(_row(figure) for figure in figures)]


def as_text(figures: Sequence[Figure]) -> str:
    """Return the table in columns for a terminal."""
    cells = rows(figures)
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(figures: Sequence[Figure]) -> str:
    """Return the table for a page."""
    heading, *others = rows(figures)
    lines = ["| " + " | ".join(row) + " |" for row in (heading, ("---",) * len(heading), *others)]
    return "\n".join(lines)


def goal_of(figure: Figure) -> str:
    """Return the goal with its unit; empty where there is none."""
    if figure.goal is None:
        return ""
    sign = "≤" if figure.better == "less" else "≥"
    return f"{sign} {_number(figure.goal)} {figure.unit}".strip()


def measured(figure: Figure) -> str:
    """Return the median with its unit."""
    return f"{_number(figure.value.middle)} {figure.unit}".strip()


def _row(figure: Figure) -> tuple[str, ...]:
    spread = figure.value
    return (
        figure.name,
        goal_of(figure),
        measured(figure),
        f"{_number(spread.low)}-{_number(spread.high)}" if spread.low != spread.high else "",
        {True: "yes", False: "NO", None: ""}[figure.holds],
        figure.kind,
        figure.note,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 (three digits are enough)
