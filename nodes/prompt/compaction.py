"""How much of each result a prompt has room for.

Decided anew for each call, the same for the same turn. What is shown of a result changes seldom and many at
once, so that most of a prompt is, byte for byte, the prompt of the round before, which providers keep and
charge a tenth for. With 200 results of 20 KB, the figures below send 92 % of all bytes as such a repeated
beginning, for less than a tenth of the whole's cost; with 60 in a window of 32,000 tokens it is 88 %, of
16,000 tokens 84 %.
"""

from collections.abc import Sequence

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

_HANDLE_CHARS = 250
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
        level = _Level(results, most)
        taken = level.shrink(calls, room)
        has_slack = not any(level.stubs) or level.slack(calls, room) >= room // _LEAST_SLACK
        if taken <= room and has_slack:
            break
    sizes = [0 if stub else limit for limit, stub in zip(level.limits, level.stubs, strict=True)]
    return sizes, taken


def _largest_in(room: int) -> int:
    """Return the most bytes to show of one result while all fit.

    It is asked of the room, not of the results: it must not change with them.
    """
    each = (most for most in _MOST_SHOWN if _FIRST * most + _LAST * min(most, _LATER) <= room)
    return next(each, _MOST_SHOWN[-1])


class _Level:
    """What results take where each is shown up to so many bytes."""

    def __init__(self, results: Sequence[CallResult], most: int) -> None:
        self.results = results
        self.limits = _limits(results, most)
        """Bytes of each result, stub or not: each hangs on those before it alone."""
        self.shown = list(map(_shown_chars, results, self.limits))
        """Characters of each result, were it no stub."""
        self.stubs = [False] * len(results)

    def shrink(self, calls: Sequence[int], room: int) -> int:
        """Turn old results into stubs where needed; return the characters taken."""
        taken = stored = 0
        for number, (result, call, shown) in enumerate(zip(self.results, calls, self.shown, strict=True)):
            taken += call + shown
            if result.stored:
                stored += shown
            if taken > room or stored > _STORED_TOGETHER:
                taken, stored = self._shrink_before(number + 1 - RECENT_RESULTS, taken, stored, room)
        return taken

    def slack(self, calls: Sequence[int], room: int) -> int:
        """Return the room left once all but the recent results are stubs."""
        stubs = sum(map(_stub_chars, self.results[:-RECENT_RESULTS], self.limits))
        return room - sum(calls) - stubs - sum(self.shown[-RECENT_RESULTS:])

    def _shrink_before(self, end: int, taken: int, stored: int, room: int) -> tuple[int, int]:
        for old in range(end):
            result, shown = self.results[old], self.shown[old]
            too_much = taken > room // 2 or (result.stored and stored > _STORED_TOGETHER // 2)
            if too_much and not self.stubs[old]:
                self.stubs[old] = True
                taken -= shown - _stub_chars(result, self.limits[old])
                stored -= shown if result.stored else 0
        return taken, stored


def _limits(results: Sequence[CallResult], most: int) -> list[int]:
    limits = []
    whole = 0
    for result in results:
        stored = result.stored
        is_whole = stored is not None and stored["end"] - stored["start"] >= stored["size"]  # no page
        whole += is_whole
        limits.append(min(most, _LATER) if is_whole and whole > _FIRST else most)
    return limits


def _shown_chars(result: CallResult, limit: int) -> int:
    return min(result.length, limit) + _overhead(result, limit)


def _stub_chars(result: CallResult, limit: int) -> int:
    return _HANDLE_CHARS if result.stored else min(result.length, STUB_CHARS) + _overhead(result, limit)


def _overhead(result: CallResult, limit: int) -> int:
    return _LEAST_OVERHEAD if result.is_plain and result.length <= limit else _OVERHEAD
