"""`twobrain approve` and `twobrain reject`: answer all that a thread waits for."""

from base.errors import NothingPendingError
from doctor.diagnose import diagnose
from graphs.result import Result
from graphs.stale_answers import stale_answer
from terminal.card import answer_all
from terminal.conversation import Conversation, Options, run_turn


def approve(thread_id: str, options: Options) -> int:
    """Run every waiting call, and go on."""
    return _decide(thread_id, options, yes=True)


def reject(thread_id: str, options: Options, reason: str) -> int:
    """Refuse every waiting call, and go on."""
    return _decide(thread_id, options, yes=False, reason=reason)


def _decide(thread_id: str, options: Options, *, yes: bool, reason: str = "") -> int:
    async def answered(talk: Conversation) -> Result:
        orchestrator = talk.orchestrator
        pending = (await orchestrator.result(thread_id)).pending
        if pending is None:
            found = await diagnose(orchestrator, thread_id)
            if found.condition == "interrupted":
                raise NothingPendingError(found.sentence)
            raise await stale_answer(orchestrator.ledger, thread_id)
        return await talk.answer(thread_id, answer_all(pending, yes=yes, reason=reason))

    return run_turn(thread_id, options, answered)
