"""Which thread, user and run code works for; names of the paths."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal

PathName = Literal["two-brain", "single", "direct"]
"""What a turn goes through; see `nodes.context.Context.path`."""
PathChoice = Literal["auto", PathName]


@dataclass(frozen=True, slots=True)
class RunContext:
    """Names of a run; empty: not known."""

    thread_id: str = ""
    user: str = ""
    run_id: str = ""
    """As a server calls it; elsewhere the turn's."""

    def known(self) -> dict[str, str]:
        """Return the names that are known."""
        named = {"thread_id": self.thread_id, "user": self.user, "run_id": self.run_id}
        return {name: value for name, value in named.items() if value}


_NONE = RunContext()
_current: ContextVar[RunContext] = ContextVar("twobrain_run", default=_NONE)


def current_run() -> RunContext:
    """Return the run that is worked for."""
    return _current.get()


def note_run(*, user: str, run_id: str) -> None:
    """Note what the task at hand, and what it begins, works for."""
    run = _current.get()
    _current.set(replace(run, user=user, run_id=run.run_id or run_id))


@contextmanager
def run_context(run: RunContext) -> Iterator[None]:
    """Work for a run meanwhile."""
    token = _current.set(run)
    try:
        yield
    finally:
        _current.reset(token)


class RunFilter(logging.Filter):
    """Gives log records `thread_id`, `user` and `run_id`; for a handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is known; every record passes."""
        for name, value in current_run().known().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True
