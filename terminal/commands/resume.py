"""`twobrain resume`: go on with a turn that was cut short, or with what it asks."""

from doctor.diagnose import condition_of
from graphs.result import Result
from terminal.conversation import Conversation, Options, run_turn


def resume(thread_id: str, options: Options) -> int:
    """Go on with a turn; of one that had ended, show how."""

    async def gone_on(talk: Conversation) -> Result:
        condition = condition_of(await talk.orchestrator.snapshot(thread_id))
        if condition in {"answered", "failed"} and not talk.quiet:
            talk.screen.side.print("That turn had ended; this is how.", style="dim")
        return await talk.go_on(thread_id)

    return run_turn(thread_id, options, gone_on)
