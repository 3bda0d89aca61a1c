"""What a channel kept in deltas is rebuilt from, without unpacking every checkpoint on the way."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import DeltaChannelHistory, get_checkpoint_id
from langgraph.checkpoint.serde.types import INTERRUPT
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite._delta import (
    build_delta_channels_writes_history,
    build_delta_stage2_sql,
)

from graphs.spent import COUNTED

_ANCESTORS = """
WITH RECURSIVE ancestors(checkpoint_id, parent_checkpoint_id, metadata) AS (
  SELECT checkpoint_id, parent_checkpoint_id, metadata FROM checkpoints
  WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?
  UNION ALL
  SELECT c.checkpoint_id, c.parent_checkpoint_id, c.metadata
  FROM ancestors a CROSS JOIN checkpoints c ON c.checkpoint_id = a.parent_checkpoint_id
  WHERE c.thread_id = ? AND c.checkpoint_ns = ?
) SELECT checkpoint_id, metadata FROM ancestors
"""
"""A checkpoint, then its ancestors, the nearest first. CROSS JOIN: each is looked up by its key."""
_CHECKPOINT = (
    "SELECT type, checkpoint FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
)
_COUNTED = f'"{COUNTED}": {{'.encode()


_LAST = (
    "SELECT checkpoint_id FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
    " ORDER BY checkpoint_id DESC LIMIT 1"
)
_WAITING = (
    "SELECT task_id, channel FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
)


class Standing(NamedTuple):
    """Where a thread stands: the same one again while nothing has moved."""

    checkpoint_id: str
    """Of its last checkpoint."""
    waiting: frozenset[tuple[str, str]]
    """Task and channel of each write that is there for the next one."""

    @property
    def asks(self) -> bool:
        """Whether a step waits for an answer."""
        return any(channel == INTERRUPT for _, channel in self.waiting)


class HistoryReader(SqliteSaver):
    """The stock saver, which tells by a checkpoint's metadata whether it holds a channel's whole value.

    Of the hundreds of checkpoints between two whole values none does, and to unpack them is a good part of
    what it takes to read a conversation.
    """

    def standing(self, config: RunnableConfig) -> Standing | None:
        """Return where a thread stands, without unpacking anything; None: there is no such thread."""
        key = _key(config)
        last = self.conn.execute(_LAST, key).fetchone()
        return Standing(last[0], frozenset(self.conn.execute(_WAITING, [*key, last[0]]))) if last else None

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return for each channel the last whole value before a checkpoint, and what was written since."""
        at = get_checkpoint_id(config)
        if not channels or not at:
            return super().get_delta_channel_history(config=config, channels=channels)
        key = _key(config)
        chains, seeds = self._walk(key, at, channels)
        wanted = [channel for channel in channels if chains[channel]]
        sql = build_delta_stage2_sql(chain_lens=[len(chains[channel]) for channel in wanted])
        values = [value for channel in wanted for value in (*key, channel, *chains[channel])]
        return build_delta_channels_writes_history(
            channels=channels,
            chain_by_ch=chains,
            seed_val_by_ch=seeds,
            seeded=set(seeds),
            stage2_rows=self.conn.execute(sql, values).fetchall() if sql else [],
            serde=self.serde,
        )

    def _walk(
        self, key: tuple[str, str], at: str, channels: Sequence[str]
    ) -> tuple[dict[str, list[str]], dict[str, Any]]:
        """Return by channel the ancestors back to its last whole value, the nearest first, and that value."""
        chains: dict[str, list[str]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        seen = {at}
        rows = self.conn.execute(_ANCESTORS, [*key, at, *key])
        next(rows, None)  # the checkpoint itself
        for ancestor, described in rows:
            missing = chains.keys() - seeds.keys()
            if ancestor in seen or not missing:  # seen: put again, under a descendant of its own
                break
            seen.add(ancestor)
            for channel in missing:
                chains[channel].append(ancestor)
            if any(not _is_counted(channel, described) for channel in missing):
                row = self.conn.execute(_CHECKPOINT, [*key, ancestor]).fetchone()
                held = self.serde.loads_typed(row).get("channel_values") or {}
                seeds |= {name: held[name] for name in missing if name in held}
        return chains, seeds


def _key(config: RunnableConfig) -> tuple[str, str]:
    return str(config["configurable"]["thread_id"]), config["configurable"].get("checkpoint_ns", "")


def _is_counted(channel: str, described: bytes | None) -> bool:
    """Tell whether a checkpoint's metadata counts what was written to a channel since its last whole value.

    It is then not the one that holds it. LangGraph's own form is looked for; what looks otherwise is
    unpacked.
    """
    start = described.find(_COUNTED) if described else -1
    if not described or start < 0:
        return False
    named = json.dumps(channel, ensure_ascii=False).encode()
    return described.find(named + b": [", start, described.find(b"}", start)) >= 0
