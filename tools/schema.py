"""Schemas and descriptions of tools, as models are shown them.

A schema may refer to itself, join and choose at its top, and name arguments as it likes; not every provider
takes that, and one that does not refuses the whole request. What is shown says the same in plainer words:
references are followed, every provider takes the names, and an object stands at the top. It allows nothing
that the schema itself does not.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from tools.schema_joins import KIND_OF, Part, both_of, choices_of, one_of, without_null

_MOST_PARTS = 500
"""Of a schema once its references are followed; a few that refer to each other can multiply without end."""
_LEVELS = (8, 4, 2, 1, 0)
"""How deep references are followed into each other: the first number that keeps within that."""
_LONGEST_DESCRIPTION = 2_000
_SHOWN_PROBLEMS = 5
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
"""What all providers take as an argument's name, Google by its SDK's own documentation."""
_LONGEST_STEM = 50
_WRAPPER = "arguments"
_NOT_AT_THE_TOP = {"anyOf", "oneOf", "allOf", "not", "enum", "if"}
"""What OpenAI or Anthropic refuse there."""
_HOLD_A_SCHEMA = ("additionalProperties", "propertyNames", "contains")
_LEFT_AS_IT_IS = {"enum", "const", "default", "not", "if"}
_ANY_KIND = ("not", "if", "then", "else")


class SchemaError(ValueError):
    """A schema cannot be used; the text says why."""


class ArgumentsError(ValueError):
    """Arguments do not fit; the text tells a model what to change.

    Attributes:
        problem: what is wrong, in words for a person, without the schema.
    """

    def __init__(self, name: str, problems: Sequence[str], schema: dict[str, Any]) -> None:
        self.problem = "; ".join(problems[:_SHOWN_PROBLEMS])
        shown = json.dumps(schema, ensure_ascii=False)
        super().__init__(
            f"{name} was not run, as its arguments are invalid: {self.problem}. They must fit: {shown}"
        )


def unstorable(args: Any) -> list[str]:
    """Return the problems of arguments that no file or request can hold."""
    try:
        json.dumps(args, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return ["a text holds half a character (a lone surrogate)"]
    return []


def shown_description(text: str | None) -> str:
    """Return a description for a model, cut where very long."""
    words = (text or "").strip()
    if len(words) > _LONGEST_DESCRIPTION:
        words = f"{words[:_LONGEST_DESCRIPTION]}… (cut; it has {len(words):,} characters)"
    return words


@dataclass(frozen=True, slots=True)
class ShownSchema:
    """A schema as models are shown it, and the way back."""

    parameters: dict[str, Any]
    """An object, with no choice at its top."""
    names: Mapping[str, str]
    """Arguments that are shown by another name, to their own."""
    wrapper: str | None
    """The one argument that holds all others; None: there is none."""

    def original(self, args: dict[str, Any]) -> dict[str, Any]:
        """Return arguments as the schema has them; such ones stay.

        Raises:
            ValueError: one is given twice, or beside the one that holds all.
        """
        if self.wrapper and self.wrapper in args:
            inner = args[self.wrapper]
            if len(args) > 1 or not isinstance(inner, dict):
                raise ValueError(f"{self.wrapper!r} must be an object, and hold all other arguments")
            args = inner
        whole: dict[str, Any] = self._named(args)
        return whole

    def _named(self, value: Any) -> Any:
        if isinstance(value, dict) and self.names:
            named = {self.names.get(key, key): self._named(each) for key, each in value.items()}
            if len(named) < len(value):
                raise ValueError(f"one of {', '.join(map(repr, value))} is given twice")
            return named
        return [self._named(each) for each in value] if isinstance(value, list) else value


def shown_schema(schema: dict[str, Any]) -> ShownSchema:
    """Return a schema as models are shown it.

    Raises:
        SchemaError: it is not of an object, cannot be met, or multiplies without end.
    """
    for levels in _LEVELS:
        rendering = _Rendering(schema, levels)
        try:
            whole = _possible(_of_an_object(rendering.of(schema, ())))
        except _TooManyError:
            continue
        if whole is False:
            raise SchemaError("its schema is not that of an object")
        if not whole.keys() & _NOT_AT_THE_TOP:
            return ShownSchema({"properties": {}, **whole}, rendering.names, None)
        wrapper = _WRAPPER
        while wrapper in rendering.known:
            wrapper += "_"
        held = {"type": "object", "properties": {wrapper: whole}, "required": [wrapper]}
        return ShownSchema({**held, "additionalProperties": False}, rendering.names, wrapper)
    raise SchemaError(f"its schema has more than {_MOST_PARTS} parts")


def _of_an_object(whole: "Part") -> "Part":
    """Return what a rendering says of objects."""
    key = next((each for each in ("anyOf", "oneOf") if whole and each in whole), None)
    if whole is False or key is None:
        return both_of({"type": "object"}, whole)
    beside = {name: each for name, each in whole.items() if name != key}
    return one_of(key, {**beside, "type": "object"}, whole[key])


def _possible(part: Any) -> Any:
    """Return a rendering without arguments that nothing fits."""
    if not isinstance(part, dict):
        return [_possible(each) for each in part] if isinstance(part, list) else part
    told = {key: each if key in _LEFT_AS_IT_IS else _possible(each) for key, each in part.items()}
    arguments = told.get("properties")
    if isinstance(arguments, dict) and False in arguments.values():
        told["properties"] = {name: each for name, each in arguments.items() if each is not False}
        if told.keys() & {"additionalProperties", "patternProperties"}:  # which would let them in again
            told |= {"additionalProperties": False}
            told.pop("patternProperties", None)
    return told


class _TooManyError(Exception):
    """A schema has too many parts."""


class _Rendering:
    """Renders the parts of one schema, and counts them."""

    def __init__(self, root: dict[str, Any], levels: int) -> None:
        self._root = root
        self._levels = levels
        self._parts = 0
        self.names: dict[str, str] = {}
        """Of `ShownSchema`."""
        self.known: set[str] = set()
        """The names of all arguments."""

    def of(self, schema: Any, within: tuple[str, ...]) -> Part:
        """Return a part's rendering; `within` are the references it stands in."""
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise _TooManyError
        if not isinstance(schema, dict):
            return False if schema is False else {}
        whole = self._joined(schema, within)
        for key in ("anyOf", "oneOf"):
            if options := schema.get(key):
                whole = one_of(key, whole, [self.of(each, within) for each in options])
        if isinstance(kinds := schema.get("type"), list):
            whole = one_of("anyOf", whole, [{"type": kind} for kind in kinds])
        if "const" in schema or "enum" in schema:
            whole = one_of(
                "anyOf", whole, choices_of([schema["const"]] if "const" in schema else schema["enum"])
            )
        if whole and "unevaluatedProperties" in schema:  # by now its joins are one with it
            key = "unevaluatedProperties" if whole.keys() & _NOT_AT_THE_TOP else "additionalProperties"
            whole = {key: self.of(schema["unevaluatedProperties"], within), **whole}
        return whole

    def _joined(self, schema: dict[str, Any], within: tuple[str, ...]) -> Part:
        """Render what holds in any case."""
        whole = self._own(schema, within)
        reference = schema.get("$ref", schema.get("$dynamicRef"))
        if isinstance(reference, str):
            whole = both_of(whole, self._referred(reference, within))
        for each in schema.get("allOf", ()):
            whole = both_of(whole, self.of(each, within))
        return whole

    def _referred(self, reference: str, within: tuple[str, ...]) -> Part:
        if within.count(reference) > 1 or len(within) >= self._levels:
            return False  # what contains itself is not shown all the way down
        path = reference.removeprefix(str(self._root.get("$id", ""))).removeprefix("#")
        try:
            found = _pointed(self._root, path) if path[:1] in {"", "/"} else _anchored(self._root, path)
        except (LookupError, TypeError, ValueError):
            raise SchemaError(f"its schema refers to {reference[:80]!r}, which is not found") from None
        return self.of(found, (*within, reference))

    def _own(self, schema: dict[str, Any], within: tuple[str, ...]) -> Part:
        """Render what a part says by itself, without joins and choices."""
        own = {key: value for key, value in schema.items() if key in KIND_OF}
        own |= {key: self.of(own[key], within) for key in _HOLD_A_SCHEMA if key in own}
        own |= {key: self.of(schema[key], within) for key in _ANY_KIND if key in schema}
        if own.get("additionalProperties") == {}:
            own["additionalProperties"] = True
        kind = schema.get("type", next((KIND_OF[key] for key in own if key in KIND_OF), None))
        if isinstance(kind, str):
            own["type"] = kind
        if words := schema.get("description"):
            own["description"] = shown_description(str(words))
        if schema.get("default") is not None:
            own["default"] = schema["default"]
        _bound(own)
        if not self._arguments(schema, own, within) or not self._elements(schema, own, within):
            return False
        return own

    def _arguments(self, schema: dict[str, Any], own: dict[str, Any], within: tuple[str, ...]) -> bool:
        """Render an object's arguments; False: there can be none such."""
        properties, required = schema.get("properties", {}), schema.get("required", ())
        self.known |= properties.keys()
        shown = {}
        others = schema.get("additionalProperties", True)
        unsaid = {name: others for name in required if name not in properties}
        for name, each in {**properties, **unsaid}.items():
            part = self.of(each, within)
            if part is False and name in required:
                return False
            shown[self._name(name)] = part and self._argument(name, each, part)
        if shown or "properties" in own:
            own["properties"] = shown
        if own.pop("required", ()):
            own["required"] = [self._name(name) for name in required]
        self._conditions(schema, own, within)
        return True

    def _conditions(self, schema: dict[str, Any], own: dict[str, Any], within: tuple[str, ...]) -> None:
        """Render what some arguments want of others, and their patterns."""
        for key, each in schema.get("dependencies", {}).items():  # as drafts before 2019 have them
            kind = "dependentRequired" if isinstance(each, list) else "dependentSchemas"
            own[kind] = {**own.get(kind, {}), key: each}
        if needed := own.get("dependentRequired"):
            own["dependentRequired"] = {self._name(n): [*map(self._name, each)] for n, each in needed.items()}
        if needed := own.get("dependentSchemas"):
            own["dependentSchemas"] = {self._name(n): self.of(each, within) for n, each in needed.items()}
        if patterns := own.get("patternProperties"):
            own["patternProperties"] = {name: self.of(each, within) for name, each in patterns.items()}

    def _argument(self, name: str, schema: Any, part: dict[str, Any]) -> dict[str, Any]:
        if isinstance(schema, dict) and schema.get("default", 0) is None:
            part = without_null(part)
        if name == self._name(name):
            return part
        words = f"`{name}`: {part['description']}" if "description" in part else f"`{name}`"
        return {**part, "description": words}

    def _elements(self, schema: dict[str, Any], own: dict[str, Any], within: tuple[str, ...]) -> bool:
        """Render an array's elements; False: there can be none such."""
        if own.get("type") != "array" and not own.keys() & {"items", "prefixItems"}:
            return own.get("contains") is not False
        first, others = schema.get("prefixItems", ()), schema.get("items", True)
        if isinstance(others, list):  # as drafts before 2020-12 have tuples
            first, others = others, schema.get("additionalItems", True)
        parts = [self.of(each, within) for each in first]
        rest = self.of(others, within)
        if rest is False:
            own["maxItems"] = min(len(parts), own.get("maxItems", len(parts)))
        own["items"] = {} if rest is False else rest  # OpenAI wants it, whatever it says
        if parts:
            own["prefixItems"] = parts
        return False not in parts and own.get("minItems", 0) <= own.get("maxItems", math.inf)

    def _name(self, name: str) -> str:
        """Return the name by which an argument is shown for ever."""
        if _NAME.fullmatch(name):
            return name
        stem = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:_LONGEST_STEM]
        shown = f"{stem}_" if stem[:1].isalpha() else f"p_{stem}_"
        shown += hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:6]
        self.names[shown] = name
        return shown


def _pointed(found: Any, path: str) -> Any:
    for step in filter(None, path.split("/")):
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def _anchored(root: Any, name: str) -> Any:
    waiting = [root]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if name in {each.get("$anchor"), each.get("$dynamicAnchor")} or each.get("$id") in {
                name,
                f"#{name}",
            }:
                return each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
    raise LookupError(name)


def _bound(own: dict[str, Any]) -> None:
    """Give bounds the form of the latest draft; integers' that of all."""
    for key, limit, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
        beyond = own.pop(key, None)
        if beyond is True:  # draft 4
            beyond = own.pop(limit, None)
        if not isinstance(beyond, int | float) or beyond is False:
            continue
        if own.get("type") != "integer":
            own[key] = beyond
            continue
        nearest = math.floor(beyond) + 1 if step > 0 else math.ceil(beyond) - 1
        own[limit] = (
            max(own.get(limit, nearest), nearest) if step > 0 else min(own.get(limit, nearest), nearest)
        )
