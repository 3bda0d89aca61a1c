"""Whether a process is still there, told by the kernel: one that was killed is there until it gets to it."""

import asyncio
import os
import select
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from base.processes import Output, run

LINGERING = "sleep 60 & echo $! > child; echo > begun; wait"
_LONG_ENOUGH_S = 5.0


def is_running(process: int, within_s: float = 0.0) -> bool:
    """Tell whether a process goes on; zombies do not.

    Args:
        process: its id.
        within_s: seconds that it is given to end.
    """
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return False
    try:
        return not select.select([handle], [], [], within_s)[0]
    finally:
        os.close(handle)


def stays(process: int) -> bool:
    """Tell whether a process that should have ended goes on."""
    return is_running(process, _LONG_ENOUGH_S)


async def is_left_by(starting: Coroutine[Any, Any, object], folder: Path, moments: int) -> bool:
    """Cancel what starts a program before it can hear of the start; tell whether a child of that goes on.

    Args:
        starting: runs `sh -c LINGERING` in the folder.
        folder: the program's.
        moments: turns of the event loop after the start.
    """
    await run(
        "/bin/true", env={}, limit_s=_LONG_ENOUGH_S, output=Output()
    )  # the first starts a guardian, too
    os.mkfifo(folder / "begun")
    begun = os.open(folder / "begun", os.O_RDONLY | os.O_NONBLOCK)
    before = _children()
    task = asyncio.create_task(starting)
    while _children() == before:  # noqa: ASYNC110 (only the kernel tells)
        await asyncio.sleep(0)
    for _ in range(moments):
        await asyncio.sleep(0)
    select.select([begun], [], [], _LONG_ENOUGH_S)  # meanwhile the event loop stands still
    os.close(begun)
    task.cancel()
    await asyncio.wait({task}, timeout=_LONG_ENOUGH_S)
    return not task.cancelled() or stays(int((folder / "child").read_text()))


def _children() -> str:
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
