"""Damage in a stored thread: found, and told in one sentence."""

import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache

from langgraph.types import StateSnapshot
from pydantic import TypeAdapter

from base.errors import DamagedThreadError, TwobrainError, UnknownThreadError
from nodes.state import State
from storage.serializer import UnreadableError

_state = cache(lambda: TypeAdapter(State))


@contextmanager
def damage_named(thread_id: str) -> Iterator[None]:
    """Raise a DamagedThreadError where a thread cannot be read."""
    try:
        yield
    except TwobrainError:
        raise
    except Exception as error:  # what is wrong in a row comes out wherever it is used
        foreign = f"it reads as no thread ({type(error).__name__})"
        what = str(error) if isinstance(error, UnreadableError) else foreign
        raise DamagedThreadError(
            f"Thread {thread_id!r} is damaged: {what}. "
            f"`twobrain doctor --thread {shlex.quote(thread_id)}` tells what can be saved."
        ) from error


@asynccontextmanager
async def blame_damage(
    thread_id: str, snapshot: Callable[[str], Awaitable[StateSnapshot]]
) -> AsyncIterator[None]:
    """Raise a DamagedThreadError where a turn fails because its thread is damaged."""
    try:
        yield
    except TwobrainError:
        raise
    except Exception:
        with suppress(UnknownThreadError):
            check(thread_id, await snapshot(thread_id))
        raise


def check(thread_id: str, snapshot: StateSnapshot) -> None:
    """Check every value of a state.

    Raises:
        DamagedThreadError: one is of a type that no step of ours writes.
    """
    with damage_named(thread_id):
        _state().validate_python(snapshot.values)
