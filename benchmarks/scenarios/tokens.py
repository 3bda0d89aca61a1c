"""What 200 rounds with results of 20 KB cost in input, as a wire heard it, with cached input at a tenth.

After every tenth look-up the model reads a page of an earlier result by its handle; that is counted in.
Bytes stand for tokens. The whole history is the same conversation with each result sent whole in every
request after it, cached as well.
"""

import itertools
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from os.path import commonprefix
from pathlib import Path

from benchmarks.driver import UnequalWorkError, told_by
from benchmarks.figures import TIMES, Figure, exact
from benchmarks.script import ANSWER
from benchmarks.wire import Exchange, Wire, configured
from tests.wires.brain import Call, Heard, Reply

_ROUNDS, _SIZE = 200, 20_000
_READ_EVERY = 10
_BACK = 8
"""Results before the latest: the one that a page is read of."""
_CACHED = 0.1
_PLACES = ("Etc/GMT+12", "Etc/GMT-14")
"""Time zones whose dates are never the same."""


def measure() -> Iterator[Figure]:
    """Yield the cost, the share that repeats the request before, and what changes from run to run."""
    first, second = (_sent(zone) for zone in _PLACES)
    sizes = [len(text) for text in first]
    repeated = [0, *(_common(*pair) for pair in itertools.pairwise(first))]
    cost = _priced(sizes, repeated)
    yield Figure(
        name=f"input of {_ROUNDS} rounds with {_SIZE // 1_000} KB results, ÷ the whole history, both cached",
        value=exact(cost / _whole_history(sizes)),
        unit=TIMES,
        goal=0.1,
        kind="count",
        note=f"{sum(sizes) / 1e6:.1f} MB sent in {len(sizes)} requests, {_pages(len(sizes) - 1)} for a page",
    )
    yield Figure(
        name="input that repeats the request before, byte for byte",
        value=exact(100 * sum(repeated) / sum(sizes)),
        unit="%",
        goal=90,
        better="more",
        kind="count",
        note=f"longest request: {max(sizes) / 1e3:,.0f} KB",
    )
    yield Figure(
        name="requests that differ on another day, in another thread and folder",
        value=exact(sum(one != other for one, other in zip(first, second, strict=True))),
        unit="",
        goal=0,
        kind="count",
        note="nothing volatile, not even at the tail",
    )


def _sent(zone: str) -> list[str]:
    """Run the turn in a process and folder of its own; return each request as a provider reads it."""
    with tempfile.TemporaryDirectory() as folder, Wire("openai", _brain) as wire:
        environ = configured(Path(folder), wire, wire, context_window=200_000)
        told = told_by("long_turn", Path(folder), f"thread at {zone}", str(_SIZE), TZ=zone, **environ)
    if (told["tool_calls"], told["answer"]) != (_ROUNDS, ANSWER):
        raise UnequalWorkError(f"The turn did {told}.")
    return [_as_read(exchange) for exchange in wire.exchanges]


def _brain(heard: Heard) -> Reply:
    done = len(heard.results)
    if done - _pages(done) == _ROUNDS:
        return Reply(text=ANSWER)
    if done % (_READ_EVERY + 1) != _READ_EVERY:
        return Reply(calls=(Call("look_up", {"query": f"number {done}"}, f"call-{done}"),))
    found = re.search(r'handle="(\w+)", offset=(\d+)', heard.results[done - _BACK].text)
    if not found:
        raise UnequalWorkError(f"No handle in {heard.results[done - _BACK].text!r}.")
    page = {"handle": found[1], "offset": int(found[2])}
    return Reply(calls=(Call("read_result", page, f"call-{done}"),))


def _pages(done: int) -> int:
    """Return how many of so many calls read a page."""
    return done // (_READ_EVERY + 1)


def _as_read(exchange: Exchange) -> str:
    """Return the tools and then the messages, in the order in which providers look for what they keep."""
    raw = exchange.heard.raw
    return "\n".join(json.dumps(part) for part in (raw["tools"], *raw["messages"]))


def _common(earlier: str, later: str) -> int:
    return len(commonprefix([earlier, later]))  # noqa: RUF071 (texts, not paths)


def _priced(sizes: Sequence[int], repeated: Sequence[int]) -> float:
    return sum(size - same + _CACHED * same for size, same in zip(sizes, repeated, strict=True))


def _whole_history(sizes: Sequence[int]) -> float:
    """Return the cost of so many requests without pages, each of which ends with one more whole result."""
    whole = [sizes[0] + number * _SIZE for number in range(_ROUNDS + 1)]
    return _priced(whole, [0, *whole[:-1]])
