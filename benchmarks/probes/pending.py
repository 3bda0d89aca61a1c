"""List what waits in a directory that another process has filled, and answer the first of it."""

import asyncio
import json
import sys
import time
from pathlib import Path

from benchmarks.script import ANSWER, Job, script
from benchmarks.sides.ours import furnish
from benchmarks.worker import resident_kb
from graphs.session import open_orchestrator


async def _main(directory: Path) -> None:
    script.begin(Job(rounds=1, asks=True))
    async with open_orchestrator(furnish(directory)) as orchestrator:
        before = resident_kb()
        started = time.perf_counter()
        waiting = await orchestrator.pending()
        listed = time.perf_counter()
        result = await orchestrator.resume(waiting[0]["thread_id"], answer=False)
        ended = time.perf_counter()
        if result.response != ANSWER:
            raise AssertionError(result)
        told = {
            "waiting": len(waiting),
            "list_s": listed - started,
            "resume_s": ended - listed,
            "held_kb": resident_kb() - before,
        }
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
