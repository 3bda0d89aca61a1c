"""What threads that wait for a person cost the process, and ten thousand of them in one database."""

from collections.abc import Iterator

from benchmarks.driver import OURS, STOCK, Side, UnequalWorkError, started, told_by
from benchmarks.figures import Figure, exact, exponent
from benchmarks.script import Job

_BATCH = 1_000
_BATCHES = {OURS: 10, STOCK: 3}
_PAUSING = Job(rounds=1, runs=_BATCH, asks=True)
_LIVE = Job(rounds=1, runs=300, tool_s=5.0)


def measure() -> Iterator[Figure]:
    """Yield the memory of a paused and of a live thread, and the time to list and to answer many."""
    with started([OURS, STOCK]) as sides:
        few, held = _paused(sides[OURS], OURS)
        stock = _paused(sides[STOCK], STOCK)[1]
        many = _told(sides[OURS], _BATCHES[OURS] * _BATCH - 1)
    yield Figure(
        name="memory of a paused thread",
        value=exact(held),
        unit="KB",
        goal=6,
        kind="count",
        note=f"{STOCK}: {stock:.1f} KB; resident memory from {_BATCH:,} threads on",
    )
    live = {name: _live_kb(name) for name in (OURS, STOCK)}
    yield Figure(
        name="memory of a thread while its tool runs, at the peak",
        value=exact(live[OURS]),
        unit="KB",
        kind="count",
        note=f"{STOCK}: {live[STOCK]:.0f} KB; {_LIVE.runs} at once",
    )
    yield Figure(
        name=f"{_BATCHES[OURS] * _BATCH:,} paused threads: list them in a new process",
        value=exact(many["list_s"]),
        unit="s",
        kind="wall",
        note=f"{few['list_s']:.2f} s for {_BATCH:,}; holds {many['held_kb'] / 1_000:.0f} MB",
    )
    yield Figure(
        name=f"growth exponent {_BATCH:,} to {_BATCHES[OURS] * _BATCH:,} paused threads: time to list them",
        value=exact(exponent(few["list_s"], many["list_s"], many["waiting"] / few["waiting"])),
        unit="",
        goal=1.05,
        kind="wall",
    )
    yield Figure(
        name=f"{_BATCHES[OURS] * _BATCH:,} paused threads: answer one, to the turn's end",
        value=exact(many["resume_s"] * 1_000),
        unit="ms",
        kind="wall",
        note=f"{few['resume_s'] * 1_000:.0f} ms among {_BATCH:,}",
    )


def _paused(side: Side, name: str) -> tuple[dict[str, float], float]:
    """Pause threads; return what a look at the first of ours told, and the KB that each one after cost."""
    first = side.run(_PAUSING)
    told = _told(side, _BATCH) if name == OURS else {}
    others = [side.run(_PAUSING) for _ in range(_BATCHES[name] - 1)]
    return told, (others[-1].resident_kb - first.resident_kb) / (len(others) * _BATCH)


def _told(side: Side, expected: int) -> dict[str, float]:
    """Look in from another process; each look answers one."""
    told: dict[str, float] = told_by("pending", side.folder, str(side.folder))
    if told["waiting"] != expected:
        raise UnequalWorkError(f"{told['waiting']} threads wait where {expected} should.")
    return told


def _live_kb(name: str) -> float:
    with started([name]) as sides:
        before = sides[name].run(Job(rounds=3)).resident_kb
        return (sides[name].run(_LIVE).peak_kb - before) / _LIVE.runs
