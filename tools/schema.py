"""JSON schemas of tools' arguments, in the dialect all providers take."""

import json
import re
from collections.abc import Sequence
from typing import Any

_MOST_PARTS = 500
"""Of a schema once its references are followed; a few that refer to each other can multiply without end."""
_LONGEST_DESCRIPTION = 2_000
_SHOWN_PROBLEMS = 5
_PLAIN_KEYS = ("minimum", "maximum", "minItems", "maxItems", "default")
_PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What Anthropic takes as an argument's name; one that it does not take would cost the whole request."""
_KINDS = {"string", "integer", "number", "boolean", "array", "object"}


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


def plain_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in the plain dialect that every provider takes.

    It may allow more than the schema it is made of: a check of arguments holds to that one.

    Raises:
        SchemaError: it is not of an object, or its references multiply without end.
    """
    plain = _Plain(schema).of(schema, ())
    if plain.get("type", "object") != "object":
        raise SchemaError("its schema is not that of an object")
    plain.pop("anyOf", None)  # Anthropic takes no alternatives at the top
    return {**plain, "type": "object", "properties": plain.get("properties", {})}


class _Plain:
    """Renders the parts of one schema, and counts them."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._parts = 0

    def of(self, schema: Any, within: tuple[str, ...]) -> dict[str, Any]:
        """Return a part's rendering; `within` are the references it stands in."""
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise SchemaError(f"its schema has more than {_MOST_PARTS} parts")
        if not isinstance(schema, dict):
            return {}
        if isinstance(reference := schema.get("$ref"), str):
            return self._referred(reference, schema, within)
        whole = self._joined(schema, within)
        return whole if whole is not None else self._plain(schema, within)

    def _referred(self, reference: str, schema: dict[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        if reference in within:  # a schema that contains itself is shown one level deep
            return self.of({"type": "object"} | rest, within)
        found: Any = self._root
        for step in filter(None, reference.removeprefix("#").strip("/").split("/")):
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        return self.of((found if isinstance(found, dict) else {}) | rest, (*within, reference))

    def _joined(self, schema: dict[str, Any], within: tuple[str, ...]) -> dict[str, Any] | None:
        """Render alternatives but null, as no argument that may be absent is required."""
        rest = {k: v for k, v in schema.items() if k not in {"anyOf", "oneOf", "allOf", "type"}}
        kinds = schema.get("type")
        named = [{"type": kind} for kind in kinds] if isinstance(kinds, list) else None
        options = schema.get("anyOf") or schema.get("oneOf") or named
        if isinstance(options, list) and options:
            rendered = [self.of(each, within) for each in options if each != {"type": "null"}]
            if len(rendered) == 1:
                return rendered[0] | self._plain(rest, within)
            return {"anyOf": rendered} | self._plain(rest, within)
        if isinstance(parts := schema.get("allOf"), list):
            joined = self._plain({**rest, "type": kinds}, within)
            for each in parts:
                joined = _merged(joined, self.of(each, within))
            return joined
        return None

    def _plain(self, schema: dict[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
        plain = {key: schema[key] for key in _PLAIN_KEYS if schema.get(key) is not None}
        if (kind := schema.get("type")) in _KINDS:
            plain["type"] = kind
        if words := schema.get("description"):
            plain["description"] = shown_description(str(words))
        choices = [schema["const"]] if "const" in schema else schema.get("enum")
        if isinstance(choices, list) and choices and all(each and isinstance(each, str) for each in choices):
            plain |= {"type": "string", "enum": choices}
        if isinstance(properties := schema.get("properties"), dict):
            if odd := [name for name in properties if not _PROPERTY.fullmatch(name)]:
                raise SchemaError(f"its argument {odd[0][:80]!r} has a name that not every provider takes")
            plain["properties"] = {name: self.of(each, within) for name, each in properties.items()}
            wanted = schema.get("required")
            names = [n for n in wanted if n in properties] if isinstance(wanted, list) else []
            plain |= {"type": "object"} | ({"required": names} if names else {})
        if plain.get("type") == "array":
            plain["items"] = self.of(schema.get("items"), within) or {"type": "string"}
        return plain


def _merged(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    both = {**left, **right}
    if "properties" in left and "properties" in right:
        both["properties"] = left["properties"] | right["properties"]
        both["required"] = [*left.get("required", []), *right.get("required", [])]
    return both
