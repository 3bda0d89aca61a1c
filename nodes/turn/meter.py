"""Count what the model calls of a turn take."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from base.errors import ModelError, NoModelAnsweredError, StorageError
from ledger.records import Use
from ledger.usage import BEGUN
from models.call import Ask, Attempt, Reply
from models.prices import cost_of
from nodes.events import Restarted, UsageReported, emit
from nodes.prompt.compaction import CHARS_PER_TOKEN
from nodes.state import FailedModel, Update
from nodes.turn.limits import Exhausted, book, has_daily_limit
from nodes.turn.turn import Turn

_log = logging.getLogger(__name__)


class Meter:
    """Asks models and counts that: in ledger and state, to watchers."""

    def __init__(self, turn: Turn, role: str) -> None:
        self._turn = turn
        self._role = role
        self._usage: dict[str, Any] = dict(turn.state.usage)
        self._failed: list[FailedModel] = list(turn.state.failed_models)
        self._booked: int | None = None

    async def ask(self, ask: Ask) -> Reply:
        """Return what the role's models answer.

        Raises:
            NoModelAnsweredError: none did.
        """
        try:
            reply = await self._turn.res.models.call(ask, self)
        except NoModelAnsweredError as error:
            self._note(error.failures, None)
            raise
        self._note(reply.failures, reply.backend)
        return reply

    async def begin(self, ask: Ask) -> Exhausted | None:
        """Book a request on the user's day; return what is used up.

        That is about what the prompt takes, and all that the model may say, where its card limits that.
        """
        if not has_daily_limit(self._turn):
            return None
        name = self._turn.res.models.registry.first_name(ask.role, self._turn.person.user)
        card = self._turn.res.models.registry.card(name)
        usage = {"input_tokens": ask.chars // CHARS_PER_TOKEN, "output_tokens": card.max_output_tokens or 0}
        most = Attempt(name, card, None, sum(usage.values()), cost_of(card, usage), 0.0, None, is_void=False)
        found = await book(self._turn, replace(self._use(most), error=BEGUN))
        if isinstance(found, Exhausted):
            return found
        self._booked = found
        return None

    async def __call__(self, attempt: Attempt) -> None:
        """Count one attempt; a `models.call.Account`."""
        self._usage = _added(self._usage, attempt)
        writer, usage = self._turn.runtime.stream_writer, attempt.usage or {}
        if attempt.is_void:
            emit(writer, Restarted(attempt.backend, self._role))
        tokens = usage.get("input_tokens"), usage.get("output_tokens")
        emit(writer, UsageReported(attempt.backend, self._role, *tokens, attempt.cost_usd))
        with _never_failing():
            self._record(attempt)

    def total(self) -> Update:
        """Return the turn's usage and failed models, this step's among them."""
        with _never_failing():
            self._settle(None)
        return {"usage": self._usage, "failed_models": self._failed}

    def _note(self, failures: Mapping[str, ModelError], instead: str | None) -> None:
        """Note each model that failed; in later rounds, once."""
        for name, error in failures.items():
            failed = FailedModel(
                model=name, role=self._role, cause=error.cause, why=str(error), instead=instead
            )
            self._failed += [failed] if failed not in self._failed else []

    def _record(self, attempt: Attempt) -> None:
        """Queue the record of an attempt, in place of its booking."""
        use = self._use(attempt)
        if self._booked is None or attempt.error not in {None, "cancelled"}:
            self._turn.res.ledger.record_usage(use)
        else:
            self._settle(use)

    def _settle(self, use: Use | None) -> None:
        number, self._booked = self._booked, None
        if number is not None:
            self._turn.res.ledger.settle_usage(number, use)

    def _use(self, attempt: Attempt) -> Use:
        turn = self._turn
        of = (turn.thread_id, turn.state.turn, turn.person.user)
        return use_of(attempt, *of, path=turn.state.path, role=self._role, at=turn.res.ledger.now())


def use_of(  # noqa: PLR0913 (a record, whole)
    attempt: Attempt, thread: str, turn: str, user: str, *, path: str, role: str, at: float
) -> Use:
    """Return an attempt as the ledger records it, as it ends."""
    usage = attempt.usage or {}
    return Use(
        thread=thread,
        turn=turn,
        user=user,
        path=path,
        role=role,
        backend=attempt.backend,
        model=attempt.card.model or attempt.card.provider,
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        cached_tokens=(usage.get("input_token_details") or {}).get("cache_read"),
        reasoning_tokens=(usage.get("output_token_details") or {}).get("reasoning"),
        counted_tokens=attempt.tokens,
        cost_usd=attempt.cost_usd,
        duration_ms=attempt.duration_ms,
        error=attempt.error,
        at=at,
    )


@contextmanager
def _never_failing() -> Iterator[None]:
    """Log a failure to record usage, which fails no run."""
    try:
        yield
    except StorageError:
        _log.exception("the usage of a model call was not recorded")


def _added(total: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
    """Return the usage with one attempt more; unknown stays unknown."""
    counted = {
        "model_calls": total.get("model_calls", 0) + 1,
        "counted_tokens": total.get("counted_tokens", 0) + attempt.tokens,
        "known_cost_usd": total.get("known_cost_usd", 0.0) + (attempt.cost_usd or 0.0),
    }
    if attempt.error and attempt.usage is None:
        return {**total, **counted}
    usage = attempt.usage or {}
    one = {
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cached_tokens": (usage.get("input_token_details") or {}).get("cache_read", 0 if usage else None),
        "reasoning_tokens": (usage.get("output_token_details") or {}).get("reasoning", 0 if usage else None),
        "cost_usd": attempt.cost_usd,
    }
    return {**{key: _sum(total.get(key, 0), value) for key, value in one.items()}, **counted}


def _sum(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left + right
