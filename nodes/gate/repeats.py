"""Calls not made again (denied, made twice); when a turn is stuck."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nodes.turn.history import CallResult, TurnCall, TurnHistory
from tools.declaration import Tool

_MOST_TIMES = 2
"""Times that a call with the same arguments is made in a turn."""

_MADE_TWICE = (
    "this very call was made twice in this turn already. "
    "Use what it gave, try something else, or finish without it."
)
_DENIED_BEFORE = "the person denied this very call in this turn already ({reason}). Go on without it."
_MAY_HAVE_CHANGED = frozenset({"executed", "unknown"})

Find = Callable[[str], Tool | None]
"""From a name to its tool."""


def objections_to(calls: Sequence[TurnCall], results: Mapping[str, CallResult], find: Find) -> dict[str, str]:
    """Return by id why calls are not to be made again.

    Whatever came between the same calls counts for nothing, but that a read may be made again once something
    was changed since. Calls are the same which their tool takes alike, however they are written. A call whose
    arguments could not be read was never made: to send it again whole is no repetition. `calls` are the
    turn's, in the order they were made, `results` theirs by call id.
    """
    times = Counter([call.fingerprint(find(call.name)) for call in calls])
    is_often = max(times.values(), default=0) > _MOST_TIMES
    if not is_often and not any(result.denied for result in results.values()):
        return {}
    objections: dict[str, str] = {}
    made: dict[str, list[int]] = {}
    denied: dict[str, str] = {}
    last_change = -1
    for number, call in enumerate(call for call in calls if not call.problem):
        tool = find(call.name)
        is_read = tool is not None and tool.effect == "read"
        same = call.fingerprint(tool)
        alike = made.setdefault(same, [])
        counted = [n for n in alike[-_MOST_TIMES:] if n > last_change] if is_read else alike
        if same in denied:
            objections[call.id] = _DENIED_BEFORE.format(reason=denied[same])
        elif len(counted) >= _MOST_TIMES:
            objections[call.id] = _MADE_TWICE
        alike.append(number)
        if result := results.get(call.id):
            if result.denied:
                denied.setdefault(same, result.text.rstrip("."))
            if result.status in _MAY_HAVE_CHANGED and not is_read:
                last_change = number
    return objections


def is_stuck(last_round: Sequence[Mapping[str, Any]], history: TurnHistory, find: Find) -> bool:
    """Tell whether the planner goes on repeating itself although it was told.

    It does where its last round makes a call once more that was refused as a repetition before, or where the
    round is nothing but repetitions and not the first to hold one.
    """
    if all(call["verdict"] != "refuse" for call in last_round):
        return False
    objections = objections_to(history.calls, history.results, find)
    last = {call["id"] for call in last_round}
    told = [call for call in history.calls if call.id in objections]
    before = {call.fingerprint(find(call.name)) for call in told if call.id not in last}
    again = [call.fingerprint(find(call.name)) for call in told if call.id in last]
    return bool(before) and (len(again) == len(last) or any(each in before for each in again))
