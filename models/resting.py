"""The garbage collector beside imports."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def resting() -> Iterator[None]:
    """Keep the collector from looking through what is imported meanwhile, now and later: it is no garbage.

    To look through it again and again is a sixth of what it takes to import a thousand modules.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
