"""Show where the CPU time of a round of ours goes: by superstep, by our own functions, by library.

`python -m benchmarks.profile_round --rounds 20 --turns 40`; with `--calls`, each function of the event loop's
thread by its own time and its calls, which takes longer and weighs small functions too heavily.
"""

import argparse
import asyncio
import cProfile
import pstats
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType

from benchmarks.sampling import Sampler
from benchmarks.script import REQUEST, Job, script
from benchmarks.sides.ours import open_side
from graphs.shadowing import CHECKOUT

_STEPS = ("intake", "plan", "execute_tools", "explain", "confirm", "respond")
_BETWEEN = "langgraph between steps"
_TOP = 25


def main() -> None:
    """Profile and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--size", type=int, default=1_000, help="bytes of each result")
    parser.add_argument(
        "--calls", action="store_true", help="count every call instead of looking now and then"
    )
    given = parser.parse_args()
    if given.calls:
        _count_calls(Job(rounds=given.rounds, size=given.size), given.turns)
        return
    rounds = given.rounds * given.turns
    sampler = Sampler(_place)
    spent = asyncio.run(_run(sampler.looking(), Job(rounds=given.rounds, size=given.size), given.turns))
    print(
        f"{given.turns} turns of {given.rounds} rounds; CPU of a round, looked at: {_us(spent, rounds)} µs\n"
    )
    for title, column in (("superstep", 0), ("our function, with what it calls", 1), ("library", 2)):
        _print(title, sampler.seconds, column, rounds)


def _count_calls(job: Job, turns: int) -> None:
    profile = cProfile.Profile(time.thread_time)
    asyncio.run(_run(_profiling(profile), job, turns))
    pstats.Stats(profile).sort_stats("tottime").print_stats(_TOP * 2)


@contextmanager
def _profiling(profile: cProfile.Profile) -> Iterator[None]:
    profile.enable()
    try:
        yield
    finally:
        profile.disable()


async def _run(watching: AbstractContextManager[None], job: Job, turns: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        async with open_side(Path(folder)) as converse:
            script.begin(Job(rounds=5))
            await converse("warm", REQUEST)
            script.begin(job)
            started = time.process_time()
            with watching:
                for turn in range(turns):
                    await converse(f"turn{turn}", REQUEST)
            return time.process_time() - started


def _place(thread: str, frame: FrameType | None) -> tuple[str, ...]:
    if frame is None:
        name = f"thread {re.sub('[-_ ]?[0-9].*$', '', thread)}"
        return name, name, name
    files = [(f.f_code.co_filename, f.f_code.co_name) for f in _outwards(frame)]
    ours = next((_named(file, name) for file, name in files if _is_ours(file)), "none of ours")
    return _step(files), ours, _library(files[0][0])


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame:
        yield frame
        frame = frame.f_back


def _step(files: list[tuple[str, str]]) -> str:
    for file, name in files:
        path = Path(file)
        if path.parent.name == "nodes" and name == path.stem and name in _STEPS:
            return name
        if path.name == "routes.py" and _is_ours(file):
            return "routes"
        if path.name == "session.py" and _is_ours(file):
            return _BETWEEN if _library(files[0][0]) != "ours" else "session"
    return "event loop" if not any("langgraph" in file for file, _ in files) else _BETWEEN


def _is_ours(file: str) -> bool:
    inside = file.startswith(str(CHECKOUT)) and "site-packages" not in file
    return inside and "/benchmarks/" not in file


def _named(file: str, name: str) -> str:
    return f"{'.'.join(Path(file).relative_to(CHECKOUT).with_suffix('').parts)}.{name}"


def _library(file: str) -> str:
    if _is_ours(file):
        return "ours"
    if found := re.search(r"site-packages/([^/]+)", file):
        return found[1].removesuffix(".py")
    return Path(file).stem if "/benchmarks/" not in file else "benchmarks"


def _print(title: str, seconds: Counter[tuple[str, ...]], column: int, rounds: int) -> None:
    sums: Counter[str] = Counter()
    for place, spent in seconds.items():
        sums[place[column]] += spent
    total = sum(sums.values())
    print(f"{'µs a round':>10}  {'share':>5}  {title}")
    for name, spent in sums.most_common(_TOP):
        print(f"{_us(spent, rounds):>10}  {spent / total:>5.0%}  {name}")
    print()


def _us(seconds: float, rounds: int) -> str:
    return f"{seconds / rounds * 1e6:,.0f}"


if __name__ == "__main__":
    main()
