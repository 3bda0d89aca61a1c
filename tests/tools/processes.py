"""Whether a process is still there, told by the kernel: one that was killed is there until it gets to it."""

import os
import select

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
