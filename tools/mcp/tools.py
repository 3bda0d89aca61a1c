"""MCP servers' tools as ours, and what a person is asked about."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from base.texts import visible
from base.worker_threads import in_thread
from tools.declaration import Canonical, Check, Here, OutcomeUnknown, Run, Tool, ToolFailure
from tools.mcp.config import ServerCard, ToolCard
from tools.mcp.connection import MOST_TOOLS, Connection, DeadError
from tools.mcp.pins import WITHDRAWN, Pin, Pinned, Pins
from tools.schema import (
    ArgumentsError,
    SchemaError,
    ShownSchema,
    shown_description,
    shown_schema,
    unstorable,
)

_LONGEST_NAME = 64
_LONGEST_STEM = 55
_LONGEST_SCHEMA = 50_000
"""Characters of JSON."""
_LONGEST_RESULT = 200_000
"""Characters."""
IsFree = Callable[[str], bool]
CHANGED = "its definition changed since it was last agreed to"
_TAKEN_BACK = "your agreement to it was taken back"


@dataclass(frozen=True, slots=True)
class ServerTool:
    """A server's tool, and as we offer it."""

    tool: Tool
    server: str
    definition: Any
    """What the server says of it."""
    hash: str
    """The SHA-256, in hex, of all that the definition tells a model."""

    @property
    def name(self) -> str:
        """The server's own name for it."""
        return str(self.definition.name)


def prefix_of(server: str) -> str:
    """Return what its tools' names begin with, a letter for Gemini."""
    return server if server[0].isalpha() else f"mcp_{server}"


def _offered_name(server: str, tool: str, is_free: IsFree) -> str:
    """Return the name by which models call a server's tool.

    It is one that every provider takes, and the same for ever: where it cannot be NAME_TOOL, a hash of both
    tells it from all others.
    """
    whole = f"{prefix_of(server)}_{tool}"
    fit = re.sub(r"[^A-Za-z0-9_-]+", "_", whole)
    if fit == whole and len(whole) <= _LONGEST_NAME and is_free(whole):
        return whole
    mark = hashlib.sha256(f"{server}\0{tool}".encode("utf-8", "replace")).hexdigest()[:8]
    return f"{fit[:_LONGEST_STEM].rstrip('_')}_{mark}"


def read_tools(
    connection: Connection, listed: Sequence[Any], pins: Pins, is_free: IsFree
) -> tuple[list[ServerTool], Pinned, list[str]]:
    """Return a server's usable tools, their pins, and what is wrong.

    May block. `is_free` tells whether a name is no other tool's.
    """
    usable, problems = _usable(connection, listed, is_free)
    trusting = connection.card.trusted or not connection.card.confirm
    pinned = pins.meet(connection.name, {each.name: each.hash for each in usable}, trusting=trusting)
    return usable, pinned, problems


def as_agreed(read: ServerTool, card: ServerCard, pin: Pin) -> ServerTool:
    """Return a tool that asks unless it is as agreed."""
    own = card.tools.get(read.name, ToolCard())
    changed = pin["hash"] != read.hash
    destructive = _says(read.definition, "destructiveHint")
    asks = card.confirm or destructive or not pin["agreed"] if own.confirm is None else own.confirm
    words = [f"Calls {read.name} on the MCP server {read.server}."]
    if destructive:
        words.append("It says of itself that it destroys something.")

    async def preview(here: Here, _args: dict[str, Any]) -> str:
        return here.settings.redact(" ".join(words))

    # Not in the preview, which stays the same when the person agrees to it.
    says = shown_description(read.definition.description).rstrip(".")
    why = _TAKEN_BACK if pin["hash"] == WITHDRAWN else CHANGED
    caution = f"{why}. It says now: {says}" if changed else None
    agreed = not changed and (pin["agreed"] or own.confirm is False)
    tool = replace(
        read.tool,
        confirm=changed or asks,
        preview=preview,
        caution=caution,
        untrusted_definition=not agreed,
    )
    return replace(read, tool=tool)


def _usable(
    connection: Connection, listed: Sequence[Any], is_free: IsFree
) -> tuple[list[ServerTool], list[str]]:
    usable: dict[str, ServerTool] = {}
    problems = []
    named_first = sorted(listed, key=lambda definition: definition.name not in connection.card.tools)
    for definition in named_first[:MOST_TOOLS]:
        if definition.name in usable:
            problems.append(f"a second tool named {definition.name[:_LONGEST_NAME]!r} is left out")
            continue
        try:
            usable[definition.name] = _read(connection, definition, is_free)
        except (SchemaError, RecursionError) as error:
            why = error or "too deep a schema"
            problems.append(f"{definition.name[:_LONGEST_NAME]!r} is left out: {why}")
    if len(listed) > MOST_TOOLS:
        problems.append(f"it has more than {MOST_TOOLS} tools; the others are left out")
    known = {definition.name for definition in listed}
    lacking = [name for name in connection.card.tools if name not in known]
    problems += [f"twobrain.toml names a tool {name!r} that it lacks" for name in lacking]
    return list(usable.values()), problems


def _read(connection: Connection, definition: Any, is_free: IsFree) -> ServerTool:
    card, server = connection.card, connection.name
    if definition.inputSchema is None:
        raise SchemaError("its definition is not as the protocol has it")
    own = card.tools.get(definition.name, ToolCard())
    effect = own.effect or card.effect
    if own.effect is None and effect == "read" and _says(definition, "destructiveHint"):
        effect = "write"
    outbound = _says(definition, "openWorldHint") or card.outbound
    off = None if own.enabled else "enabled = false in twobrain.toml"
    name = _offered_name(server, definition.name, is_free)
    words = shown_description(definition.description) or f"a tool of the MCP server {server}."
    is_itself = definition.description and name.endswith(definition.name)
    validator = _validator(definition.inputSchema)
    shown = shown_schema(definition.inputSchema)
    tool = Tool(
        name=name,
        description=words if is_itself else f"{definition.name}: {words}",
        check=_checker(name, validator, shown),
        canonical=_canonical(definition.inputSchema, shown),
        original=shown.original,
        parameters=shown.parameters,
        run=_run(connection, definition, repeatable=effect == "read"),
        effect=effect,
        label=own.label,
        role=own.role or card.role,
        idempotent=effect == "read",
        timeout_s=card.timeout_s,
        at_once=own.at_once,
        untrusted=True,
        outbound=outbound if own.outbound is None else own.outbound,
        missing=lambda _settings: off,
    )
    said = [definition.name, definition.description or "", definition.inputSchema]
    sha256 = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    return ServerTool(tool, server, definition, sha256)


def _says(definition: Any, hint: str) -> bool:
    return bool(definition.annotations and getattr(definition.annotations, hint))


def _validator(schema: dict[str, Any]) -> Any:
    """Return what tells whether arguments fit the server's own schema.

    Raises:
        SchemaError: it is no valid JSON Schema, is too long, or refers to something outside of itself.
    """
    from jsonschema_rs import (
        Draft4Validator,
        Draft7Validator,
        FancyRegexOptions,
        ValidationError,
        validator_for,
    )

    if len(json.dumps(schema)) > _LONGEST_SCHEMA:
        raise SchemaError(f"its schema is longer than {_LONGEST_SCHEMA:,} characters")
    limits = FancyRegexOptions(backtrack_limit=100_000)
    first: Exception | None = None
    for draft in (validator_for, Draft7Validator, Draft4Validator):  # older ones, though they do not say so
        try:
            return draft(schema, retriever=_fetch_nothing, pattern_options=limits)
        except (ValidationError, ValueError) as error:
            first = first or error
    raise SchemaError(f"its schema is not valid: {_first_line(first)}") from None


def _checker(name: str, validator: Any, shown: ShownSchema) -> Check:
    """Return a check of arguments, by shown or by own names."""

    def check(args: dict[str, Any]) -> dict[str, Any]:
        try:
            whole = shown.original(args)
            problems = unstorable(whole) or [_problem(each) for each in validator.iter_errors(whole)]
        except ValueError as error:
            problems = [_first_line(error)]
        if problems:
            raise ArgumentsError(name, problems, shown.parameters)
        return whole

    return check


def _canonical(schema: dict[str, Any], shown: ShownSchema) -> Canonical:
    """Return what leaves out a null that says nothing."""
    properties = schema.get("properties", {}).items()
    void = {name for name, each in properties if isinstance(each, dict) and each.get("default", 0) is None}

    def canonical(args: dict[str, Any]) -> dict[str, Any]:
        own = {shown.names.get(name, name): value for name, value in args.items()}  # defaults are as shown
        return {name: value for name, value in own.items() if value is not None or name not in void}

    return canonical


def _fetch_nothing(uri: str) -> Any:
    raise ValueError(f"it refers to {uri}, outside of itself")


def _problem(error: Any) -> str:
    place = ".".join(str(part) for part in error.instance_path)
    return f"{place!r}: {error.message}" if place else str(error.message)


def _first_line(error: Exception | None) -> str:
    return str(error).partition("\n")[0][:300]


def _run(connection: Connection, definition: Any, *, repeatable: bool) -> Run:
    async def run(_here: Here, args: dict[str, Any]) -> str:
        try:
            result = await connection.call(definition, args, repeatable=repeatable)
        except DeadError as error:
            raise ToolFailure(f"The MCP server {connection.name!r} cannot be used now: {error}.") from None
        text = await in_thread(partial(_text_of, result))
        if result.get("isError"):
            raise ToolFailure(text or f"{definition.name} failed and did not say why.")
        return text

    return run


def _text_of(result: Mapping[str, Any]) -> str:
    """Return a `CallToolResult` as text; of the rest, names. Blocks.

    Raises:
        OutcomeUnknown: it is not as MCP has it.
    """
    structured = result.get("structuredContent")
    content = result.get("content")
    try:
        parts = [] if content is None and structured is not None else [*map(_part, result["content"])]
    except (KeyError, TypeError):
        raise OutcomeUnknown("the MCP server's result is not as the protocol has it.") from None
    if structured is not None and (not parts or _words_in(structured) - _words_in([*map(_read_back, parts)])):
        parts.append(json.dumps(structured, ensure_ascii=False))  # it says what the text does not
    text = "\n".join(parts)
    if len(text) > _LONGEST_RESULT:
        text = f"{text[:_LONGEST_RESULT]}\n… (cut; the whole has {len(text):,} characters)"
    return text


def _read_back(part: str) -> Any:
    """Return what a part is as JSON, else its text."""
    with suppress(ValueError, RecursionError):
        return json.loads(part)
    return part


def _words_in(data: Any) -> Counter[str]:
    """Count the words of all values within data."""
    waiting, found = [data], Counter[str]()
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict | list):
            waiting += each.values() if isinstance(each, dict) else each
        elif each is not None:
            words = each if isinstance(each, str) else json.dumps(each)
            found.update(re.findall(r"\w+", words.casefold()))
    return found


def _part(content: Mapping[str, Any]) -> str:
    match content["type"]:
        case "text":
            return str(content["text"])
        case "resource":
            resource = content["resource"]
            named = f"[resource {visible(str(resource['uri']))}{_kind(resource)}"
            text = resource.get("text")
            return f"{named}]\n{text}" if text is not None else f"{named}, {_size(resource['blob'])}]"
        case "resource_link":
            named = f"{content.get('name', 'linked')}: {content['uri']}"
            return f"[resource {visible(named)}{_kind(content)}]"
        case kind:
            data = content.get("data")
            size = _size(data) if isinstance(data, str) else "not shown"
            return f"[{visible(str(kind))}{_kind(content)}, {size}]"


def _kind(content: Mapping[str, Any]) -> str:
    kind = content.get("mimeType")
    return f", {visible(str(kind))}" if kind else ""


def _size(base64: str) -> str:
    return f"{len(base64) * 3 // 4:,} bytes, not shown"


def absent(server: str, card: ServerCard, why: str) -> Tool:
    """Return what stands for the tools that a server does not give.

    It is listed, and never offered.
    """

    async def run(_here: Here, _args: dict[str, Any]) -> None:
        raise ToolFailure(why)

    return Tool(
        name=f"mcp:{server}",
        description=f"The tools of the MCP server {server}.",
        parameters={"type": "object", "properties": {}},
        run=run,
        check=dict,
        effect=card.effect,
        role=card.role,
        missing=lambda _settings: why,
    )
