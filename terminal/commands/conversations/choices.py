"""`/model`, `/writer`, `/path` in a chat: what a person chooses."""

from collections.abc import Mapping
from typing import get_args

from rich.text import Text

from base.errors import UnknownToolError
from base.run_context import PathChoice
from base.texts import count, dollars, visible
from nodes.context import Context
from terminal.conversation import Conversation
from terminal.text import json_line, one_line
from tools.declaration import Tool

FIELDS = {"/model": "orchestrator", "/writer": "responder", "/path": "path"}
"""Command to the field of the context that it chooses."""
_WIDTH = 60


def show_choices(talk: Conversation, command: str) -> None:
    """Show what holds for the turns to come."""
    if command == "/path":
        _say(talk, f"path: {_chosen(talk, 'path')} (there are {', '.join(get_args(PathChoice))})")
        return
    models = talk.orchestrator.models
    for does, field in (("reasons", "orchestrator"), ("writes", "responder")):
        chosen = _chosen(talk, field)
        _say(talk, f"{does}: {chosen} ({models.first_name(chosen, talk.user)})")
    for name, card in models.cards():
        lacks = "" if models.is_offered(name, talk.user) else models.missing(name, talk.user) or "not yours"
        _say(talk, f"  {name}  {card.label or card.model}{f'  ({lacks})' if lacks else ''}")


def _chosen(talk: Conversation, field: str) -> str:
    """Return what holds: what was chosen, else what twobrain.toml says."""
    card = talk.orchestrator.settings.user(talk.user)
    own = {"path": card.path, "orchestrator": card.model, "responder": card.writer}[field]
    said = getattr(talk.context, field) if field in talk.context.model_fields_set else own
    return str(said or Context.model_fields[field].default)


async def show_tools(talk: Conversation, name: str) -> None:
    """List the tools that a person has, or describe one.

    Raises:
        UnknownToolError: there is none of that name.
    """
    tools = await _tools(talk)
    if name:
        found = next((tool for tool in tools if tool.name == name), None)
        if found is None:
            raise UnknownToolError(f"You have no tool {name!r}. /tools lists those you have.")
        _describe(talk, found)
        return
    for tool in tools:
        asks = " (asks first)" if tool.confirm else ""
        line = Text.assemble((visible(tool.name), "bold"), f"{asks}  {one_line(tool.description, _WIDTH)}")
        talk.screen.side.print(line)


async def _tools(talk: Conversation) -> list[Tool]:
    settings, registry = talk.orchestrator.settings, await talk.orchestrator.all_tools()
    card = settings.user(talk.user)
    return registry.offered(card.role, card.tools, settings)


def _describe(talk: Conversation, tool: Tool) -> None:
    _say(talk, f"{tool.name}: {tool.description}")
    _say(talk, f"It {'asks first' if tool.confirm else 'asks nobody'}; effect: {tool.effect}.")
    for name, schema in tool.own_args(dict(tool.parameters.get("properties", {}))).items():
        _say(talk, f"  {name}  {schema.get('description') or json_line(schema)}")


async def show_usage(talk: Conversation, thread: str) -> None:
    """Show what a conversation and the day took, and the day's limits."""
    ledger, limits = talk.orchestrator.ledger, talk.orchestrator.settings.limits_of(talk.user)
    for row in await ledger.usage_totals(by="model", thread=thread):
        tokens = count((row["input_tokens"] or 0) + (row["output_tokens"] or 0), "token")
        cost = dollars(row["cost_usd"]) if row["cost_usd"] is not None else "cost unknown"
        _say(talk, f"this thread, {row['backend']}: {count(row['model_calls'], 'call')}, {tokens}, {cost}")
    tokens_today, usd = await ledger.used_today(talk.user)
    most = f" of {limits.max_tokens_per_day:,}" if limits.max_tokens_per_day else ""
    most_usd = f" of {dollars(limits.max_cost_usd_per_day)}" if limits.max_cost_usd_per_day else ""
    _say(talk, f"today (UTC): {tokens_today:,}{most} tokens, {dollars(usd)}{most_usd}")


async def choices_after(talk: Conversation, command: str) -> Mapping[str, str]:
    """Return what may stand behind a command, with what it means."""
    if talk.at_server and command not in {"/thread", "/path"}:
        return {}
    match command:
        case "/thread":
            rows = await talk.orchestrator.ledger.threads(user=talk.user)
            return {row["thread"]: one_line(row["title"] or "", _WIDTH) for row in reversed(rows)}
        case "/tools":
            return {tool.name: one_line(tool.description, _WIDTH) for tool in await _tools(talk)}
        case "/path":
            return dict.fromkeys(get_args(PathChoice), "")
        case "/model" | "/writer":
            models = talk.orchestrator.models
            return {
                name: card.label or card.model
                for name, card in models.cards()
                if models.is_offered(name, talk.user)
            }
    return {}


def _say(talk: Conversation, words: str) -> None:
    talk.screen.side.print(visible(words, "\n"))
