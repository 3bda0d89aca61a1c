"""What a turn has read until now, on which policy judges its calls."""

import logging

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from errors import StorageError
from nodes.records import is_untrusted, rounds_of
from nodes.state import Basis, State
from nodes.turn import Turn
from tools.links import links_in
from tools.policy import Read
from tools.rules import Rule

_log = logging.getLogger(__name__)


def basis_of(state: State) -> Basis:
    """Return which tools brought strangers' text into the turn, and the links that nobody slipped in.

    Those are the links of what the person wrote, in this turn or before, and of trusted results of calls
    made before the strangers' text came: a later call's result may echo what that text put into it.
    """
    strangers: set[str] = set()
    trusted: list[str] = [m.text for m in state.messages if isinstance(m, HumanMessage)]
    unswayed = True
    for message in rounds_of(state):
        if isinstance(message, AIMessage):
            unswayed = not strangers
        elif isinstance(message, ToolMessage) and is_untrusted(message):
            strangers.add(message.name or "a tool")
        elif isinstance(message, ToolMessage) and unswayed and message.status == "success":
            trusted.append(message.text)
    links = {link for text in trusted for link in links_in(text)} if strangers else set()
    return {"strangers": sorted(strangers), "links": sorted(links)}


def read_on(basis: Basis) -> Read:
    """Return a basis as policy takes it."""
    return Read(frozenset(basis["strangers"]), frozenset(basis["links"]))


async def remembered(turn: Turn) -> list[Rule]:
    """Return the person's remembered rules that have not run out; none where the ledger cannot be read."""
    try:
        rows = await turn.res.ledger.rules(user=turn.person.user, valid=True)
    except StorageError:  # without its rules, a call asks
        _log.exception("the rules of %s could not be read", turn.person.user)
        return []
    return [Rule(r["tool"], r["where"], r["id"], r["definition"], r["uses_left"]) for r in rows]
