"""Where a process's CPU time goes: each thread's time since the last look goes to the stack it is at."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Place = Callable[[str, FrameType | None], tuple[str, ...]]
"""Names where a thread of that name is, from its innermost frame, None where it was not looked at; each name
is counted by itself."""

_EVERY_S = 0.001
"""CPU seconds of the whole process; most kernels make it 0.004."""


class Sampler:
    """Looks at the main thread's stack, and at what the others took, in short intervals.

    By a signal: a thread that looked would be let in mostly where the main thread waits.
    """

    def __init__(self, place: Place) -> None:
        self.seconds: Counter[tuple[str, ...]] = Counter()
        """CPU seconds by place."""
        self._place = place
        self._seen: dict[int, float] = {}

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look while the context is open."""
        self._seen = {t.ident or 0: _clock(t.ident or 0) for t in threading.enumerate()}
        before = signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    def _look(self, _signal: int, frame: FrameType | None) -> None:
        for thread in threading.enumerate():
            ident = thread.ident or 0
            spent = _clock(ident) - self._seen.get(ident, 0.0)
            self._seen[ident] = self._seen.get(ident, 0.0) + spent
            at = frame if thread is threading.main_thread() else None
            self.seconds[self._place(thread.name, at)] += spent
        self._seen[threading.get_ident()] = time.thread_time()  # what looking took is nobody's


def _clock(ident: int) -> float:
    return time.clock_gettime(time.pthread_getcpuclockid(ident))
