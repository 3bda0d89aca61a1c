"""`twobrain ask`: run one turn."""

import sys

from graphs.session import Orchestrator
from terminal.app import Options
from terminal.conversation import Conversation, thread_of


async def ask(orchestrator: Orchestrator, task: str, thread_id: str | None, options: Options) -> int:
    """Run one turn; `-` reads the task from standard input."""
    text = sys.stdin.read() if task == "-" else task
    thread, talk = await thread_of(orchestrator.ledger, thread_id), Conversation(orchestrator, options)
    return await talk.report(thread, talk.ask(text, thread))
