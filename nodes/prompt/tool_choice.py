"""Which tools a planner is shown: all of them, or those that matter most where they are too many."""

from collections.abc import Iterable
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from base.settings import ModelCard
from nodes.prompt.compaction import CHARS_PER_TOKEN, budget_of
from nodes.state import State
from nodes.turn.calls import rounds_of
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
        *("web_search", "web_fetch", "remember", "recall", "read_result", "find_tools"),
    }
)
"""Tools that are always shown."""
_EARLIER = 6
"""Messages before the request whose words count."""

Spec = dict[str, Any]


def offer(turn: Turn) -> list[Spec]:
    """Return the tools to show the planner, in the registry's order.

    Within a turn they change only where find_tools found others, or one was called that is not shown:
    a change of tools costs a provider's cache of the whole prompt.
    """
    if not turn.planner.tools:
        return []
    tools = turn.offered()
    specs, sizes = turn.res.tools.specs, turn.res.tools.sizes
    names = [tool.name for tool in tools]
    most = schema_budget(turn.planner)
    others = [name for name in names if name != find_tools.name]
    if sum(sizes[name] for name in others) <= most:
        return [specs[name] for name in others]
    shown: set[str] = set()
    for name in _by_need(tools, turn.state):
        if name in CORE or sum(sizes[each] for each in shown) + sizes[name] <= most:
            shown.add(name)
    return [specs[name] for name in names if name in shown]


def schema_budget(card: ModelCard) -> int:
    """Return the characters that the schemas may take."""
    tokens = min(MOST_SCHEMAS, max(LEAST_SCHEMAS, int(budget_of(card) * SCHEMA_SHARE)))
    return tokens * CHARS_PER_TOKEN


def _by_need(tools: list[Tool], state: State) -> Iterable[str]:
    """Return each name once: core, found in this turn, called lately, fitting what was said, all others."""
    names = [tool.name for tool in tools]
    calls = [c for m in reversed(state.messages) if isinstance(m, AIMessage) for c in m.tool_calls]
    wanted = [
        *(name for name in names if name in CORE),
        *_found(tools, state),
        *(call["name"] for call in calls),
        *(tool.name for tool in ranked(tools, _said(state))),
        *names,
    ]
    known = set(names)
    return dict.fromkeys(name for name in wanted if name in known)


def _found(tools: list[Tool], state: State) -> Iterable[str]:
    """Return what the turn's searches found, the latest first: searched again, they find the same."""
    for message in reversed(rounds_of(state)):
        for call in reversed(message.tool_calls) if isinstance(message, AIMessage) else ():
            if call["name"] == find_tools.name:
                yield from (tool.name for tool in matching(tools, str(call["args"].get("query", ""))))


def _said(state: State) -> str:
    """Return the request and what was said just before it; not what tools gave, which others may write."""
    said: list[str] = []
    for message in state.messages:
        if isinstance(message, HumanMessage) or (isinstance(message, AIMessage) and not message.tool_calls):
            said.append(message.text)
        if message.id == state.turn:
            break
    return "\n".join(said[-1 - _EARLIER :])
