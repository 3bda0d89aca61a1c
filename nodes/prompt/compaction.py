"""How much of each result a prompt has room for: decided anew for each call, the same for the same turn.

What is shown of a result changes seldom and many at once, so that most of a prompt is, byte for byte, the
prompt of the round before, which providers keep and charge a tenth for. With 200 results of 20 KB, the
figures below send 92 % of all bytes as such a repeated beginning, for less than a tenth of the whole's cost;
with 60 in a window of 32,000 tokens it is 88 %, of 16,000 tokens 84 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from langchain_core.messages import ToolMessage

from base.settings import ModelCard
from nodes.turn.calls import is_untrusted, whole_of
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
        """Tell whether no result need shrink, as a `Fitting` would."""
        return self.taken_by_stored <= _STORED_TOGETHER and self.taken + calls <= room


def _size(result: ToolMessage, limit: int, call: int) -> _Size:
    whole = whole_of(result)
    length = whole["end"] - whole["start"] if whole else len(result.text)
    around = _OVERHEAD if whole or is_untrusted(result) or length > limit else _LEAST_OVERHEAD
    stub = _NOTE if whole else min(length, STUB_CHARS) + around
    return _Size(call, min(length, limit) + around, stub, whole is not None)


@dataclass(frozen=True, slots=True)
class Fitting:
    """How many bytes to show of each result of a turn, where not all fit; it goes on as results come."""

    room: int
    """Characters that the turn's rounds may take."""
    levels: tuple["_Level", ...]
    """By the most bytes that one result is shown of, the largest first."""

    @classmethod
    def within(cls, room: int) -> Self:
        """Begin a turn."""
        most = _MOST_SHOWN[_MOST_SHOWN.index(largest_in(room)) :]
        return cls(room, tuple(_Level(Tally(each)) for each in most))

    def and_then(self, results: Sequence[ToolMessage], calls: Sequence[int]) -> Self:
        """Return what it is with further results; this one stays as it is.

        Args:
            results: in their order.
            calls: characters that the call of each takes of the room.
        """
        return replace(self, levels=tuple(each.and_then(results, calls, self.room) for each in self.levels))

    def sizes(self) -> list[int]:
        """Return the bytes to show of each result; 0 stands for a stub."""
        slack = self.room // _LEAST_SLACK
        fit = (level for level in self.levels if not any(level.stubs) or level.slack(self.room) >= slack)
        level = next(fit, self.levels[-1])
        return [0 if stub else limit for limit, stub in zip(level.limits, level.stubs, strict=True)]


@dataclass(slots=True)
class _Level:
    """What results take where each is shown up to so many bytes."""

    tally: Tally
    limits: list[int] = field(default_factory=list)
    sizes: list[_Size] = field(default_factory=list)
    stubs: list[bool] = field(default_factory=list)
    """Which results shrink: each time there is too much, the oldest, until half as much is left.

    The turn is gone through from its beginning, so that what shrank once stays so, and nothing changes
    again until the other half has filled.
    """
    taken: int = 0
    stored: int = 0
    shrunk: int = 0
    """Characters of all but the recent results, were they all stubs."""

    def and_then(self, results: Sequence[ToolMessage], calls: Sequence[int], room: int) -> Self:
        longer = replace(self, limits=[*self.limits], sizes=[*self.sizes], stubs=[*self.stubs])
        for result, call in zip(results, calls, strict=True):
            limit, longer.tally = longer.tally.add(result)
            longer.limits.append(limit)
            longer.add(_size(result, limit, call), room)
        return longer

    def slack(self, room: int) -> int:
        """Return the room that is left when all but the recent results have shrunk."""
        return room - self.shrunk - sum(each.call + each.shown for each in self.sizes[-KEPT_RESULTS:])

    def add(self, size: _Size, room: int) -> None:
        """Go on with one more."""
        self.sizes.append(size)
        self.stubs.append(False)
        if len(self.sizes) > KEPT_RESULTS:
            aged = self.sizes[-KEPT_RESULTS - 1]
            self.shrunk += aged.call + aged.stub
        self.taken += size.call + size.shown
        self.stored += size.shown if size.is_stored else 0
        if self.taken > room or self.stored > _STORED_TOGETHER:
            self._shrink(room)

    def _shrink(self, room: int) -> None:
        for old, each in enumerate(self.sizes[:-KEPT_RESULTS]):
            too_much = self.taken > room // 2 or (each.is_stored and self.stored > _STORED_TOGETHER // 2)
            if too_much and not self.stubs[old]:
                self.stubs[old] = True
                self.taken -= each.shown - each.stub
                self.stored -= each.shown if each.is_stored else 0
