"""Which reply of a model is an answer."""

from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage

from models import replies, spelled
from models.failures import BlankReplyError, UnusableReplyError


def usable(
    raw: AIMessage,
    tools: Sequence[Mapping[str, Any]],
    known: Container[str],
    taken: Collection[str],
) -> AIMessage:
    """Return a reply as an answer that can be stored, sent back and shown.

    Args:
        raw: what the client library made of the wire.
        tools: those that the model was offered, in OpenAI's format.
        known: names of tools that it may have read of; JSON that calls one of them is no answer.
        taken: call ids that the conversation already holds.

    Raises:
        BlankReplyError: it holds neither text nor calls, however well it says that it ended: so say a gateway
            over a model that failed, and a server over a call that it could not read.
        UnusableReplyError: it is withheld or cut short, or a call written as text that cannot be read.
    """
    declared = [tool["function"]["name"] for tool in tools]
    message = replies.renumbered(replies.read(raw, declared), taken)
    if message.tool_calls and not declared:
        if not message.text.strip():
            raise UnusableReplyError("it called a tool, and was offered none")
        message = message.model_copy(update={"tool_calls": []})
    if not message.tool_calls:
        message = spelled.read(message, tools, known)
    if message.tool_calls or message.text.strip():
        return message
    if reason := replies.refusal_of(message):
        raise UnusableReplyError(f"it withheld its answer ({reason})", "refusal")
    finish = replies.finish_of(message)
    if finish in replies.CUT_SHORT:
        raise UnusableReplyError(f"it gave a blank answer: its output tokens were used up ({finish})")
    raise BlankReplyError(f"it gave a blank answer ({finish or 'no reason given'})")
