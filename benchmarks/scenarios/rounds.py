"""CPU of one safe round, with one call of 1 KB, at 20 and at 200 rounds."""

from collections.abc import Iterator

from benchmarks.driver import FLOOR, OURS, STOCK, Report, interleaved, started
from benchmarks.figures import TIMES, Figure, ratios, spread
from benchmarks.script import Job

_SAMPLES = {20: 15, 200: 7}


def measure() -> Iterator[Figure]:
    """Yield ours against LangChain's at 20 and 200 rounds, against the floor, and against itself."""
    with started([OURS, STOCK, FLOOR]) as sides:
        short = interleaved(sides, Job(rounds=20), _SAMPLES[20])
        pair = {name: sides[name] for name in (OURS, STOCK)}
        long: dict[str, list[Report]] = {OURS: [], STOCK: []}
        beside: list[Report] = []
        for _ in range(_SAMPLES[200]):
            beside.append(sides[OURS].run(Job(rounds=20)))
            for name, side in pair.items():
                long[name].append(side.run(Job(rounds=200)))
    for name in (STOCK, FLOOR):
        yield Figure(
            name=f"CPU per round at 20 rounds, ÷ {name}",
            value=ratios(_cpu(short[OURS], 20), _cpu(short[name], 20)),
            unit=TIMES,
            goal=0.45 if name == STOCK else None,
            kind="cpu",
            note=f"{_told(short[OURS], 20)} against {_told(short[name], 20)}",
        )
    yield Figure(
        name=f"CPU per round at 200 rounds, ÷ {STOCK}",
        value=ratios(_cpu(long[OURS], 200), _cpu(long[STOCK], 200)),
        unit=TIMES,
        kind="cpu",
        note=f"{_told(long[OURS], 200)} against {_told(long[STOCK], 200)}",
    )
    yield Figure(
        name="CPU per round at 200 rounds, ÷ ours at 20",
        value=ratios(_cpu(long[OURS], 200), _cpu(beside, 20)),
        unit=TIMES,
        goal=1.05,
        kind="cpu",
        note=f"{_told(long[OURS], 200)} against {_told(beside, 20)}",
    )


def _cpu(reports: list[Report], rounds: int) -> list[float]:
    """Return the microseconds of CPU per round, the turn's beginning and end included."""
    return [report.cpu_s / rounds * 1e6 for report in reports]


def _told(reports: list[Report], rounds: int) -> str:
    return f"{spread(_cpu(reports, rounds)).middle:,.0f} µs"
