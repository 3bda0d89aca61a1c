"""A turn's rounds as the planner is shown them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from models.replies import MALFORMED
from nodes.prompt.compaction import shown_sizes
from nodes.prompt.fences import fenced
from nodes.turn.calls import CallResult, Round, TurnCall, TurnHistory, as_json

Look = Callable[[CallResult, int], Awaitable[tuple[str, str]]]
"""From a result and how many bytes of it to show (0: next to none) to text and a note on what is left out."""


class RoundsView(NamedTuple):
    """The messages of a turn's rounds, and about how many characters they take."""

    messages: list[BaseMessage]
    chars: int


async def rounds_view(history: TurnHistory, room: int, look: Look) -> RoundsView:
    """Return the rounds with every call followed by exactly its result, as far as there is room.

    Args:
        history: of the turn.
        room: characters that they may take.
        look: what opens a result.
    """
    results = [_result_of(call, history.results) for call in history.calls]
    calls = [each.chars if not n else 0 for each in history.rounds for n in range(len(each.calls))]
    shown = shown_sizes(results, calls, room)
    sized = iter(zip(results, shown.sizes, strict=True))
    messages: list[BaseMessage] = []
    for each in history.rounds:
        messages.append(_sendable(each))
        messages += [await _shown(*next(sized), history.request.id or "", look) for _ in each.calls]
    return RoundsView(messages, shown.chars)


def _result_of(call: TurnCall, results: Mapping[str, CallResult]) -> CallResult:
    """Return a call's result, or that it was not executed: no provider takes a call without one."""
    if found := results.get(call.id):
        return found
    text = "Not executed."
    message = ToolMessage(text, tool_call_id=call.id, name=call.name, status="error")
    return CallResult(message, "denied", text, untrusted=False, denied=False, edited_args=None, stored=None)


def _sendable(each: Round) -> AIMessage:
    """Leave out our own mark: it is for execute_tools, not for a provider."""
    message = each.message
    if MALFORMED not in message.additional_kwargs:
        return message
    sent = {key: value for key, value in message.additional_kwargs.items() if key != MALFORMED}
    return message.model_copy(update={"additional_kwargs": sent})


async def _shown(result: CallResult, most: int, turn: str, look: Look) -> ToolMessage:
    """Return a result with so many bytes, fenced where others wrote it; our note stands outside."""
    text, note = await look(result, most)
    if text and result.untrusted:
        text = fenced(text, turn, result.message.tool_call_id)
    content = "\n".join(part for part in (text, note) if part)
    if result.edited_args is not None:
        content = f"The person changed the arguments to {as_json(result.edited_args)}. Result:\n{content}"
    message = result.message
    return message if content == message.content else message.model_copy(update={"content": content})
