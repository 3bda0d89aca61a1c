"""`twobrain ask`: run one turn."""

import sys

from terminal.conversation import Options, run_turn, thread_or_new


def ask(task: str, thread_id: str | None, options: Options) -> int:
    """Run one turn; `-` reads the task from standard input."""
    text = sys.stdin.read() if task == "-" else task
    thread = thread_or_new(thread_id)
    return run_turn(thread, options, lambda talk: talk.ask(text, thread))
