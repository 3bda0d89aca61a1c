"""A thread of 10,000 rounds, a result of 50 MB, a slow disk."""

from collections.abc import Iterator

from benchmarks.driver import OURS, STOCK, Report, Side, interleaved, started
from benchmarks.figures import TIMES, Figure, exact, exponent, ratios, spread
from benchmarks.script import Job

_TURN = 500
"""Rounds of each turn: [limits] allows 1,000."""
_FEW, _MANY = 1_000, 10_000
_LARGE = 50_000_000
_SLOW_S = 0.02


def measure() -> Iterator[Figure]:
    """Yield the growth of a very long thread, the cost of a huge result, and ours on a slow disk."""
    yield from _long_thread()
    yield from _huge_result()
    yield from _slow_disk()


def _long_thread() -> Iterator[Figure]:
    few, many = (_thread(rounds) for rounds in (_FEW, _MANY))
    per_round = {rounds: report.cpu_s / rounds * 1_000 for rounds, report in ((_FEW, few), (_MANY, many))}
    yield Figure(
        name=f"growth exponent {_FEW:,} to {_MANY:,} rounds of a thread: CPU time",
        value=exact(exponent(few.cpu_s, many.cpu_s, _MANY / _FEW)),
        unit="",
        goal=1.05,
        kind="cpu",
        note=f"{per_round[_FEW]:.1f} and {per_round[_MANY]:.1f} ms a round",
    )
    yield Figure(
        name=f"memory at the peak of a thread of {_MANY:,} rounds",
        value=exact(many.peak_kb / 1_000),
        unit="MB",
        kind="count",
        note=f"{few.peak_kb / 1_000:.0f} MB with {_FEW:,} rounds",
    )


def _thread(rounds: int) -> Report:
    with started([OURS]) as sides:
        return sides[OURS].run(Job(rounds=_TURN, turns=rounds // _TURN))


def _huge_result() -> Iterator[Figure]:
    with Side(OURS) as side:
        before = side.run(Job(rounds=3)).peak_kb
        report = side.run(Job(rounds=1, size=_LARGE))
        side.close()
    yield Figure(
        name="a result of 50 MB: bytes kept on disk, ÷ the result",
        value=exact(side.kept / _LARGE),
        unit=TIMES,
        goal=1.15,
        kind="count",
        note=f"{report.wall_s:.1f} s, {report.cpu_s:.1f} s of CPU",
    )
    yield Figure(
        name="a result of 50 MB: memory at the peak, ÷ the result",
        value=exact((report.peak_kb - before) * 1_000 / _LARGE),
        unit=TIMES,
        kind="count",
        note=f"{report.peak_kb / 1_000:.0f} MB",
    )


def _slow_disk() -> Iterator[Figure]:
    """Each commit and each sync takes 20 ms more: see `benchmarks.worker`."""
    with started([OURS, STOCK], SLOW_COMMIT_S=str(_SLOW_S)) as sides:
        alone = interleaved(sides, Job(rounds=10), 3)
        crowd = interleaved(sides, Job(rounds=2, runs=50), 3)
    for what, reports, rounds in (("one conversation", alone, 10), ("50 at once", crowd, 100)):
        took = {name: [report.wall_s / rounds * 1_000 for report in reports[name]] for name in reports}
        yield Figure(
            name=f"slow disk, {_SLOW_S * 1_000:.0f} ms more a commit, {what}: time per round, ÷ {STOCK}",
            value=ratios(took[OURS], took[STOCK]),
            unit=TIMES,
            kind="wall",
            note=f"{spread(took[OURS]).middle:,.0f} against {spread(took[STOCK]).middle:,.0f} ms",
        )
