"""Answer threads that another process has paused; tell how soon the step that waited was entered again."""

import asyncio
import json
import sys
import time
from functools import wraps
from pathlib import Path
from typing import Any

import nodes.confirm
from benchmarks.script import Job, script

_entered: list[float] = []
_confirm = nodes.confirm.confirm


@wraps(_confirm)
async def _noted(*given: Any, **named: Any) -> Any:
    _entered.append(time.perf_counter())
    return await _confirm(*given, **named)


async def _main(directory: Path, rounds: int, threads: list[str]) -> None:
    setattr(nodes.confirm, "confirm", _noted)  # noqa: B010 (before the graph is drawn with it)
    from benchmarks.sides.ours import furnish
    from graphs.session import open_orchestrator

    script.begin(Job(rounds=rounds))
    waits = []
    async with open_orchestrator(furnish(directory)) as orchestrator:
        for thread in threads:
            _entered.clear()
            started = time.perf_counter()
            await orchestrator.resume(thread, answer=False)
            waits.append(_entered[0] - started)
    print(json.dumps(waits))


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
