"""`twobrain show`: what was said in a conversation, and how it stands."""

from collections.abc import Mapping
from typing import Any

from graphs.result import result_of
from graphs.session import Orchestrator
from graphs.transcript import messages_of
from terminal.app import Options
from terminal.conversation import Conversation, last_thread, thread_of
from terminal.lists import show_json
from terminal.markdown import Rendered
from terminal.progress import receipts
from terminal.screen import Screen
from terminal.text import plain


async def show(orchestrator: Orchestrator, thread_id: str | None, options: Options) -> None:
    """Print a conversation; None: the last one."""
    talk = Conversation(orchestrator, options)
    ledger = orchestrator.ledger
    thread = await (thread_of(ledger, thread_id) if thread_id else last_thread(ledger, options.user))
    snapshot = await orchestrator.snapshot(thread, context=talk.context)
    result, said = result_of(thread, snapshot), messages_of(snapshot.values)
    if options.json:
        show_json(talk.screen, {"thread_id": thread, "messages": said, "result": result.to_json()})
        return
    for message in said:
        print_message(talk.screen, message, is_plain=options.plain)
    if result.receipts:
        talk.screen.side.print(receipts(result, orchestrator.tools.label))
    if result.pending:
        await talk.show_waiting(thread, result.pending)
    talk.screen.note(f"thread {plain(thread)}", "dim")


def print_message(screen: Screen, message: Mapping[str, Any], *, is_plain: bool = False) -> None:
    """Print what one of the two said; files by their names."""
    text = plain(message["text"])
    if message["role"] == "user":
        names = ", ".join(plain(each["name"]) for each in message["attachments"])
        screen.out.print(f"> {text}{f' [{names}]' if names else ''}", style="bold", soft_wrap=True)
    elif screen.lively and not is_plain:
        screen.out.print(Rendered(text))
    else:
        screen.out.print(text, soft_wrap=True)
    screen.out.print()
