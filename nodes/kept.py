"""What was made of a turn's messages, kept for its next round, which then costs the same after any number.

It is a saving and no more: what is kept is taken up where the messages begin, one for one, as those that it
was made of, and else made anew. The turns that were not looked at for longest are forgotten.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from langchain_core.messages import AnyMessage, BaseMessage

T = TypeVar("T")

_MOST_TURNS = 64


class Kept(Generic[T]):
    """One unchanging value for each of the latest turns, with the messages it was made of."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, tuple[Sequence[BaseMessage], T]] = OrderedDict()

    def get(self, turn: str, messages: Sequence[BaseMessage]) -> tuple[int, T] | None:
        """Return how many of the messages a value was made of, and the value."""
        seen, value = self._turns.get(turn, (None, None))
        if seen is None or value is None or messages[: len(seen)] != seen:  # the same objects compare at once
            return None
        return len(seen), value

    def put(self, turn: str, messages: Sequence[BaseMessage], value: T) -> T:
        """Keep a value, and return it."""
        self._turns[turn] = (list(messages), value)
        self._turns.move_to_end(turn)
        if len(self._turns) > _MOST_TURNS:
            self._turns.popitem(last=False)
        return value


class Folded(Generic[T]):
    """Values that grow by one message after the other."""

    def __init__(self, empty: T, add: Callable[[T, AnyMessage], T]) -> None:
        self._empty = empty
        self._add = add
        self._kept: Kept[T] = Kept()

    def over(self, turn: str, messages: Sequence[AnyMessage]) -> T:
        """Return the value of these messages of the turn."""
        count, value = self._kept.get(turn, messages) or (0, self._empty)
        for message in messages[count:]:
            value = self._add(value, message)
        return self._kept.put(turn, messages, value)
