"""Worker threads: what waits for minutes leaves room for what works."""

import asyncio
import time

from base.worker_threads import MOST_THREADS, in_thread, is_cancelled


def wait():
    while not is_cancelled():
        time.sleep(0.01)


async def test_however_many_inboxes_are_waited_for_a_tool_finds_a_thread():
    waiting = [asyncio.create_task(in_thread(wait, waits=True)) for _ in range(MOST_THREADS + 2)]
    assert await asyncio.wait_for(in_thread(lambda: "done"), 10) == "done"
    for task in waiting:
        task.cancel()
    ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    assert await asyncio.wait_for(in_thread(lambda: "done", waits=True), 10) == "done"
