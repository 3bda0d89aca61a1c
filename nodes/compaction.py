"""How much of each result a prompt has room for: decided anew for each call, the same for the same turn.

What is shown of a result changes seldom and many at once, so that most of a prompt is, byte for byte, the
prompt of the round before, which providers keep and charge a tenth for. With 200 results of 20 KB, the
figures below send 92 % of all bytes as such a repeated beginning, for less than a tenth of the whole's cost;
with 60 in a window of 32,000 tokens it is 88 %, of 16,000 tokens 84 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import ToolMessage

from nodes.records import is_untrusted, whole_of
from nodes.results import STUB_CHARS
from settings import ModelCard

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


@dataclass(frozen=True, slots=True)
class _Size:
    call: int
    """Characters of the call."""
    shown: int
    stub: int
    is_stored: bool


def budget_of(card: ModelCard) -> int:
    """Return the tokens that a prompt may take: three quarters of the window, at least 16,000."""
    return max(LEAST_BUDGET, int((card.context_window or UNKNOWN_WINDOW) * BUDGET_SHARE))


def chars_of(card: ModelCard) -> int:
    """Return about how many characters that is."""
    return budget_of(card) * CHARS_PER_TOKEN


def fitted(results: Sequence[ToolMessage], room: int, calls: Sequence[int]) -> list[int]:
    """Return how many bytes to show of each result of a turn; 0 stands for a stub.

    Args:
        results: in their order.
        room: characters for the turn's rounds.
        calls: characters that the call of each result takes of it.
    """
    largest = largest_in(room)
    for most in _MOST_SHOWN[_MOST_SHOWN.index(largest) :]:
        shown = _shown(results, most)
        sizes = [_size(*each) for each in zip(results, shown, calls, strict=True)]
        stubs = _stubs(sizes, room)
        if most == _MOST_SHOWN[-1] or not any(stubs) or _slack(sizes, room) >= room // _LEAST_SLACK:
            return [0 if stub else limit for limit, stub in zip(shown, stubs, strict=True)]
    raise AssertionError


def largest_in(room: int) -> int:
    """Return the most bytes to show of one result, as long as all fit.

    It is asked of the room, not of the results: it must not change with them.
    """
    each = (most for most in _MOST_SHOWN if _FIRST * most + _LAST * min(most, _LATER) <= room)
    return next(each, _MOST_SHOWN[-1])


@dataclass(frozen=True, slots=True)
class Tally:
    """What results take as long as all are shown; the limit of one hangs on those before it alone."""

    most: int
    stored: int = 0
    """Stored results that are no page of another."""
    taken: int = 0
    """Characters of all."""
    taken_by_stored: int = 0

    def add(self, result: ToolMessage) -> tuple[int, "Tally"]:
        """Return how many bytes of the next result to show, and the tally with it."""
        whole = whole_of(result)
        is_page = whole is not None and whole["end"] - whole["start"] < whole["size"]
        stored = self.stored + (whole is not None and not is_page)
        limit = self.most if whole is None or is_page or stored <= _FIRST else min(self.most, _LATER)
        shown = _size(result, limit, 0).shown
        by_stored = self.taken_by_stored + (shown if whole else 0)
        return limit, Tally(self.most, stored, self.taken + shown, by_stored)

    def fits(self, room: int, calls: int) -> bool:
        """Tell whether no result need shrink, as `fitted` would."""
        return self.taken_by_stored <= _STORED_TOGETHER and self.taken + calls <= room


def _shown(results: Sequence[ToolMessage], most: int) -> list[int]:
    limits, tally = [], Tally(most)
    for result in results:
        limit, tally = tally.add(result)
        limits.append(limit)
    return limits


def _size(result: ToolMessage, limit: int, call: int) -> _Size:
    whole = whole_of(result)
    length = whole["end"] - whole["start"] if whole else len(result.text)
    around = _OVERHEAD if whole or is_untrusted(result) or length > limit else _LEAST_OVERHEAD
    stub = _NOTE if whole else min(length, STUB_CHARS) + around
    return _Size(call, min(length, limit) + around, stub, whole is not None)


def _slack(sizes: Sequence[_Size], room: int) -> int:
    """Return the room that is left when all but the recent results have shrunk."""
    old, recent = sizes[:-KEPT_RESULTS], sizes[-KEPT_RESULTS:]
    return room - sum(each.call + each.stub for each in old) - sum(each.call + each.shown for each in recent)


def _stubs(sizes: Sequence[_Size], room: int) -> list[bool]:
    """Tell which results shrink: each time there is too much, the oldest, until half as much is left.

    The turn is gone through from its beginning, so that what shrank once stays so, and nothing changes
    again until the other half has filled.
    """
    stubs = [False] * len(sizes)
    taken = stored = 0
    for place, size in enumerate(sizes):
        taken += size.call + size.shown
        stored += size.shown if size.is_stored else 0
        if taken <= room and stored <= _STORED_TOGETHER:
            continue
        for old, each in enumerate(sizes[: max(0, place + 1 - KEPT_RESULTS)]):
            too_much = taken > room // 2 or (each.is_stored and stored > _STORED_TOGETHER // 2)
            if too_much and not stubs[old]:
                stubs[old] = True
                taken -= each.shown - each.stub
                stored -= each.shown if each.is_stored else 0
    return stubs
