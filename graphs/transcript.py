"""Transcripts: each message's role and text, for page, terminal and export."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver

from models.media import attached
from nodes.gate.judge import is_tainted
from nodes.turn.history import QUESTION, TAINT, place_of

if TYPE_CHECKING:
    from graphs.session import Orchestrator

Row = Mapping[str, Any]
"""A thread, as `Ledger.threads` returns it."""


class TranscriptEntry(NamedTuple):
    """What person or assistant said, as the person heard it."""

    by_person: bool
    text: str
    untrusted: bool = False
    """It was written after untrusted content, or nobody can tell."""
    attachments: Sequence[dict[str, str]] = ()


def said_in(values: Mapping[str, Any]) -> list[TranscriptEntry]:
    """Return what was said as a person heard it.

    What a planner wrote beside its calls was heard where it also writes the answer. What came after our last
    message a client wrote.
    """
    found: list[TranscriptEntry] = []
    heard_beside = values.get("path") == "single"
    messages = values.get("messages", ())
    ours = place_of(messages, values.get("own_last_id", ""))
    for place, message in enumerate(messages):
        if isinstance(message, HumanMessage):
            files = [
                {"name": each.name, "type": str(block.get("mime_type") or block.get("type") or "")}
                for block, each in attached(message.content)
            ]
            found.append(TranscriptEntry(True, message.text, TAINT in message.additional_kwargs, files))
        elif isinstance(message, AIMessage) and (text := message.text.strip()):
            if message.additional_kwargs.get(QUESTION) or (message.tool_calls and not heard_beside):
                continue
            untrusted = is_tainted(message) or ours is None or place > ours
            if found and not found[-1].by_person:
                before = found.pop()
                text, untrusted = f"{before.text}\n\n{text}", untrusted or before.untrusted
            found.append(TranscriptEntry(False, text, untrusted))
    return found


def messages_of(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what was said, as programs read it."""
    return [
        {
            "role": "user" if each.by_person else "assistant",
            "text": each.text,
            "attachments": list(each.attachments),
        }
        for each in said_in(values)
    ]


async def delete_conversation(orchestrator: "Orchestrator", row: Row) -> None:
    """Delete a conversation; the audit and the usage of it stay.

    Raises:
        BusyThreadError: a turn of it is under way.
    """
    ledger, saver = orchestrator.ledger, orchestrator.graph.checkpointer
    assert isinstance(saver, BaseCheckpointSaver)  # noqa: S101 (what an orchestrator is given)
    async with orchestrator.turns.at_once(row["thread"]):
        await ledger.touch(row["thread"], user=row["user"], status="pruning")
        await saver.adelete_thread(row["thread"])
        await ledger.forget_thread(row["thread"], audit=False)
