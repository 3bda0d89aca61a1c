"""The turn at hand: what every step reads, taken up once."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langgraph.config import get_config
from langgraph.runtime import Runtime

from base.errors import StorageError
from base.run_context import note_run
from base.settings import Limits, ModelCard
from ledger.records import Call, CallKey, ThreadStatus
from nodes.context import Context, answerer_of, context_of, person_of, with_defaults
from nodes.resources import CONVERSATIONS, Resources, resources
from nodes.state import JudgedCall, State
from nodes.turn.history import TurnHistory, calls_in, read_turn
from nodes.turn.undo_log import UndoLog
from schedules.schedules import Schedules
from tools.declaration import Here, PastConversations, Tool
from tools.policy.decision import Person

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Turn:
    """All that a step reads: state, history, choices, person, resources."""

    state: State
    history: TurnHistory
    runtime: Runtime[Context]
    res: Resources
    context: Context
    person: Person
    answered_by: str
    """Who answers: the person, or an approver of theirs."""
    calls_made: int = 0
    """Calls on record, where that was looked up: the conversation may have lost some."""
    conversations: PastConversations | None = None
    """The other ones; None: none are kept, or no graph runs."""

    @cached_property
    def limits(self) -> Limits:
        """The ceilings that no context can raise."""
        return self.res.settings.limits_of(self.person.user)

    @cached_property
    def planner(self) -> ModelCard:
        """The card of the model that plans, unless a fallback has to."""
        return self.res.models.registry.first(self.context.orchestrator, self.person.user)

    @cached_property
    def responder(self) -> ModelCard:
        """The card of the model that answers, unless a fallback has to."""
        return self.res.models.registry.first(self.context.responder, self.person.user)

    @property
    def thread_id(self) -> str:
        """The thread that is run; without one, its name in the state."""
        info = self.runtime.execution_info
        return (info.thread_id if info else None) or self.state.thread

    @cached_property
    def offered(self) -> Sequence[Tool]:
        """The tools that role, allow-list and configuration let through."""
        return self.res.tools.offered(self.person.role, self.person.tools, self.res.settings)

    def call_ids(self) -> set[str]:
        """Return the ids of all calls that the conversation holds."""
        before = calls_in(self.state.messages[: self.history.before + 1])
        return {call.id for call in self.history.calls}.union(call["id"] or "" for call in before)

    def unanswered(self) -> list[JudgedCall]:
        """Return the calls of the current round that have no result."""
        return [call for call in self.state.calls if call["id"] not in self.history.results]

    def mark(self, status: ThreadStatus) -> None:
        """Note the thread's status; a failure is logged and ends no turn."""
        try:
            self.res.ledger.mark(self.thread_id, user=self.person.user, status=status)
        except StorageError:
            _log.exception("that thread %s is %s was not recorded", self.thread_id, status)

    def ledger_call(self, call: Any, args: dict[str, Any] | None = None, model: str | None = None) -> Call:
        """Return the ledger's entry for a call of `id`, `name` and `args`.

        `args` is what is to run; None: as the call has them. `model` made the call; None: the one that
        planned the current round.
        """
        tool = self.res.tools.find(call["name"])
        taken = call["args"] if args is None else args
        return Call(
            thread=self.state.thread,
            call_id=call["id"],
            turn=self.state.turn,
            user=self.person.user,
            role=self.person.role,
            model=self.state.planner if model is None else model,
            tool=tool.name if tool else call["name"],
            args=tool.own_args(taken) if tool else taken,
            effect=tool.effect if tool else "unknown",
            fingerprint=self.res.tools.fingerprint(call["name"], taken),
        )

    def ledger_calls(self, calls: Iterable[Any], model: str | None = None) -> list[Call]:
        """Return the ledger's entries for calls."""
        return [self.ledger_call(call, model=model) for call in calls]

    def here(self, call_id: str, earlier: str | None = None) -> Here:
        """Return what a tool learns of a call, maybe made earlier."""
        thread = self.state.thread
        key = CallKey(self.person.user, thread, earlier or call_id)
        loop = asyncio.get_running_loop()

        def log_undo(record: dict[str, Any], *, first: bool = False) -> None:
            put = UndoLog(self.res.ledger).put(key, record, first=first)
            asyncio.run_coroutine_threadsafe(put, loop).result()

        return Here(
            settings=self.res.settings,
            user=self.person.user,
            user_role=self.person.role,
            thread_id=thread,
            call_id=call_id,
            idempotency_key="/".join(key),
            store=self.runtime.store,
            offered=lambda: self.offered,
            sources=frozenset(self.state.taint["sources"]),
            long_results=self.res.artifacts,
            log_undo=log_undo,
            schedules=Schedules(self.res.ledger),
            conversations=self.conversations,
        )


async def take_up(state: State, runtime: Runtime[Context], *, begins: bool = False) -> Turn:
    """Return the turn at hand; one that begins ignores earlier choices.

    Raises:
        ConfigurationError: on a server, who asks has no token any more.
    """
    res = await resources()
    context = context_of(runtime, {} if begins else state.choices)
    if runtime.server_info:
        await asyncio.to_thread(res.settings.read_users)
    given = get_config()["configurable"]
    answerer, past = answerer_of(given), given.get(CONVERSATIONS)
    person = person_of(context, runtime, res.settings, answerer)
    context = with_defaults(context, res.settings.user(person.user), served=bool(runtime.server_info))
    res = await res.joined(person.user)
    note_run(user=person.user, run_id=state.turn)
    by = answerer.by if answerer else person.user
    history = read_turn(state.messages, state.turn)
    return Turn(state, history, runtime, res, context, person, by, conversations=past)
