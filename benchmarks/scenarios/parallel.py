"""Eight and thirty-two calls of 100 ms in one round: from the planner's answer until it is asked again."""

from collections.abc import Iterator

from benchmarks.driver import OURS, STOCK, Report, interleaved, started
from benchmarks.figures import Figure, exact, spread
from benchmarks.script import Job

_GOALS_MS = {8: 110.0, 32: 120.0}
_KINDS = {"asynchronous": {}, "synchronous": {"BLOCKING": "1"}}
_SAMPLES = 5
_AT_ONCE = 4


def measure() -> Iterator[Figure]:
    """Yield the time of a round of each size, with asynchronous and with synchronous tools, and a limit."""
    for kind, environ in _KINDS.items():
        with started([OURS, STOCK], **environ) as sides:
            for calls, goal in _GOALS_MS.items():
                reports = interleaved(sides, Job(rounds=3, calls=calls, tool_s=0.1), _SAMPLES)
                yield Figure(
                    name=f"{calls} {kind} calls of 100 ms",
                    value=spread(_steps_ms(reports[OURS])),
                    unit="ms",
                    goal=goal,
                    kind="wall",
                    note=f"{STOCK}: {spread(_steps_ms(reports[STOCK])).middle:.0f} ms",
                )
    with started([OURS], AT_ONCE=str(_AT_ONCE)) as sides:
        report = sides[OURS].run(Job(rounds=1, calls=32, tool_s=0.1))
    yield Figure(
        name=f"32 calls with tools_at_once = {_AT_ONCE}: most at work at once",
        value=exact(report.busiest),
        unit="",
        goal=_AT_ONCE,
        kind="count",
        note=f"{_steps_ms([report])[0]:.0f} ms in all",
    )


def _steps_ms(reports: list[Report]) -> list[float]:
    return [step * 1_000 for report in reports for step in report.steps]
