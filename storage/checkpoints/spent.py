"""What a step wrote, once a checkpoint after it holds it: it need not be kept twice.

What is rebuilt from writes stays: what was added to the conversation. So do interrupts, errors, answers and
what was written from outside.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COUNTED = "counters_since_delta_snapshot"
"""Where a checkpoint's metadata names the channels kept in deltas, which it does not hold itself."""
_OUTSIDE = "00000000-0000-0000-0000-000000000000"
"""The task id of what no step wrote."""
OF_STEPS = f"thread_id = ? AND checkpoint_id = ? AND idx >= 0 AND task_id <> '{_OUTSIDE}'"
"""What the steps at a checkpoint wrote."""

Key = tuple[str, str, str]
"""Thread, namespace and id of a checkpoint."""


@dataclass(frozen=True, slots=True)
class Spent:
    """The steps that began at a checkpoint, of which one after it holds what they wrote."""

    began: Key
    deltas: tuple[str, ...]
    """Channels that are rebuilt from writes."""

    def delete(self, connection: sqlite3.Connection) -> None:
        """Delete what need not be kept of them."""
        thread, ns, checkpoint_id = self.began
        kept = ", ".join("?" * len(self.deltas))
        connection.execute(
            f"DELETE FROM writes WHERE {OF_STEPS} AND checkpoint_ns = ? AND channel NOT IN ({kept})",  # noqa: S608
            [thread, checkpoint_id, ns, *self.deltas],
        )


def spent(began: tuple[str, str, str | None], metadata: Mapping[str, Any]) -> Spent | None:
    """Return the steps that led to a checkpoint, by the one at which they began.

    None: there is none, or its metadata does not say which channels are kept in deltas.
    """
    thread, ns, checkpoint_id = began
    deltas = metadata.get(COUNTED)
    return Spent((thread, ns, checkpoint_id), tuple(deltas)) if checkpoint_id and deltas else None


def unspent(rows: Sequence[Sequence[Any]], ended: Iterable[Spent]) -> list[Sequence[Any]]:
    """Return the rows of writes that are to be kept when those steps have ended."""
    deltas = {one.began: one.deltas for one in ended}
    return [row for row in rows if _is_kept(row, deltas.get(tuple(row[:3])))]


def _is_kept(row: Sequence[Any], deltas: Sequence[str] | None) -> bool:
    task, place, channel = row[3], row[5], row[6]
    return deltas is None or place < 0 or task == _OUTSIDE or channel in deltas
