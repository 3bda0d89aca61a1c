"""Which tools a planner is shown: those that matter most."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from nodes.prompt.compaction import CHARS_PER_TOKEN, budget_of
from nodes.turn.history import TurnHistory, calls_in, said_before
from nodes.turn.turn import Turn
from tools.declaration import Tool
from tools.find_tools import find_tools, matching, ranked

SCHEMA_SHARE = 0.2
"""Of the context budget, for all schemas together."""
LEAST_SCHEMAS, MOST_SCHEMAS = 3_000, 6_000
"""Tokens, whatever the share: room for the tools of an install without servers; and beyond some forty
tools a model chooses worse, whatever its window."""
CORE = frozenset(
    {
        *("get_time", "calculate", "list_files", "read_file", "search_files", "write_file"),
        *("web_search", "web_fetch", "remember", "recall", "read_skill", "read_result", "find_tools"),
    }
)
"""Tools that are always shown."""
_EARLIER_MESSAGES = 6
"""Messages before the request whose words count."""

Spec = dict[str, Any]


def offer(turn: Turn) -> tuple[list[Spec], int]:
    """Return the tools to show the planner, and what they take.

    They are in OpenAI's format and in the registry's order; what they take is in characters.
    Within a turn they change only where find_tools found others, or one was called that is not shown:
    a change of tools costs a provider's cache of the whole prompt.
    """
    if not turn.planner.tools:
        return [], 0
    tools = turn.offered
    sizes = turn.res.tools.sizes
    names = [tool.name for tool in tools]
    share = int(budget_of(turn.planner) * SCHEMA_SHARE)
    most = min(MOST_SCHEMAS, max(LEAST_SCHEMAS, share)) * CHARS_PER_TOKEN
    others = [name for name in names if name != find_tools.name]
    if sum(sizes[name] for name in others) <= most:
        return _offer(turn, others)
    shown: set[str] = set()
    taken = 0
    for name in _by_need(tools, turn):
        if name in CORE or taken + sizes[name] <= most:
            shown.add(name)
            taken += sizes[name]
    return _offer(turn, [name for name in names if name in shown])


def _offer(turn: Turn, names: list[str]) -> tuple[list[Spec], int]:
    specs, sizes = turn.res.tools.specs, turn.res.tools.sizes
    return [specs[name] for name in names], sum(sizes[name] for name in names)


def _by_need(tools: Sequence[Tool], turn: Turn) -> Iterable[str]:
    """Return names: core, found, called lately, fitting the words, all others."""
    names = [tool.name for tool in tools]
    wanted = [
        *(name for name in names if name in CORE),
        *_found(tools, turn.history),
        *(call["name"] for call in reversed(list(calls_in(turn.state.messages)))),
        *(tool.name for tool in ranked(tools, _said(turn))),
        *names,
    ]
    known = set(names)
    return dict.fromkeys(name for name in wanted if name in known)


def _found(tools: Sequence[Tool], history: TurnHistory) -> Iterable[str]:
    """Return what the turn's searches found, the latest first."""
    for call in reversed(history.calls):
        if call.name == find_tools.name:
            yield from (tool.name for tool in matching(tools, str(call.args.get("query", ""))))


def _said(turn: Turn) -> str:
    """Return the words of the request and just before; no results."""
    earlier = said_before(turn.state.messages, turn.history.before, _EARLIER_MESSAGES, sys.maxsize)
    return "\n".join([*(each.text for each in earlier), turn.history.request.text])
