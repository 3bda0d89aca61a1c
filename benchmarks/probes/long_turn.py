"""One long turn of ours with a real client at a wire and results of a size: what was sent is what it heard.

The arguments are the thread's name and the bytes of a result.
"""

import asyncio
import json
import sys

from benchmarks.script import REQUEST, Job, as_json, script
from benchmarks.sides.ours import equip
from graphs.session import open_orchestrator
from nodes.context import Context


async def _main(thread: str, size: int) -> None:
    equip()
    script.begin(Job(size=size))
    async with open_orchestrator() as orchestrator:
        context = Context(path="single", max_rounds=1_000)
        result = await orchestrator.ask(REQUEST, thread_id=thread, context=context)
    print(json.dumps({**as_json(script.work), "answer": result.response}))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
