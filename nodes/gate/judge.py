"""What a turn has read until now, on which policy judges its calls."""

import logging
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from base.errors import StorageError
from nodes.kept import Folded
from nodes.state import Basis
from nodes.turn.calls import is_untrusted, records_of, rounds_of
from nodes.turn.turn import Turn
from tools.policy.rules import Rule
from tools.policy.taint import Taint, links_in, points_at

_log = logging.getLogger(__name__)


def basis_of(turn: Turn) -> Basis:
    """Return which tools brought strangers' text into the turn, and the links that nobody slipped in.

    Those are the links of what the person wrote, in this turn or before, and of results of calls made before
    the strangers' text came: of trusted ones, and of those that read a place which the request names, as in
    "open the link in the general channel". A later call's result may echo what that text put into it.
    """
    if not _strangers.over(turn.state.turn, rounds_of(turn.state)):
        return {"strangers": [], "links": []}
    strangers: set[str] = set()
    vouched: list[str] = [m.text for m in turn.state.messages if isinstance(m, HumanMessage)]
    ran = {record.call_id: record.args for record in records_of(turn.state)}
    unswayed = True
    for message in rounds_of(turn.state):
        if isinstance(message, AIMessage):
            unswayed = not strangers
        elif isinstance(message, ToolMessage):
            if unswayed and _is_vouched_for(message, ran.get(message.tool_call_id, {}), turn):
                vouched.append(message.text)
            if is_untrusted(message):
                strangers.add(message.name or "a tool")
    links = {link for text in vouched for link in links_in(text)}
    return {"strangers": sorted(strangers), "links": sorted(links)}


def _with_stranger(known: frozenset[str], message: AnyMessage) -> frozenset[str]:
    is_theirs = isinstance(message, ToolMessage) and is_untrusted(message)
    return known | {message.name or "a tool"} if is_theirs else known


_strangers: Folded[frozenset[str]] = Folded(frozenset(), _with_stranger)
"""Tools that brought strangers' text into a turn."""


def _is_vouched_for(result: ToolMessage, args: Mapping[str, Any], turn: Turn) -> bool:
    """Tell whether a result's links count as the person's: by the tool that read it, or by the request."""
    if result.status != "success":
        return False
    tool = turn.res.tools.find(result.name or "")
    request = next((m.text for m in turn.state.messages if m.id == turn.state.turn), "")
    return not is_untrusted(result) or (tool is not None and points_at(request, tool, args))


def read_on(basis: Basis) -> Taint:
    """Return a basis as policy takes it."""
    return Taint(frozenset(basis["strangers"]), frozenset(basis["links"]))


async def remembered(turn: Turn) -> list[Rule]:
    """Return the person's remembered rules that have not run out; none where the ledger cannot be read."""
    try:
        rows = await turn.res.ledger.rules(user=turn.person.user, valid=True)
    except StorageError:  # without its rules, a call asks
        _log.exception("the rules of %s could not be read", turn.person.user)
        return []
    return [Rule(r["tool"], r["where"], r["id"], r["definition"], r["uses_left"]) for r in rows]
