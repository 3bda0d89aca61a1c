"""`twobrain export`: a conversation as a file."""

import asyncio
from pathlib import Path
from typing import Any, Literal

from base.errors import StorageError
from graphs.result import Result, result_of
from graphs.session import Orchestrator
from graphs.transcript import messages_of
from nodes.turn.history import as_json
from storage.sqlite import create_private
from terminal.app import Options
from terminal.conversation import Conversation, last_thread, thread_of


async def export(
    orchestrator: Orchestrator,
    thread_id: str | None,
    to: str | None,
    form: Literal["markdown", "json"],
    options: Options,
) -> None:
    """Write a conversation to a file, or to standard output.

    Raises:
        StorageError: the file is there, or cannot be written.
    """
    talk = Conversation(orchestrator, options)
    ledger = orchestrator.ledger
    thread = await (thread_of(ledger, thread_id) if thread_id else last_thread(ledger, options.user))
    snapshot = await orchestrator.snapshot(thread, context=talk.context)
    said, result = messages_of(snapshot.values), result_of(thread, snapshot)
    row = await orchestrator.ledger.thread(thread) or {}
    calls = await orchestrator.ledger.audit(thread=thread)
    if form == "json":
        text = as_json({"thread_id": thread, "title": row.get("title"), "messages": said, "calls": calls})
    else:
        text = _markdown(str(row.get("title") or thread), said, calls, result)
    if to is None:
        talk.screen.out.file.write(f"{text}\n")
        return
    await asyncio.to_thread(save, Path(to), text)
    talk.screen.note(f"Written to {to}, for you alone to read.", "dim")


def save(place: Path, text: str) -> None:
    """Write a new file, for its owner alone.

    Raises:
        StorageError: it is there, or cannot be written.
    """
    place = place.expanduser()
    if place.exists():
        raise StorageError(f"{place} is there already. Name another file, or take that one away.")
    try:
        create_private(place).write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{place} cannot be written: {error.strerror}.") from None


def _markdown(title: str, said: list[dict[str, Any]], calls: list[dict[str, Any]], result: Result) -> str:
    parts = [f"# {' '.join(title.split())}"]
    for message in said:
        files = "".join(f"\n\n[{each['name']}]" for each in message["attachments"])
        who = "You" if message["role"] == "user" else "Assistant"
        parts.append(f"## {who}\n\n{message['text']}{files}")
    if calls:
        lines = [f"- {each['tool']}({as_json(each['args'])}): {each['status']}" for each in calls]
        parts.append("## What was done\n\n" + "\n".join(lines))
    if result.pending:
        parts.append("It waits for a confirmation.")
    return "\n\n".join(parts)
