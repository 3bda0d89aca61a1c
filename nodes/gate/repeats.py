"""Calls of a turn that are not made once more: what a person denied, and what was made twice already."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

from ledger.records import fingerprint
from models.replies import MALFORMED
from nodes.kept import Folded
from nodes.turn.calls import is_denial, rounds_of, status_of
from nodes.turn.turn import Turn
from tools.declaration import ArgumentsError, Tool

_OFTEN = 2
"""Times that a call with the same arguments is made in a turn."""

_MADE = (
    "this very call was made twice in this turn already. "
    "Use what it gave, try something else, or finish without it."
)
_DENIED = "the person denied this very call in this turn already ({reason}). Go on without it."
_HAPPENED = frozenset({"executed", "unknown"})


def objections_to(message: AIMessage, turn: Turn) -> dict[str, str]:
    """Return why calls of a planner's new message are not to be made again, in words for it, by call id.

    Whatever came between the same calls counts for nothing, but that a read may be made again once something
    was changed since. A denial is of the call as its tool takes it, however it is spelled. A call whose
    arguments could not be read was never made: to send it again whole is no repetition.
    """
    past = _Past(_and(_made.over(turn.state.turn, rounds_of(turn.state)), message), turn.res.tools.find)
    first = len(past.calls) - len(_whole(message))
    return {past.calls[n]["id"]: why for n in range(first, len(past.calls)) if (why := past.objection(n))}


def is_stuck(turn: Turn) -> bool:
    """Tell whether the planner goes on repeating itself although it was told.

    It does where its last round makes a call once more that was refused as a repetition before, or where the
    round is nothing but repetitions and not the first to hold one.
    """
    if all(call["verdict"] != "refuse" for call in turn.state.calls):
        return False
    past = _Past(_made.over(turn.state.turn, rounds_of(turn.state)), turn.res.tools.find)
    last = {call["id"] for call in turn.state.calls}
    told = [call for n, call in enumerate(past.calls) if past.objection(n)]
    before = [_written(call) for call in told if call["id"] not in last]
    again = [_written(call) for call in told if call["id"] in last]
    return bool(before) and (len(again) == len(last) or any(call in before for call in again))


@dataclass(frozen=True, slots=True)
class _Made:
    """A turn's calls as their models wrote them, with their results."""

    calls: tuple[Any, ...] = ()
    alike: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Fingerprint to the numbers of the calls that bear it."""
    results: Mapping[str, ToolMessage] = field(default_factory=dict)
    denied: frozenset[str] = frozenset()
    """Ids of calls to which the person said no."""


def _and(made: _Made, message: AnyMessage) -> _Made:
    """Return what was made with one message more; the first result of a call counts."""
    if isinstance(message, ToolMessage) and message.tool_call_id not in made.results:
        denied = made.denied | {message.tool_call_id} if is_denial(message) else made.denied
        return replace(made, results={**made.results, message.tool_call_id: message}, denied=denied)
    for call in _whole(message) if isinstance(message, AIMessage) else ():
        key = fingerprint(*_written(call))
        alike = {**made.alike, key: (*made.alike.get(key, ()), len(made.calls))}
        made = replace(made, calls=(*made.calls, call), alike=alike)
    return made


_made: Folded[_Made] = Folded(_Made(), _and)


@dataclass(frozen=True, slots=True)
class _Past:
    """What was made, and the tools it was made with."""

    made: _Made
    find: Callable[[str], Tool | None]

    @property
    def calls(self) -> Sequence[Any]:
        return self.made.calls

    def objection(self, number: int) -> str:
        call, earlier = self.calls[number], self.calls[:number]
        for made in earlier if self.made.denied else ():
            if made["id"] in self.made.denied and self._taken(made) == self._taken(call):
                return _DENIED.format(reason=self.made.results[made["id"]].text.rstrip("."))
        alike = [n for n in self.made.alike[fingerprint(*_written(call))] if n < number]
        if len(alike) >= _OFTEN and self._is_read(call):
            changed = max((n for n, made in enumerate(earlier) if self._has_changed(made)), default=-1)
            alike = [n for n in alike if n > changed]
        return _MADE if len(alike) >= _OFTEN else ""

    def _taken(self, call: Any) -> tuple[str, Any]:
        """Return the call with what its tool makes of the arguments: coerced, defaults filled in."""
        tool = self.find(call["name"])
        if tool is None:
            return _written(call)
        described = tool.parameters.get("properties", {})
        defaults = {name: each["default"] for name, each in described.items() if "default" in each}
        try:
            args = {**defaults, **tool.check(call["args"])}
        except ArgumentsError:
            return _written(call)
        return tool.name, {name: value for name, value in args.items() if value is not None}

    def _is_read(self, call: Any) -> bool:
        tool = self.find(call["name"])
        return tool is not None and tool.effect == "read"

    def _has_changed(self, call: Any) -> bool:
        """Tell whether a call changed something, for all that is known."""
        result = self.made.results.get(call["id"])
        return result is not None and status_of(result) in _HAPPENED and not self._is_read(call)


def _whole(message: AIMessage) -> list[Any]:
    malformed = message.additional_kwargs.get(MALFORMED, ())
    return [call for call in message.tool_calls if call["id"] not in malformed]


def _written(call: Any) -> tuple[str, Any]:
    return call["name"], call["args"]
