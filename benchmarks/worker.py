"""A side's process: does one job after another as its standard input says, and reports what each cost.

Only the standard library. A line in is a job as JSON; a line out is its report; the end of the input ends it,
with a last line that says what is on disk once everything is closed.
"""

import asyncio
import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TextIO

from benchmarks.script import ANSWER, REQUEST, WAITING, Job, as_json, script

Converse = Callable[[str, str], Awaitable[str]]
"""Runs a conversation of that thread and request to its answer, and returns the answer."""
Open = Callable[[Path], AbstractAsyncContextManager[Converse]]
"""Opens a side on the files of a directory."""


def serve(open_side: Open) -> None:
    """Serve jobs until the input ends; the directory of the side's files is the first argument."""
    with _channel() as out:
        asyncio.run(_serve(open_side, Path(sys.argv[1]), out))


@contextlib.contextmanager
def _channel() -> Any:
    """Keep standard output for reports: whatever else is printed goes to standard error."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        yield out


async def _serve(open_side: Open, directory: Path, out: TextIO) -> None:
    async with _closing(open_side, directory, out) as converse:
        print(json.dumps({"ready": True}), file=out, flush=True)
        served = 0
        while line := await asyncio.to_thread(sys.stdin.readline):
            served += 1
            report = await _measured(converse, Job(**json.loads(line)), f"job{served}-{os.getpid()}")
            print(json.dumps(report), file=out, flush=True)


@contextlib.asynccontextmanager
async def _closing(open_side: Open, directory: Path, out: TextIO) -> AsyncIterator[Converse]:
    before = _written_bytes()
    async with open_side(directory) as converse:
        yield converse
    print(json.dumps({"kept": _kept(directory), "written": _written_bytes() - before}), file=out, flush=True)


async def _measured(converse: Converse, job: Job, name: str) -> dict[str, Any]:
    script.begin(job)
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    runs = (_one(converse, f"{name}-{n}", wall + job.over_s * n / job.runs) for n in range(job.runs))
    latencies = await asyncio.gather(*runs)
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "latencies": latencies,
        "work": as_json(script.work),
    }


async def _one(converse: Converse, thread: str, start: float) -> float:
    """Run one conversation and return the seconds from its planned start until its answer."""
    await asyncio.sleep(max(0.0, start - time.perf_counter()))
    answer = await converse(thread, REQUEST)
    if answer != (WAITING if script.job.asks else ANSWER):
        raise AssertionError(f"{thread} ended with {answer!r}")
    return time.perf_counter() - start


def _kept(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _written_bytes() -> int:
    """Return the bytes this process has passed to the kernel to write."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))
