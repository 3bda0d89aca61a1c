"""`twobrain approve` and `twobrain reject`: answer all that a thread waits for."""

from base.errors import NothingPendingError
from doctor.diagnose import diagnose
from graphs.session import Orchestrator
from graphs.stale_answers import stale_answer
from terminal.app import Options
from terminal.card import answer_all
from terminal.conversation import Conversation, thread_of


async def decide(
    orchestrator: Orchestrator, thread_id: str, options: Options, *, yes: bool, reason: str = ""
) -> int:
    """Approve or reject every waiting call, and go on."""
    talk, thread_id = Conversation(orchestrator, options), await thread_of(orchestrator.ledger, thread_id)
    pending = (await orchestrator.result(thread_id, context=talk.context)).pending
    if pending is None and options.server:
        raise NothingPendingError(f"Thread {thread_id!r} waits for no answer.")
    if pending is None:
        found = await diagnose(orchestrator, thread_id)
        if found.condition == "interrupted":
            raise NothingPendingError(found.sentence)
        raise await stale_answer(orchestrator.ledger, thread_id)
    return await talk.report(thread_id, talk.answer(thread_id, answer_all(pending, yes=yes, reason=reason)))
