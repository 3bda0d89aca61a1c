"""Postgres in place of SQLite's files: what a round costs, two processes, a way of 3 ms."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.driver import OURS, Report, Side
from benchmarks.figures import TIMES, Figure, exact, ratios, spread
from benchmarks.script import Job
from ledger.ledger import Ledger
from tests.behaviour.database.proxy import relay
from tests.ledger.samples import call, claim, finish
from tests.postgres import database, server

_SAMPLES = 5
_ROUNDS = Job(rounds=20)
_CROWD = Job(runs=60, rounds=3, calls=1)
_CLAIMS = 100
_LATENCY_S = 0.003


def measure() -> Iterator[Figure]:
    """Yield Postgres against SQLite, two workers against one, and claims a second on each way."""
    with ExitStack() as stack:
        url = stack.enter_context(database(stack.enter_context(server())))
        passing, far = stack.enter_context(relay(url))
        passing.latency_s = _LATENCY_S
        place = Path(stack.enter_context(TemporaryDirectory())) / "ledger.db"
        files = stack.enter_context(Side(OURS))
        near = [stack.enter_context(Side(OURS, TWOBRAIN_DATABASE_URL=url)) for _ in range(2)]
        away = [stack.enter_context(Side(OURS, TWOBRAIN_DATABASE_URL=far)) for _ in range(2)]
        for side in (files, *near, *away):
            side.run(Job(rounds=3))
        yield from _rounds(files, near[0], away[0])
        yield _workers("Postgres on loopback", near, 1.7)
        yield _workers("with 3 ms to it", away, None)
        for name, where in (("SQLite", place), ("Postgres on loopback", url), ("with 3 ms to it", far)):
            yield from asyncio.run(_claims(name, where))


def _rounds(files: Side, near: Side, away: Side) -> Iterator[Figure]:
    """Yield CPU and time of a round, beside SQLite's."""
    taken: dict[str, list[Report]] = {"files": [], "near": [], "away": []}
    for _ in range(_SAMPLES):
        for name, side in (("files", files), ("near", near), ("away", away)):
            taken[name].append(side.run(_ROUNDS))
    cpu = {name: [each.cpu_s / 20 * 1e3 for each in reports] for name, reports in taken.items()}
    wall = {name: [each.wall_s / 20 * 1e3 for each in reports] for name, reports in taken.items()}
    yield Figure(
        name="Postgres: CPU per round at 20 rounds, ÷ SQLite",
        value=ratios(cpu["near"], cpu["files"]),
        unit=TIMES,
        kind="cpu",
        note=_beside(cpu["near"], cpu["files"]),
    )
    for name, where in (("near", "Postgres on loopback"), ("away", "Postgres with 3 ms to it")):
        yield Figure(
            name=f"{where}: time of a round, ÷ SQLite",
            value=ratios(wall[name], wall["files"]),
            unit=TIMES,
            kind="wall",
            note=_beside(wall[name], wall["files"]),
        )


def _workers(where: str, sides: Sequence[Side], goal: float | None) -> Figure:
    """Return the runs a second of two processes against those of one."""
    one, two = [], []
    with ThreadPoolExecutor(2) as threads:
        for _ in range(_SAMPLES):
            one.append(_CROWD.runs / sides[0].run(_CROWD).wall_s)
            began = time.monotonic()
            list(threads.map(lambda side: side.run(_CROWD), sides))
            two.append(2 * _CROWD.runs / (time.monotonic() - began))
    return Figure(
        name=f"runs a second, {where}: two workers ÷ one",
        value=ratios(two, one),
        unit=TIMES,
        goal=goal,
        better="more",
        kind="wall",
        note=f"{spread(two).middle:,.0f} against {spread(one).middle:,.0f} runs a second",
    )


async def _claims(where: str, place: Path | str) -> Iterator[Figure]:
    """Return how many calls a second are entered, claimed and finished."""
    ledger = await Ledger.open(place)

    async def one(name: str) -> None:
        await claim(ledger, call(name, path=name))
        await finish(ledger, call(name, path=name))

    began = time.monotonic()
    for n in range(_CLAIMS):
        await one(f"one{n}")
    alone = _CLAIMS / (time.monotonic() - began)
    began = time.monotonic()
    await asyncio.gather(*(one(f"many{n}") for n in range(_CLAIMS)))
    together = _CLAIMS / (time.monotonic() - began)
    await ledger.close()
    return iter(
        Figure(name=f"calls a second in the ledger, {where}, {how}", value=exact(rate), unit="", kind="wall")
        for how, rate in (("one at a time", alone), ("100 at once", together))
    )


def _beside(ours: Sequence[float], theirs: Sequence[float]) -> str:
    return f"{spread(ours).middle:.1f} against {spread(theirs).middle:.1f} ms"
