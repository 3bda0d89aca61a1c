"""A turn's rounds as the planner is shown them."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage

from models.replies import MALFORMED
from nodes.kept import Kept
from nodes.prompt.compaction import Fitting, Tally, largest_in
from nodes.prompt.fences import fenced
from nodes.state import State
from nodes.turn.calls import is_untrusted, results_by_call, rounds_of

_AROUND = 80
"""Characters of ids, names and brackets around a message or call on the wire."""

Look = Callable[[ToolMessage, int], Awaitable[tuple[str, str]]]
"""From a result and how many bytes of it to show (0: next to none) to text and a note on what is left out."""


@dataclass(frozen=True, slots=True)
class _Rounds:
    """Rounds whose calls all have their results, each result as large as it may be."""

    tally: Tally
    calls: int
    """Characters that the calls take."""
    view: list[BaseMessage]


@dataclass(frozen=True, slots=True)
class _Shrunk:
    """Rounds whose calls all have their results, of which not all are as large as they may be."""

    fitting: Fitting
    sizes: list[int]
    """Bytes that are shown of each result."""
    view: list[BaseMessage]


_kept: Kept[_Rounds] = Kept()
_kept_shrunk: Kept[_Shrunk] = Kept()


async def rounds_view(state: State, room: int, look: Look) -> list[BaseMessage]:
    """Return the rounds with every call followed by exactly its result, as far as there is room."""
    turn = rounds_of(state)
    count, shrunk = _kept_shrunk.get(state.turn, turn) or (0, None)
    if shrunk is None or shrunk.fitting.room != room:
        rounds = await _whole(state.turn, turn, largest_in(room), look)
        if rounds and rounds.tally.fits(room, rounds.calls):
            return rounds.view
        count, shrunk = 0, _Shrunk(Fitting.within(room), [], [])
    longer = await _longer(state.turn, turn, count, shrunk, look)
    return _kept_shrunk.put(state.turn, turn, longer).view if _is_complete(turn[count:]) else longer.view


def length_of(messages: Iterable[BaseMessage], tools: Sequence[Mapping[str, Any]] = ()) -> int:
    """Return about how many characters messages and tools take on the wire."""
    said = sum(
        _AROUND + len(m.text) + sum(_AROUND + len(_json(c["args"])) for c in _calls(m)) for m in messages
    )
    return said + (len(_json(list(tools))) if tools else 0)


async def _whole(mark: str, turn: Sequence[AnyMessage], most: int, look: Look) -> _Rounds | None:
    """Return the rounds with no result shrunk; None where a call has not its one result in its own round."""
    count, rounds = _kept.get(mark, turn) or (0, _Rounds(Tally(most), 0, []))
    if rounds.tally.most != most:
        count, rounds = 0, _Rounds(Tally(most), 0, [])
    new, tally = turn[count:], rounds.tally
    if not _is_complete(new):
        return None
    shown: list[AnyMessage] = []
    for message in new:
        if isinstance(message, ToolMessage):
            limit, tally = tally.add(message)
            shown.append(_as_shown(message, *await look(message, limit), mark))
        else:
            shown.append(message)
    calls = rounds.calls + length_of(m for m in new if not isinstance(m, ToolMessage))
    return _kept.put(mark, turn, _Rounds(tally, calls, [*rounds.view, *_paired(shown)]))


def _is_complete(messages: Sequence[AnyMessage]) -> bool:
    """Tell whether every call has exactly one result before the next message that is none."""
    waiting: list[str | None] = []
    for message in messages:
        if not isinstance(message, ToolMessage):
            if waiting:
                return False
            waiting = [call["id"] for call in _calls(message)]
        elif message.tool_call_id in waiting:
            waiting.remove(message.tool_call_id)
        else:
            return False
    return not waiting


async def _longer(mark: str, turn: Sequence[AnyMessage], count: int, shrunk: _Shrunk, look: Look) -> _Shrunk:
    """Return the rounds with as much of each result as there is room for, the first so many as they were."""
    new = turn[count:]
    results = [message for message in new if isinstance(message, ToolMessage)]
    fitting = shrunk.fitting.and_then(results, _call_lengths(new))
    sizes, before = fitting.sizes(), len(shrunk.sizes)
    if sizes[:before] == shrunk.sizes:
        return _Shrunk(fitting, sizes, [*shrunk.view, *await _shown(mark, new, sizes[before:], look)])
    return _Shrunk(fitting, sizes, await _shown(mark, turn, sizes, look))


async def _shown(
    mark: str, rounds: Sequence[AnyMessage], sizes: Sequence[int], look: Look
) -> list[BaseMessage]:
    """Return rounds with so many bytes of each result."""
    results = [message for message in rounds if isinstance(message, ToolMessage)]
    shown = {
        result.id: _as_shown(result, *await look(result, most), mark)
        for result, most in zip(results, sizes, strict=True)
    }
    return _paired([shown.get(message.id, message) for message in rounds])


def _call_lengths(turn: Sequence[AnyMessage]) -> list[int]:
    """Return for each result what was said since the one before: its call, and that of those beside it."""
    lengths, said = [], 0
    for message in turn:
        if isinstance(message, ToolMessage):
            lengths.append(said)
            said = 0
        else:
            said += length_of([message])
    return lengths


def _as_shown(result: ToolMessage, text: str, note: str, mark: str) -> ToolMessage:
    """Return a result with this text, fenced where others wrote it; the note is ours and stands outside."""
    text = fenced(text, mark, result.tool_call_id) if text and is_untrusted(result) else text
    content = "\n".join(part for part in (text, note) if part)
    return result if content == result.content else result.model_copy(update={"content": content})


def _paired(turn: Sequence[AnyMessage]) -> list[BaseMessage]:
    """Return the rounds with every call followed by exactly its result, in the order of the calls."""
    results = results_by_call(turn)
    view: list[BaseMessage] = []
    for message in turn:
        if isinstance(message, AIMessage) and message.tool_calls:
            view.append(_sendable(message))
            view += [_answer(call, results.get(call["id"] or "")) for call in message.tool_calls]
    return view


def _sendable(message: AIMessage) -> AIMessage:
    """Leave out our own mark: it is for execute_tools, not for a provider."""
    if MALFORMED not in message.additional_kwargs:
        return message
    kept = {key: value for key, value in message.additional_kwargs.items() if key != MALFORMED}
    return message.model_copy(update={"additional_kwargs": kept})


def _answer(call: Any, result: ToolMessage | None) -> ToolMessage:
    if result is None:
        return ToolMessage("Not executed.", tool_call_id=call["id"], name=call["name"], status="error")
    artifact = result.artifact if isinstance(result.artifact, dict) else {}
    if "args" not in artifact:
        return result
    note = f"The person changed the arguments to {_json(artifact['args'])}. Result:\n{result.text}"
    return result.model_copy(update={"content": note})


def _calls(message: BaseMessage) -> list[Any]:
    return list(message.tool_calls) if isinstance(message, AIMessage) else []


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
