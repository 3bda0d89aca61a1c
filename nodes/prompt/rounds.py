"""A turn's rounds as the planner is shown them."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from models.replies import MALFORMED
from nodes.prompt.compaction import shown_sizes
from nodes.prompt.fences import fenced
from nodes.turn.calls import CallResult, Round, TurnHistory, as_json, not_executed

Look = Callable[[CallResult, int], Awaitable[tuple[str, str]]]
"""From a result and how many bytes of it to show (0: next to none) to text and a note on what is left out."""


class RoundsView(NamedTuple):
    """A turn's rounds as messages, and about how many characters they take."""

    messages: list[BaseMessage]
    chars: int


async def rounds_view(history: TurnHistory, room: int, look: Look) -> RoundsView:
    """Return the rounds, every call followed by its result, as room allows.

    Args:
        history: of the turn.
        room: characters that they may take.
        look: what opens a result.
    """
    results = [history.results.get(call.id) or not_executed(call) for call in history.calls]
    calls = [each.chars if not n else 0 for each in history.rounds for n in range(len(each.calls))]
    shown, turn = shown_sizes(results, calls, room), history.request.id or ""
    messages: list[BaseMessage] = []
    number = 0
    for each in history.rounds:
        messages.append(_sendable(each))
        for _ in each.calls:
            result, most = results[number], shown.sizes[number]
            as_it_is = result.is_plain and result.length <= most
            messages.append(result.message if as_it_is else await _shown(result, most, turn, look))
            number += 1
    return RoundsView(messages, shown.chars)


def _sendable(each: Round) -> AIMessage:
    """Return a message without our own mark, which no provider knows."""
    message = each.message
    if MALFORMED not in message.additional_kwargs:
        return message
    sent = {key: value for key, value in message.additional_kwargs.items() if key != MALFORMED}
    return message.model_copy(update={"additional_kwargs": sent})


async def _shown(result: CallResult, most: int, turn: str, look: Look) -> ToolMessage:
    """Return a result of so many bytes, fenced where it is untrusted."""
    text, note = await look(result, most)
    if text and result.untrusted:
        text = fenced(text, turn, result.message.tool_call_id)
    content = "\n".join(part for part in (text, note) if part)
    if result.edited_args is not None:
        content = f"The person changed the arguments to {as_json(result.edited_args)}. Result:\n{content}"
    message = result.message
    return message if content == message.content else message.model_copy(update={"content": content})
