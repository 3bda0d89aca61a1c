"""How much of each result a prompt has room for: decided anew for each call, the same for the same turn.

What is shown of a result changes seldom and many at once, so that most of a prompt is, byte for byte, the
prompt of the round before, which providers keep and charge a tenth for. With 200 results of 20 KB, the
figures below send 94 % of all bytes as such a repeated beginning, at a tenth of what the whole would cost.
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
_FIRST, _LATER = 4, 4_000
"""So many results of a turn are shown up to the full size; each later one up to so many bytes."""
_STORED_TOGETHER = 140_000
"""Bytes of stored results that are shown at once, however large the window."""
_OVERHEAD, _LEAST_OVERHEAD = 400, 80
"""Characters around a result: on the wire, with the fence and the note on what is left out; and without."""

_NOTE = 250
"""Characters of a stored result of which the handle alone is left."""


@dataclass(frozen=True, slots=True)
class _Size:
    shown: int
    stub: int
    is_stored: bool


def budget_of(card: ModelCard) -> int:
    """Return the tokens that a prompt may take: three quarters of the window, at least 16,000."""
    return max(LEAST_BUDGET, int((card.context_window or UNKNOWN_WINDOW) * BUDGET_SHARE))


def chars_of(card: ModelCard) -> int:
    """Return about how many characters that is."""
    return budget_of(card) * CHARS_PER_TOKEN


def fitted(results: Sequence[ToolMessage], room: int, calls: int) -> list[int]:
    """Return how many bytes to show of each result of a turn; 0 stands for a stub.

    Args:
        results: in their order.
        room: characters for the turn's rounds.
        calls: characters that the rounds' calls take of it.
    """
    for most in _MOST_SHOWN:
        is_last = most == _MOST_SHOWN[-1]
        latest = _FIRST * most + (KEPT_RESULTS - _FIRST) * min(most, _LATER)
        if (
            latest > room and not is_last
        ):  # asked of the room, not of the results: it must not change with them
            continue
        shown = _shown(results, most)
        sizes = [_size(result, limit) for result, limit in zip(results, shown, strict=True)]
        stubs = _stubs(sizes, room, calls)
        taken = sum(size.stub if stub else size.shown for size, stub in zip(sizes, stubs, strict=True))
        if is_last or taken + calls <= room:
            return [0 if stub else limit for limit, stub in zip(shown, stubs, strict=True)]
    raise AssertionError


def _shown(results: Sequence[ToolMessage], most: int) -> list[int]:
    """Return the limit of each result; one's limit hangs on those before it alone, and never changes."""
    limits, stored = [], 0
    for result in results:
        whole = whole_of(result)
        is_page = whole is not None and whole["end"] - whole["start"] < whole["size"]
        stored += whole is not None and not is_page
        limits.append(most if whole is None or is_page or stored <= _FIRST else min(most, _LATER))
    return limits


def _size(result: ToolMessage, limit: int) -> _Size:
    whole = whole_of(result)
    length = whole["end"] - whole["start"] if whole else len(result.text)
    around = _OVERHEAD if whole or is_untrusted(result) or length > limit else _LEAST_OVERHEAD
    stub = _NOTE if whole else min(length, STUB_CHARS) + around
    return _Size(min(length, limit) + around, stub, whole is not None)


def _stubs(sizes: Sequence[_Size], room: int, calls: int) -> list[bool]:
    """Tell which results shrink: of the oldest, as many as stored ones are too much, or all are."""
    old = sizes[:-KEPT_RESULTS]
    together = sum(size.shown for size in sizes if size.is_stored)
    stored = _oldest(
        [size.shown if size.is_stored else 0 for size in old],
        [size.shown - size.stub if size.is_stored else 0 for size in old],
        together - _STORED_TOGETHER,
        _STORED_TOGETHER // 2,
    )
    saved = [size.is_stored and place < stored for place, size in enumerate(old)]
    left = [0 if gone else size.shown - size.stub for size, gone in zip(old, saved, strict=True)]
    total = calls + sum(size.shown for size in sizes)
    total -= sum(size.shown - size.stub for size, gone in zip(old, saved, strict=True) if gone)
    every = _oldest([size.shown for size in old], left, total - room, max(1, room // 2))
    return [gone or place < every for place, gone in enumerate(saved)] + [False] * (len(sizes) - len(old))


def _oldest(weights: Sequence[int], savings: Sequence[int], excess: int, step: int) -> int:
    """Return how many of the oldest must shrink to save what is too much.

    They shrink up to a whole number of steps of their weight: the same ones for many rounds.
    """
    count = reached = edge = 0
    while excess > 0 and count < len(weights):
        edge += step
        while count < len(weights) and reached + weights[count] <= edge:
            reached += weights[count]
            excess -= savings[count]
            count += 1
    return count
