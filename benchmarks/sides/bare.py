"""The floor: a loop over a list in memory; no framework, no gate, nothing on disk."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.script import ANSWER, script
from benchmarks.worker import Converse, serve


async def _converse(_thread: str, request: str) -> str:
    messages = [{"role": "user", "content": request}]
    last = None
    while True:
        await script.think()
        calls = script.calls(last)
        if not calls:
            return ANSWER
        messages.append({"role": "assistant", "calls": ",".join(calls)})
        results = [{"role": "tool", "id": call, "content": await script.look_up()} for call in calls]
        messages.extend(results)
        last = calls[-1]


@asynccontextmanager
async def open_side(_directory: Path) -> AsyncIterator[Converse]:
    """Open nothing."""
    yield _converse


if __name__ == "__main__":
    serve(open_side)
