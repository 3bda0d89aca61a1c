"""A thousand conversations at once in one process: how many a second, and how long the last ones take."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.driver import OURS, STOCK, interleaved, started
from benchmarks.figures import TIMES, Figure, exact, ratios, spread
from benchmarks.script import Job

_BUSY = Job(runs=1_000, rounds=5, calls=2, tool_s=0.02, model_s=0.05)
_IDLE = replace(_BUSY, tool_s=0.2, model_s=1.0, over_s=1.2)
_IDEAL_S = 7.0
"""Six model calls of 1 s and five rounds of 0.2 s."""
_SAMPLES = 2


def measure() -> Iterator[Figure]:
    """Yield ours against LangChain's in runs a second, and ours against the ideal at the 99th percentile."""
    with started([OURS, STOCK]) as sides:
        busy = interleaved(sides, _BUSY, _SAMPLES)
        idle = interleaved(sides, _IDLE, 1)
    rates = {name: [_BUSY.runs / report.wall_s for report in reports] for name, reports in busy.items()}
    yield Figure(
        name=f"1,000 runs at once: runs a second, ÷ {STOCK}",
        value=ratios(rates[OURS], rates[STOCK]),
        unit=TIMES,
        goal=2.5,
        better="more",
        kind="wall",
        note=f"{spread(rates[OURS]).middle:,.0f} against {spread(rates[STOCK]).middle:,.0f} runs a second",
    )
    cpu = {name: [report.cpu_s for report in reports] for name, reports in busy.items()}
    yield Figure(
        name=f"1,000 runs at once: CPU, ÷ {STOCK}",
        value=ratios(cpu[OURS], cpu[STOCK]),
        unit=TIMES,
        kind="cpu",
        note=f"{spread(cpu[OURS]).middle:.1f} against {spread(cpu[STOCK]).middle:.1f} s",
    )
    tails = {name: _percentile_99(reports[0].latencies) for name, reports in idle.items()}
    yield Figure(
        name="1,000 runs started over 1.2 s, 1 s model: p99 ÷ ideal 7.0 s",
        value=exact(tails[OURS] / _IDEAL_S),
        unit=TIMES,
        goal=1.1,
        kind="wall",
        note=f"{tails[OURS]:.2f} s; {STOCK}: {tails[STOCK]:.2f} s",
    )


def _percentile_99(latencies: list[float]) -> float:
    return sorted(latencies)[len(latencies) * 99 // 100 - 1]
