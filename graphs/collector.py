"""The garbage collector beside many conversations."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_OWN = {(700, 10, 10), (2_000, 10, 10), (2_000, 10, 0)}
"""Thresholds that some CPython since 3.11 begins with."""
_SELDOM = (50_000, 20, 100)
_before: list[tuple[int, int, int]] = []
"""What each that is open found; the first one's holds afterwards."""
_guard = Lock()


@contextmanager
def looking_seldom() -> Iterator[None]:
    """Let the collector look less often, and only at what came since, while any of these is open.

    A conversation in flight is thousands of objects that are no garbage: to look through those of a thousand
    conversations for every few hundred new ones takes a third of their CPU, in pauses. Only garbage that
    holds itself in a cycle waits longer for it. The collector is the whole process's: a program that has set
    thresholds of its own keeps them.
    """
    with _guard:
        found = gc.get_threshold()
        ours = bool(_before) or found in _OWN
        if ours and not _before:
            gc.freeze()
            gc.set_threshold(*_SELDOM)
        if ours:
            _before.append(found)
    try:
        yield
    finally:
        with _guard:
            if ours and len(_before) == 1:
                gc.set_threshold(*_before[0])
                gc.unfreeze()
            if ours:
                _before.pop()
