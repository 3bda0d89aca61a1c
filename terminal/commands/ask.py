"""`twobrain ask`: run one turn."""

import sys
from collections.abc import Sequence

from graphs.session import Orchestrator
from terminal import files
from terminal.app import Options, Which
from terminal.conversation import Conversation, thread_of


async def ask(
    orchestrator: Orchestrator,
    words: Sequence[str],
    paths: Sequence[str],
    thread_id: str | Which | None,
    options: Options,
) -> int:
    """Run one turn; `-` reads the task from standard input.

    With a task, what is piped there comes with it as a file.
    """
    limits, reads = orchestrator.settings.limits, list(words) == ["-"]
    attachments = [files.attachment_at(path, limits) for path in paths]
    text = sys.stdin.read() if reads else " ".join(words)
    attachments += [] if reads else files.piped(limits)
    thread, talk = (
        await thread_of(orchestrator.ledger, thread_id, options.user),
        Conversation(orchestrator, options),
    )
    return await talk.report(thread, talk.ask(text, thread, attachments))
