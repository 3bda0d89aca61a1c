"""`twobrain resume`: go on with a turn or with what it asks."""

from graphs.result import condition_of
from graphs.session import Orchestrator
from terminal.app import Options
from terminal.conversation import Conversation, thread_of


async def resume(orchestrator: Orchestrator, thread_id: str, options: Options) -> int:
    """Go on with a turn; of one that had ended, show how."""
    talk, thread_id = Conversation(orchestrator, options), await thread_of(orchestrator.ledger, thread_id)
    condition = condition_of(await orchestrator.snapshot(thread_id, context=talk.context))
    if condition in {"answered", "failed"} and not options.json:
        talk.screen.side.print("That turn had ended; this is how.", style="dim")
    return await talk.report(thread_id, talk.go_on(thread_id))
