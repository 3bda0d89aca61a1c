"""How much of each result a prompt has room for.

Decided anew for each call, the same for the same turn. What is shown of a result changes seldom and many at
once, so that most of a prompt is, byte for byte, the prompt of the round before, which providers keep and
charge a tenth for. With 200 results of 20 KB, the figures below send 92 % of all bytes as such a repeated
beginning, for less than a tenth of the whole's cost; with 60 in a window of 32,000 tokens it is 88 %, of
16,000 tokens 84 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from base.settings import ModelCard
from nodes.turn.calls import CallResult
from nodes.turn.long_results import STUB_CHARS

UNKNOWN_WINDOW = 32_000
LEAST_BUDGET = 16_000
BUDGET_SHARE = 0.75
CHARS_PER_TOKEN = 4
KEPT_RESULTS = 6
"""The most recent results, which are never shrunk to a stub."""
_MOST_SHOWN = (16_000, 8_000, 4_000, 2_000, 1_000, 500)
"""Bytes of one result: the first that lets the most recent ones fit."""
_FIRST, _LAST, _LATER = 4, KEPT_RESULTS - 4, 4_000
"""So many results of a turn are shown up to the full size; each later one up to so many bytes."""
_STORED_TOGETHER = 112_000
"""Bytes of stored results that are shown at once, however large the window."""
_LEAST_SLACK = 4
"""A quarter of the room is kept for results to gather in, as long as recent ones can be smaller."""
_OVERHEAD, _LEAST_OVERHEAD = 400, 80
"""Characters around a result: on the wire, with the fence and the note on what is left out; and without."""

_NOTE = 250
"""Characters of a stored result of which the handle alone is left."""


def budget_of(card: ModelCard) -> int:
    """Return the tokens that a prompt may take: three quarters of the window, at least 16,000."""
    return max(LEAST_BUDGET, int((card.context_window or UNKNOWN_WINDOW) * BUDGET_SHARE))


def chars_of(card: ModelCard) -> int:
    """Return about how many characters that is."""
    return budget_of(card) * CHARS_PER_TOKEN


@dataclass(frozen=True, slots=True)
class ShownSizes:
    """How many bytes of each result a prompt shows."""

    sizes: list[int]
    """0 stands for a stub: its beginning, or the handle alone."""
    chars: int
    """About what results and calls take of the room."""


def shown_sizes(results: Sequence[CallResult], calls: Sequence[int], room: int) -> ShownSizes:
    """Return how much to show of each result, so that all fit.

    Args:
        results: in their order.
        calls: characters that the call of each takes of the room.
        room: characters that the turn's rounds may take.
    """
    for most in _MOST_SHOWN[_MOST_SHOWN.index(_largest_in(room)) :]:
        level = _Level(room, most)
        for result, call in zip(results, calls, strict=True):
            level.add(result, call)
        if not any(level.stubs) or level.slack() >= room // _LEAST_SLACK:
            break
    sizes = [0 if stub else limit for limit, stub in zip(level.limits, level.stubs, strict=True)]
    return ShownSizes(sizes, level.taken)


def _largest_in(room: int) -> int:
    """Return the most bytes to show of one result, as long as all fit.

    It is asked of the room, not of the results: it must not change with them.
    """
    each = (most for most in _MOST_SHOWN if _FIRST * most + _LAST * min(most, _LATER) <= room)
    return next(each, _MOST_SHOWN[-1])


@dataclass(frozen=True, slots=True)
class _Size:
    call: int
    """Characters of the call."""
    shown: int
    stub: int
    is_stored: bool


@dataclass(slots=True)
class _Level:
    """What results take where each is shown up to so many bytes; one is added after the other."""

    room: int
    most: int
    limits: list[int] = field(default_factory=list)
    """Bytes of each result, stub or not: each hangs on those before it alone."""
    sizes: list[_Size] = field(default_factory=list)
    stubs: list[bool] = field(default_factory=list)
    taken: int = 0
    """Characters of all, as they are shown."""
    stored: int = 0
    """Characters of stored results, as they are shown."""
    whole: int = 0
    """Stored results that are no page of another."""
    shrunk: int = 0
    """Characters of all but the recent results, were they all stubs."""

    def add(self, result: CallResult, call: int) -> None:
        """Go on with one more."""
        limit = self._limit(result)
        size = _size(result, limit, call)
        self.limits.append(limit)
        self.sizes.append(size)
        self.stubs.append(False)
        if len(self.sizes) > KEPT_RESULTS:
            aged = self.sizes[-KEPT_RESULTS - 1]
            self.shrunk += aged.call + aged.stub
        self.taken += size.call + size.shown
        self.stored += size.shown if size.is_stored else 0
        if self.taken > self.room or self.stored > _STORED_TOGETHER:
            self._shrink()

    def slack(self) -> int:
        """Return the room that is left when all but the recent results have shrunk."""
        return self.room - self.shrunk - sum(each.call + each.shown for each in self.sizes[-KEPT_RESULTS:])

    def _limit(self, result: CallResult) -> int:
        stored = result.stored
        if stored is None or stored["end"] - stored["start"] < stored["size"]:  # a page was asked for
            return self.most
        self.whole += 1
        return self.most if self.whole <= _FIRST else min(self.most, _LATER)

    def _shrink(self) -> None:
        for old, each in enumerate(self.sizes[:-KEPT_RESULTS]):
            too_much = self.taken > self.room // 2 or (each.is_stored and self.stored > _STORED_TOGETHER // 2)
            if too_much and not self.stubs[old]:
                self.stubs[old] = True
                self.taken -= each.shown - each.stub
                self.stored -= each.shown if each.is_stored else 0


def _size(result: CallResult, limit: int, call: int) -> _Size:
    stored = result.stored
    length = stored["end"] - stored["start"] if stored else len(result.text)
    around = _OVERHEAD if stored or result.untrusted or length > limit else _LEAST_OVERHEAD
    stub = _NOTE if stored else min(length, STUB_CHARS) + around
    return _Size(call, min(length, limit) + around, stub, stored is not None)
