"""Reads delta channels' history. Uses private names of langgraph-checkpoint-sqlite."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import DeltaChannelHistory, get_checkpoint_id
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite._delta import build_delta_channels_writes_history

from storage.checkpoints.sqlite_file import COUNTED

_DOWN = (
    "SELECT checkpoint_id, parent_checkpoint_id, metadata FROM checkpoints"
    " WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id <= ? ORDER BY checkpoint_id DESC"
)
_WRITTEN = (
    "SELECT checkpoint_id, channel, task_id, idx, type, value, task_path FROM writes"
    " WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id BETWEEN ? AND ? AND channel IN ({})"
)
"""With what was written beside the lineage, which is left out later: reading on beats looking each up."""
_CHECKPOINT = (
    "SELECT type, checkpoint FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
)


class HistoryReader(SqliteSaver):
    """The stock saver, which finds whole values by checkpoints' metadata.

    Of the hundreds of checkpoints between two whole values none does; to unpack them would double
    what a resume takes after 200 rounds, about 10 ms, and more in a longer conversation.
    """

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return channels' last whole values, and what was written since."""
        at = get_checkpoint_id(config)
        if not channels or not at:
            return super().get_delta_channel_history(config=config, channels=channels)
        key = thread_and_namespace(config)
        chains, seeds = self.walk(key, at, channels)
        walked = max(chains.values(), key=len) or [at]
        between = min(walked), max(walked)
        sql = _WRITTEN.format(", ".join("?" * len(channels)))
        return build_delta_channels_writes_history(
            channels=channels,
            chain_by_ch=chains,
            seed_val_by_ch=seeds,
            seeded=set(seeds),
            stage2_rows=self.conn.execute(sql, [*key, *between, *channels]).fetchall(),
            serde=self.serde,
        )

    def walk(
        self, key: tuple[str, str], at: str, channels: Collection[str]
    ) -> tuple[dict[str, list[str]], dict[str, Any]]:
        """Return each channel's ancestors to its whole value, and that."""
        chains: dict[str, list[str]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        ancestors = self._lineage(key, at)
        next(ancestors, None)  # the checkpoint itself
        missing = set(channels)
        for ancestor, described in ancestors:
            for channel in missing:
                chains[channel].append(ancestor)
            if not missing.issubset(_counted(described)):
                row = self.conn.execute(_CHECKPOINT, [*key, ancestor]).fetchone()
                held = self.serde.loads_typed(row).get("channel_values") or {}
                seeds |= {name: held[name] for name in missing if name in held}
                missing -= seeds.keys()
            if not missing:
                break
        return chains, seeds

    def _lineage(self, key: tuple[str, str], at: str) -> Iterator[tuple[str, bytes | None]]:
        """Yield id and metadata of a checkpoint and its ancestors, nearest first.

        They are read in the order of their ids, not one by one: that saves a tenth of a resume after
        200 rounds. An ancestor whose id sorts above, as by another process's clock, is where it begins anew;
        one that was put again, under a descendant of its own, ends it.
        """
        seen: set[str] = set()
        wanted, met = at, -1
        while met < len(seen):  # else it is nowhere
            met = len(seen)
            for found, parent, described in self.conn.execute(_DOWN, [*key, wanted]):
                if found < wanted:
                    break
                if found == wanted:
                    seen.add(found)
                    yield found, described
                    if not parent or parent in seen:
                        return
                    wanted = parent


def thread_and_namespace(config: RunnableConfig) -> tuple[str, str]:
    """Return a conversation's id and the namespace of a graph in it."""
    named = config["configurable"]
    return str(named["thread_id"]), str(named.get("checkpoint_ns", ""))


def _counted(described: bytes | None) -> Collection[str]:
    """Return the channels whose whole value is further back."""
    try:
        return json.loads(described or b"{}").get(COUNTED, ())  # type: ignore[no-any-return]
    except (ValueError, AttributeError):
        return ()  # the checkpoint itself is looked at
