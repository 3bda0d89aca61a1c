"""What a channel kept in deltas is rebuilt from, without unpacking every checkpoint on the way."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import DeltaChannelHistory, get_checkpoint_id
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite._delta import (
    DELTA_STAGE1_SQL,
    build_delta_channels_writes_history,
    build_delta_stage2_sql,
)

_VALUES, _VERSIONS = b"channel_values", b"channel_versions"


class HistoryReader(SqliteSaver):
    """The stock saver, which tells from a checkpoint's bytes whether it can hold a channel's whole value.

    Of the hundreds of checkpoints between two whole values none does, and to unpack them is a good part of
    what it takes to read a conversation.
    """

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return for each channel the last whole value before a checkpoint, and what was written since."""
        at = get_checkpoint_id(config)
        if not channels or not at:
            return super().get_delta_channel_history(config=config, channels=channels)
        key = str(config["configurable"]["thread_id"]), config["configurable"].get("checkpoint_ns", "")
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
        names = [channel.encode() for channel in channels]
        rows = self.conn.execute(DELTA_STAGE1_SQL, [*key, at, *key])
        next(rows, None)  # the checkpoint itself
        for ancestor, kind, checkpoint in rows:
            if ancestor in seen or len(seeds) == len(
                chains
            ):  # seen: put again, under a descendant of its own
                break
            seen.add(ancestor)
            missing = chains.keys() - seeds.keys()
            for channel in missing:
                chains[channel].append(ancestor)
            if _may_hold(kind, checkpoint, names):
                held = self.serde.loads_typed((kind, checkpoint)).get("channel_values") or {}
                seeds |= {name: held[name] for name in missing if name in held}
        return chains, seeds


def _may_hold(kind: str, checkpoint: bytes, names: Sequence[bytes]) -> bool:
    """Tell whether a checkpoint can hold a value of one of the channels; False is certain.

    As LangGraph packs it, a channel that has a value is named between `channel_values` and
    `channel_versions`. Whatever looks otherwise can hold anything.
    """
    end = checkpoint.find(_VERSIONS)
    start = checkpoint.find(_VALUES, 0, end)
    if kind != "msgpack" or end < 0 or start < 0 or checkpoint.find(_VERSIONS, end + 1) >= 0:
        return True
    return any(checkpoint.find(name, start, end) >= 0 for name in names)
