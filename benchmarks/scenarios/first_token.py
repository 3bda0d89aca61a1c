"""From the responder's first byte to the first token that a program sees, and what each further one costs."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.driver import UnequalWorkError, told_by
from benchmarks.figures import Figure, spread
from benchmarks.wire import Wire, configured
from tests.wires.brain import Heard, Reply

_SHORT = 3
"""Words that come one by one; the figures per token are of answers that come at once."""
_FEW, _MANY = 500, 10_000
_SAMPLES = {_SHORT: 15, _FEW: 7, _MANY: 7}


def measure() -> Iterator[Figure]:
    """Yield the first token's delay, and the CPU of a token over the floor."""
    lengths = [_SHORT] * _SAMPLES[_SHORT] + [_FEW, _MANY] * _SAMPLES[_FEW]
    with (
        tempfile.TemporaryDirectory() as folder,
        Wire("openai", lambda _heard: Reply(text="Nothing to gather.")) as planner,
        Wire("anthropic", _writer) as writer,
    ):
        home = Path(folder)
        turns = told_by("first_token", home, *map(str, lengths), **configured(home, planner, writer))
    for turn, exchange in zip(turns, writer.exchanges[1:], strict=True):
        if turn["tokens"] != turn["words"]:
            raise UnequalWorkError(f"{turn['side']} saw {turn['tokens']} tokens of {turn['words']}.")
        turn["delay_ms"] = (turn["first"] - exchange.began) * 1_000
    ours, floor = (_of(turns, side, _SHORT, "delay_ms") for side in ("ours", "floor"))
    yield Figure(
        name="first token after the responder's first byte",
        value=spread(ours),
        unit="ms",
        goal=5,
        kind="wall",
        note=f"floor: {spread(floor).middle:.2f} ms",
    )
    over, bare = _per_token_us(turns, "ours"), _per_token_us(turns, "floor")
    yield Figure(
        name="each token, over the floor",
        value=spread([a - b for a, b in zip(over, bare, strict=True)]),
        unit="µs",
        goal=30,
        kind="cpu",
        note=f"floor: {spread(bare).middle:.0f} µs",
    )


def _writer(heard: Heard) -> Reply:
    found = re.search(r"Say (\d+) words", " ".join(turn.text for turn in heard.turns))
    count = int(found[1]) if found else 1
    return Reply(text="word " * count, chunk_delay_s=0.02 if count == _SHORT else 0.0)


def _of(turns: list[dict[str, Any]], side: str, words: int, key: str) -> list[float]:
    return [turn[key] for turn in turns if (turn["side"], turn["words"]) == (side, words)]


def _per_token_us(turns: list[dict[str, Any]], side: str) -> list[float]:
    pairs = zip(_of(turns, side, _FEW, "cpu_s"), _of(turns, side, _MANY, "cpu_s"), strict=True)
    return [(many - few) / (_MANY - _FEW) * 1e6 for few, many in pairs]
