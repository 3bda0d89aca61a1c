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
from nodes.turn.history import CallResult
from nodes.turn.results import STUB_CHARS

UNKNOWN_WINDOW = 32_000
LEAST_BUDGET = 16_000
BUDGET_SHARE = 0.75
CHARS_PER_TOKEN = 4
RECENT_RESULTS = 6
"""The most recent results, which are never shrunk to a stub."""
_MOST_SHOWN = (16_000, 8_000, 4_000, 2_000, 1_000, 500)
"""Bytes of one result: the first that lets the most recent ones fit."""
_FIRST, _LAST, _LATER = 4, RECENT_RESULTS - 4, 4_000
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
    """Return a prompt's tokens: three quarters of the window, at least 16,000."""
    return max(LEAST_BUDGET, int((card.context_window or UNKNOWN_WINDOW) * BUDGET_SHARE))


def chars_of(card: ModelCard) -> int:
    """Return about how many characters that is."""
    return budget_of(card) * CHARS_PER_TOKEN


def shown_sizes(results: Sequence[CallResult], calls: Sequence[int], room: int) -> tuple[list[int], int]:
    """Return how much to show of each result, so that all fit.

    Args:
        results: in their order.
        calls: characters that the call of each takes of the room.
        room: characters that the turn's rounds may take.

    Returns:
        Bytes of each result, where 0 stands for a stub: its beginning, or the handle alone; and about how
        many characters results and calls take of the room.
    """
    for most in _MOST_SHOWN[_MOST_SHOWN.index(_largest_in(room)) :]:
        level = _Level(results, calls, room, most)
        for number in range(len(results)):
            level.add(number)
        if not any(level.stubs) or level.slack() >= room // _LEAST_SLACK:
            break
    sizes = [0 if stub else limit for limit, stub in zip(level.limits, level.stubs, strict=True)]
    return sizes, level.taken


def _largest_in(room: int) -> int:
    """Return the most bytes to show of one result while all fit.

    It is asked of the room, not of the results: it must not change with them.
    """
    each = (most for most in _MOST_SHOWN if _FIRST * most + _LAST * min(most, _LATER) <= room)
    return next(each, _MOST_SHOWN[-1])


@dataclass(slots=True)
class _Level:
    """What results take where each is shown up to so many bytes."""

    results: Sequence[CallResult]
    calls: Sequence[int]
    room: int
    most: int
    limits: list[int] = field(default_factory=list)
    """Bytes of each result, stub or not: each hangs on those before it alone."""
    shown: list[int] = field(default_factory=list)
    """Characters of each result, were it no stub."""
    stubs: list[bool] = field(default_factory=list)
    taken: int = 0
    """Characters of all, as they are shown."""
    stored: int = 0
    """Characters of stored results, as they are shown."""
    whole: int = 0
    """Stored results that are no page of another."""

    def add(self, number: int) -> None:
        result = self.results[number]
        limit = self._limit(result)
        shown = min(result.length, limit) + _overhead(result, limit)
        self.limits.append(limit)
        self.shown.append(shown)
        self.stubs.append(False)
        self.taken += self.calls[number] + shown
        if result.stored:
            self.stored += shown
        if self.taken > self.room or self.stored > _STORED_TOGETHER:
            self._shrink()

    def slack(self) -> int:
        """Return the room left once all but the recent results are stubs."""
        stubs = sum(map(_stub_chars, self.results[:-RECENT_RESULTS], self.limits))
        return self.room - sum(self.calls) - stubs - sum(self.shown[-RECENT_RESULTS:])

    def _limit(self, result: CallResult) -> int:
        stored = result.stored
        if stored is None or stored["end"] - stored["start"] < stored["size"]:  # a page was asked for
            return self.most
        self.whole += 1
        return self.most if self.whole <= _FIRST else min(self.most, _LATER)

    def _shrink(self) -> None:
        for old, shown in enumerate(self.shown[:-RECENT_RESULTS]):
            result = self.results[old]
            too_much = self.taken > self.room // 2 or (result.stored and self.stored > _STORED_TOGETHER // 2)
            if too_much and not self.stubs[old]:
                self.stubs[old] = True
                self.taken -= shown - _stub_chars(result, self.limits[old])
                self.stored -= shown if result.stored else 0


def _stub_chars(result: CallResult, limit: int) -> int:
    return _NOTE if result.stored else min(result.length, STUB_CHARS) + _overhead(result, limit)


def _overhead(result: CallResult, limit: int) -> int:
    return _LEAST_OVERHEAD if result.is_plain and result.length <= limit else _OVERHEAD
