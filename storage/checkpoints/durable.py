"""What our savers promise beyond LangGraph's interface."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from langgraph.checkpoint.base import WRITES_IDX_MAP, BaseCheckpointSaver
from langgraph.checkpoint.serde.types import ERROR


class DurableSaver(BaseCheckpointSaver[Any]):
    """A saver that knows what of a thread is on disk."""

    @property
    def unwrapped(self) -> Self:
        """This saver, also where a server wraps it."""
        return self

    async def settled(self, thread: str) -> None:
        """Return once all is on disk that a thread put before.

        Raises:
            StorageError: it cannot be written.
        """

    async def threads(self) -> list[str]:
        """Return the ids of all threads."""
        raise NotImplementedError

    @contextmanager
    def latest_values(self, thread: str) -> Iterator[Mapping[str, Any]]:  # noqa: ARG002 (for who knows them)
        """Yield the values of a thread's last checkpoint; empty: unknown."""
        yield {}


def whole(writes: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    """Return a step's writes; of one that was cut short, only that.

    A step that failed or was cancelled is run again. LangGraph would take what it had written by then for
    all, and a call whose step was cut short before its route would never run.
    """
    if any(channel == ERROR for channel, _ in writes):
        return [write for write in writes if write[0] in WRITES_IDX_MAP]
    return writes
