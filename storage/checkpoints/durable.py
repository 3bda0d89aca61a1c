"""What our savers promise beyond LangGraph's interface."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from langgraph.checkpoint.base import BaseCheckpointSaver


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
