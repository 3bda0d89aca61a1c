"""`twobrain ask`: run one turn."""

import sys

from graphs.session import Orchestrator
from terminal.app import Options
from terminal.conversation import Conversation, thread_or_new


async def ask(orchestrator: Orchestrator, task: str, thread_id: str | None, options: Options) -> int:
    """Run one turn; `-` reads the task from standard input."""
    text = sys.stdin.read() if task == "-" else task
    thread, talk = thread_or_new(thread_id), Conversation(orchestrator, options)
    return await talk.report(thread, talk.ask(text, thread))
