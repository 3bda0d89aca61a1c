"""MCP servers' tools as ours, and what a person is asked about."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from base.settings import Settings
from tools.declaration import Check, Effect, Here, Preview, Run, Tool, ToolFailure
from tools.mcp.config import ServerCard, ToolCard
from tools.mcp.connection import MOST_TOOLS, Connection, DeadError
from tools.mcp.pins import Pins
from tools.schema import ArgumentsError, SchemaError, plain_schema, shown_description, unstorable

_LONGEST_NAME = 64
_LONGEST_SCHEMA = 50_000
"""Characters of JSON."""
_LONGEST_RESULT = 200_000
"""Characters."""
CHANGED = "its definition changed since it was last agreed to"


@dataclass(frozen=True, slots=True)
class Offer:
    """A server's tool as we offer it."""

    tool: Tool
    server: str
    name: str
    """The server's own name for it."""
    hash: str
    """Of its definition."""


def offers_of(connection: Connection, listed: Sequence[Any], pins: Pins) -> tuple[list[Offer], list[str]]:
    """Return a server's usable tools, and in words what is left out and why; it may block."""
    usable, problems = _usable(connection, listed)
    card = connection.card
    pinned = pins.meet(connection.name, {tool.name: tool.hash for tool in usable}, trusting=not card.confirm)
    offers = []
    for each in usable:
        pin = pinned[each.name]
        own = card.tools.get(each.name, ToolCard())
        changed = pin["hash"] != each.hash
        asks = changed or asks_first(card, own, destructive=each.destructive, agreed=pin["agreed"])
        tool = _tool(connection, each, own, asks=asks, changed=changed)
        offers.append(Offer(tool, connection.name, each.name, each.hash))
    return offers, problems


def asks_first(card: ServerCard, own: ToolCard, *, destructive: bool, agreed: bool) -> bool:
    """Tell whether a person is asked before each call of a tool whose definition has not changed.

    Args:
        card: the server's table.
        own: the tool's; what it says is the person's word for just this tool.
        destructive: the tool says so of itself.
        agreed: a person has agreed to it before.
    """
    if own.confirm is not None:
        return own.confirm
    return card.confirm or destructive or not agreed


def effect_of(card: ServerCard, own: ToolCard, *, destructive: bool) -> Effect:
    """Return what a tool does; one that calls itself destructive is no read unless its own table says so."""
    if own.effect is not None:
        return own.effect
    return "write" if destructive and card.effect == "read" else card.effect


@dataclass(frozen=True, slots=True)
class _Usable:
    definition: Any
    name: str
    parameters: dict[str, Any]
    check: Any
    hash: str
    destructive: bool
    reaches_out: bool


def _usable(connection: Connection, listed: Sequence[Any]) -> tuple[list[_Usable], list[str]]:
    usable: dict[str, _Usable] = {}
    problems = []
    named_first = sorted(listed, key=lambda definition: definition.name not in connection.card.tools)
    for definition in named_first[:MOST_TOOLS]:
        if definition.name in usable:
            problems.append(f"a second tool named {definition.name[:_LONGEST_NAME]!r} is left out")
            continue
        try:
            usable[definition.name] = _read(connection.name, definition)
        except (SchemaError, RecursionError) as error:
            problems.append(
                f"{definition.name[:_LONGEST_NAME]!r} is left out: {error or 'too deep a schema'}"
            )
    if len(listed) > MOST_TOOLS:
        problems.append(f"it has more than {MOST_TOOLS} tools; the others are left out")
    known = {definition.name for definition in listed}
    problems += [
        f"twobrain.toml names a tool {n!r} that it lacks" for n in connection.card.tools if n not in known
    ]
    return list(usable.values()), problems


def _read(server: str, definition: Any) -> _Usable:
    hints = definition.annotations
    return _Usable(
        definition=definition,
        name=definition.name,
        check=_checker(tool_name(server, definition.name), definition.inputSchema),
        parameters=plain_schema(definition.inputSchema),
        hash=_definition_hash(definition.name, definition.description or "", definition.inputSchema),
        destructive=bool(hints and hints.destructiveHint),
        reaches_out=bool(hints and hints.openWorldHint),
    )


def _definition_hash(name: str, description: str, schema: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hex, of all that a definition tells a model."""
    text = json.dumps([name, description, schema], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _checker(name: str, schema: dict[str, Any]) -> Check:
    """Return a check of arguments against the server's own schema.

    The check raises ArgumentsError.

    Raises:
        SchemaError: it is no valid JSON Schema, is too long, or refers to something outside of itself.
    """
    from jsonschema_rs import FancyRegexOptions, ValidationError, validator_for

    if len(json.dumps(schema)) > _LONGEST_SCHEMA:
        raise SchemaError(f"its schema is longer than {_LONGEST_SCHEMA:,} characters")
    try:
        limits = FancyRegexOptions(backtrack_limit=100_000)
        validator = validator_for(schema, retriever=_fetch_nothing, pattern_options=limits)
    except (ValidationError, ValueError) as error:
        raise SchemaError(f"its schema is not valid: {_first_line(error)}") from None

    def check(args: dict[str, Any]) -> dict[str, Any]:
        try:
            problems = unstorable(args) or [_problem(each) for each in validator.iter_errors(args)]
        except ValueError as error:
            problems = [_first_line(error)]
        if problems:
            raise ArgumentsError(name, problems, schema)
        return args

    return check


def _fetch_nothing(uri: str) -> Any:
    raise ValueError(f"it refers to {uri}, outside of itself")


def _problem(error: Any) -> str:
    place = ".".join(str(part) for part in error.instance_path)
    return f"{place!r}: {error.message}" if place else str(error.message)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]


def tool_name(server: str, name: str) -> str:
    """Return the name that models call a tool by."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{server}_{name}")[:_LONGEST_NAME]


def _tool(connection: Connection, each: _Usable, own: ToolCard, *, asks: bool, changed: bool) -> Tool:
    card = connection.card
    effect = effect_of(card, own, destructive=each.destructive)
    off = None if own.enabled else "enabled = false in twobrain.toml"
    return Tool(
        name=tool_name(connection.name, each.name),
        description=shown_description(each.definition.description)
        or f"{each.name}, a tool of the MCP server {connection.name}.",
        parameters=each.parameters,
        run=_run(connection, each.definition),
        check=each.check,
        effect=effect,
        role=own.role or card.role,
        confirm=asks,
        idempotent=effect == "read",
        timeout_s=card.timeout_s,
        at_once=own.at_once,
        untrusted=True,
        outbound=each.reaches_out or card.outbound if own.outbound is None else own.outbound,
        preview=_preview(connection.name, each, changed=changed),
        missing=lambda _settings: off,
        caution=CHANGED if changed else None,
    )


def _run(connection: Connection, definition: Any) -> Run:
    async def run(_here: Here, args: dict[str, Any]) -> str:
        try:
            result = await connection.call(definition, args)
        except DeadError as error:
            raise ToolFailure(f"The MCP server {connection.name!r} cannot be used now: {error}.") from None
        text = _text_of(result)
        if result.isError:
            raise ToolFailure(text or f"{definition.name} failed and did not say why.")
        return text

    return run


def _text_of(result: Any) -> str:
    """Return a `CallToolResult` as text: texts as they are, images and resources by name, cut where long."""
    parts = [_part(each) for each in result.content]
    if not parts and result.structuredContent is not None:
        parts = [json.dumps(result.structuredContent, ensure_ascii=False)]
    text = "\n".join(parts)
    if len(text) > _LONGEST_RESULT:
        text = f"{text[:_LONGEST_RESULT]}\n… (cut; the whole has {len(text):,} characters)"
    return text


def _part(content: Any) -> str:
    match content.type:
        case "text":
            return str(content.text)
        case "resource":
            resource = content.resource
            named = f"[resource {resource.uri}{_kind(resource)}"
            text = getattr(resource, "text", None)
            return f"{named}]\n{text}" if text is not None else f"{named}, {_size(resource.blob)}]"
        case "resource_link":
            return f"[resource {content.name}: {content.uri}{_kind(content)}]"
        case kind:
            return f"[{kind}{_kind(content)}, {_size(content.data)}]"


def _kind(content: Any) -> str:
    return f", {content.mimeType}" if content.mimeType else ""


def _size(base64: str) -> str:
    return f"{len(base64) * 3 // 4:,} bytes, not shown"


def _preview(server: str, each: _Usable, *, changed: bool) -> Preview:
    words = [f"Calls {each.name} on the MCP server {server}."]
    if each.destructive:
        words.append("It says of itself that it destroys something.")
    if changed:
        words.append(f"Note: {CHANGED}. It says now: {shown_description(each.definition.description)}")

    async def preview(here: Here, _args: dict[str, Any]) -> str:
        return here.settings.redact(" ".join(words))

    return preview


def absent(server: str, card: ServerCard, why: str) -> Tool:
    """Return what stands in the list of tools for those that a server does not give; it is never offered."""

    async def run(_here: Here, _args: dict[str, Any]) -> None:
        raise ToolFailure(why)

    def lacks(_settings: Settings) -> str:
        return why

    return Tool(
        name=f"mcp:{server}",
        description=f"The tools of the MCP server {server}.",
        parameters={"type": "object", "properties": {}},
        run=run,
        check=dict,
        effect=card.effect,
        role=card.role,
        confirm=True,
        missing=lacks,
    )
