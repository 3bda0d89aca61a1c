"""What a step of a turn has at hand."""

import logging
from dataclasses import dataclass

from langgraph.runtime import Runtime

from base.errors import StorageError
from base.settings import Limits, ModelCard
from ledger.records import ThreadStatus
from nodes.context import Context, context_of, person_of
from nodes.resources import Resources, resources
from nodes.state import State
from tools.declaration import Here, Tool
from tools.policy.decision import Person

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """The state, the choices, who asks, and the house's possessions."""

    state: State
    runtime: Runtime[Context]
    res: Resources
    context: Context
    person: Person

    @property
    def limits(self) -> Limits:
        """The ceilings that no context can raise."""
        return self.res.settings.limits

    @property
    def planner(self) -> ModelCard:
        """The card of the model that plans, unless a fallback has to."""
        return self.res.models.registry.first(self.context.orchestrator, self.person.user)

    def offered(self) -> list[Tool]:
        """Return the tools that role, allow-list and configuration let through, in their order."""
        return self.res.tools.offered(self.person.role, self.person.tools, self.res.settings)

    @property
    def responder(self) -> ModelCard:
        """The card of the model that answers, unless a fallback has to."""
        return self.res.models.registry.first(self.context.responder, self.person.user)

    def mark(self, status: ThreadStatus) -> None:
        """Note in the ledger how the thread stands; that the list of threads lags behind ends no turn."""
        try:
            self.res.ledger.mark(self.state.thread, user=self.person.user, status=status)
        except StorageError:
            _log.exception("that thread %s is %s was not recorded", self.state.thread, status)

    def here(self, call_id: str) -> Here:
        """Return what a tool learns of the call it runs."""
        thread = self.state.thread
        return Here(
            settings=self.res.settings,
            user=self.person.user,
            user_role=self.person.role,
            thread_id=thread,
            call_id=call_id,
            idempotency_key=f"{thread}/{call_id}",
            store=self.runtime.store,
            offered=self.offered,
        )


async def take_up(state: State, runtime: Runtime[Context], *, begins: bool = False) -> Turn:
    """Return the turn that a step is to work on; one that begins owes nothing to the turn before."""
    res = await resources()
    context = context_of(runtime, {} if begins else state.choices)
    return Turn(state, runtime, res, context, person_of(context, runtime, res.settings))
