"""What of JSON Schema stands on each wire, and schemas as makers of MCP servers write them."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

from jsonschema import Draft4Validator, Draft7Validator, Draft202012Validator, SchemaError
from jsonschema.validators import validator_for

ANY = [{"type": kind} for kind in ("string", "number", "boolean", "object")]
ANYTHING = {"anyOf": [*ANY, {"type": "array", "items": {"anyOf": ANY}}]}
TEXT = {"type": "string"}
PAIR = {"a": TEXT, "b": {"type": "integer"}}


def must(**told: Any) -> str:
    return f"It must also fit the JSON Schema {json.dumps(told, sort_keys=True)}."


ONE = "Exactly one of the choices must fit."
A, B = ({"type": "object", "properties": PAIR, "required": [name]} for name in PAIR)
SAME: Any = None

CONSTRUCTS: dict[str, tuple[dict[str, Any], dict[str, Any], Any, Any]] = {
    # construct: an argument's schema, on Anthropic's wire, on an OpenAI-compatible one's, on Gemini's
    "text": (TEXT, TEXT, SAME, SAME),
    "title, examples": ({**TEXT, "title": "T", "examples": ["x"]}, TEXT, SAME, SAME),
    "default": ({**TEXT, "default": "x"}, {**TEXT, "default": "x"}, SAME, SAME),
    "length": (
        {**TEXT, "minLength": 1, "maxLength": 9},
        {**TEXT, "minLength": 1, "maxLength": 9},
        SAME,
        {**TEXT, "description": must(minLength=1, maxLength=9)},
    ),
    "format": (
        {**TEXT, "format": "date", "description": "When."},
        {**TEXT, "format": "date", "description": "When."},
        {**TEXT, "description": f"When. {must(format='date')}"},
        {**TEXT, "description": f"When. {must(format='date')}"},
    ),
    "simple pattern": (
        {**TEXT, "pattern": "^[a-z]+$"},
        {**TEXT, "pattern": "^[a-z]+$"},
        SAME,
        {**TEXT, "description": must(pattern="^[a-z]+$")},
    ),
    "pattern": (
        {**TEXT, "pattern": r"\S"},
        {**TEXT, "pattern": r"\S"},
        {**TEXT, "description": must(pattern=r"\S")},
        {**TEXT, "description": must(pattern=r"\S")},
    ),
    "bounds": (
        {"type": "integer", "minimum": 1, "maximum": 9},
        {"type": "integer", "minimum": 1, "maximum": 9},
        SAME,
        SAME,
    ),
    "exclusive bounds of integers": (
        {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10},
        {"type": "integer", "minimum": 1, "maximum": 9},
        SAME,
        SAME,
    ),
    "exclusive bound": (
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "number", "exclusiveMinimum": 0},
        SAME,
        {"type": "number", "description": must(exclusiveMinimum=0)},
    ),
    "multiple": (
        {"type": "number", "multipleOf": 5},
        {"type": "number", "multipleOf": 5},
        SAME,
        {"type": "number", "description": must(multipleOf=5)},
    ),
    "enum": ({"enum": ["x", "y"]}, {**TEXT, "enum": ["x", "y"]}, SAME, SAME),
    "enum of integers": (
        {"type": "integer", "enum": [0, 1, 3]},
        {"type": "integer", "enum": [0, 1, 3]},
        SAME,
        SAME,
    ),
    "enum with an empty text": (
        {**TEXT, "enum": ["", "x"]},
        {**TEXT, "enum": ["", "x"]},
        {**TEXT, "enum": ["x"], "description": must(enum=["", "x"])},
        {**TEXT, "enum": ["x"], "description": must(enum=["", "x"])},
    ),
    "enum of several kinds": (
        {"enum": ["auto", 1]},
        {"anyOf": [{**TEXT, "enum": ["auto"]}, {"type": "integer", "enum": [1]}]},
        SAME,
        SAME,
    ),
    "constant": ({"const": "k"}, {**TEXT, "enum": ["k"]}, SAME, SAME),
    "constant truth": (
        {"const": True},
        {"type": "boolean", "enum": [True]},
        {"type": "boolean", "description": must(enum=[True])},
        {"type": "boolean", "description": must(enum=[True])},
    ),
    "null that means nothing": ({"anyOf": [TEXT, {"type": "null"}], "default": None}, TEXT, SAME, SAME),
    "null": ({"type": ["string", "null"]}, {"anyOf": [TEXT, {"type": "null"}]}, SAME, SAME),
    "kinds": (
        {"type": ["string", "integer"], "minimum": 1, "description": "Id."},
        {"description": "Id.", "anyOf": [TEXT, {"type": "integer", "minimum": 1}]},
        SAME,
        SAME,
    ),
    "anything": ({}, {}, ANYTHING, ANYTHING),
    "list": ({"type": "array"}, {"type": "array", "items": {}}, *[{"type": "array", "items": ANYTHING}] * 2),
    "bounded list": (
        {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 3},
        {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 3},
        SAME,
        SAME,
    ),
    "set": (
        {"type": "array", "items": TEXT, "uniqueItems": True},
        {"type": "array", "items": TEXT, "uniqueItems": True},
        SAME,
        {"type": "array", "items": TEXT, "description": must(uniqueItems=True)},
    ),
    "tuple": (
        {"type": "array", "prefixItems": [TEXT, {"type": "integer"}], "items": False, "minItems": 2},
        *[
            {"type": "array", "items": items, "minItems": 2, "maxItems": 2}
            | {"prefixItems": [TEXT, {"type": "integer"}]}
            for items in ({}, ANYTHING, ANYTHING)
        ],
    ),
    "object": (
        {"type": "object", "properties": PAIR, "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": PAIR, "required": ["a"], "additionalProperties": False},
        SAME,
        SAME,
    ),
    "map": (
        {"type": "object", "additionalProperties": TEXT},
        {"type": "object", "additionalProperties": TEXT},
        SAME,
        SAME,
    ),
    "any object": ({"type": "object"}, {"type": "object"}, SAME, SAME),
    "needed without a schema": (
        {"type": "object", "required": ["a"]},
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        *[{"type": "object", "properties": {"a": ANYTHING}, "required": ["a"]}] * 2,
    ),
    "choice": ({"anyOf": [TEXT, {"type": "integer"}]}, {"anyOf": [TEXT, {"type": "integer"}]}, SAME, SAME),
    "exclusive choice of kinds": ({"oneOf": [TEXT, A]}, {"anyOf": [TEXT, A]}, SAME, SAME),
    "exclusive choice": (
        {"oneOf": [A, B]},
        {"oneOf": [A, B]},
        {"oneOf": [A, B], "description": ONE},
        {"oneOf": [A, B], "description": ONE},
    ),
    "choice of what is needed": (
        {"type": "object", "properties": PAIR, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"anyOf": [A, B]},
        SAME,
        SAME,
    ),
    "join": (
        {"allOf": [{"properties": {"a": TEXT}, "required": ["a"]}, {"properties": {"b": PAIR["b"]}}]},
        A,
        SAME,
        SAME,
    ),
    "join with a bar": (
        {"allOf": [{**A, "additionalProperties": False}, {"properties": {"c": TEXT}}]},
        {"type": "object"}
        | {"allOf": [{**A, "additionalProperties": False}, {"type": "object", "properties": {"c": TEXT}}]},
        *[
            {"type": "object", "description": must(allOf=[
                {**A, "additionalProperties": False}, {"type": "object", "properties": {"c": TEXT}}])}
        ] * 2,
    ),
    "reference to a definition": ({"$ref": "#/$defs/Kind", "description": "d"},
                                  {"description": "d", "type": "string", "enum": ["x"]}, SAME, SAME),
    "reference into a choice": ({"$ref": "#/properties/start/anyOf/0"}, {**TEXT, "format": "date"},
                                *[{**TEXT, "description": must(format="date")}] * 2),
    "reference to itself": (
        {"$ref": "#/$defs/Node"},
        {"type": "object", "properties": {"next": {"type": "object", "properties": {}}}},
        SAME,
        SAME,
    ),
    "not": (
        {**TEXT, "not": {"const": "x"}},
        {**TEXT, "not": {**TEXT, "enum": ["x"]}},
        *[{**TEXT, "description": must(**{"not": {**TEXT, "enum": ["x"]}})}] * 2,
    ),
    "needs of one another": (
        {"type": "object", "properties": PAIR, "dependentRequired": {"a": ["b"]}},
        {"type": "object", "properties": PAIR, "dependentRequired": {"a": ["b"]}},
        *[{"type": "object", "properties": PAIR, "description": must(dependentRequired={"a": ["b"]})}] * 2,
    ),
}  # fmt: skip
"""None in the last two: the same again."""
DEFINITIONS = {
    "Kind": {"enum": ["x"]},
    "Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}},
}

_ISSUE = dict.fromkeys(("project", "title", "body", "state", "assignee", "milestone", "due", "labels"), TEXT)
_LITERALS = [{"type": "number", "const": each} for each in (6, 7, 7.5, 8)]
MAKERS: dict[str, dict[str, Any]] = {
    "notion": {
        "type": "object",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "Provide exactly one of the documented variants.",
        "anyOf": [
            {"type": "object", "properties": {"filename": TEXT, name: TEXT}, "required": ["filename", name]}
            for name in ("content", "source_url", "upload_id")
        ],
    },
    "higgsfield": {
        "type": "object",
        "properties": {"video_input_id": TEXT, "youtube_url": {**TEXT, "format": "uri"}},
        "oneOf": [{"required": ["video_input_id"]}, {"required": ["youtube_url"]}],
    },
    "huly": {
        "type": "object",
        "properties": _ISSUE,
        "required": ["project"],
        "additionalProperties": False,
        "anyOf": [{"required": [name]} for name in _ISSUE],
    },
    "ftshare": {
        "type": "object",
        "anyOf": [
            {"properties": {"stock_code": {}}, "required": ["stock_code"]},
            {"properties": {"report_type": {}, "year": {}}, "required": ["year", "report_type"]},
        ],
        "properties": {"stock_code": TEXT, "year": PAIR["b"], "report_type": {"enum": ["q1", "q2"]}},
        "required": [],
    },
    "hevy": {
        "type": "object",
        "properties": {"rpe": {"anyOf": [*_LITERALS, {"type": "null"}]}, "reps": {"type": "integer"}},
        "required": ["rpe"],
    },
    "evcc": {
        "type": "object",
        "properties": {"phases": {"enum": [0, 1, 3], "type": "integer", "example": 3}, "id": PAIR["b"]},
        "required": ["id", "phases"],
    },
    "zod 3 of a typescript server": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "point": {"type": "array", "minItems": 2, "maxItems": 2, "items": [{"type": "number"}] * 2},
            "limit": {"type": "integer", "exclusiveMinimum": 0, "maximum": 100, "default": 30},
            "start": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            "end": {"$ref": "#/properties/start/anyOf/0"},
        },
        "required": ["point"],
        "additionalProperties": False,
    },
    "pydantic of a python server": {
        "$defs": {
            "Cat": {"type": "object", "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}},
                    "required": ["kind", "lives"], "title": "Cat"},
            "Dog": {"type": "object", "properties": {"kind": {"const": "dog"}, "name": TEXT},
                    "required": ["kind"], "title": "Dog"},
            "Tree": {"type": "object", "properties": {
                "name": TEXT, "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
                "required": ["name"]},
        },
        "properties": {
            "pet": {"discriminator": {"propertyName": "kind"},
                    "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]},
            "tree": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}], "default": None},
            "headers": {"additionalProperties": TEXT, "type": "object"},
        },
        "required": ["pet"],
        "type": "object",
    },
    "spring": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"count": {"type": "integer", "format": "int32"}, "user-id": TEXT},
        "required": ["count", "user-id"],
        "additionalProperties": False,
    },
    "an old generator": {
        "properties": {
            "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
            "pair": {"type": "array", "items": [TEXT, TEXT], "additionalItems": False},
        },
        "required": ["ratio"],
    },
    "a merge of two versions that agree on nothing": {
        "type": "object",
        "properties": {"when": {"allOf": [TEXT, {"type": "integer"}]}, "why": TEXT},
        "additionalProperties": {"type": "integer"},
    },
    "the same, by patterns": {
        "type": "object",
        "properties": {"when": {"type": ["string"], "enum": [1]}, "why": TEXT, "how": TEXT},
        "patternProperties": {"^w": {}},
        "additionalProperties": {"type": "integer"},
    },
    "what none can give, and a choice that needs it": {
        "type": "object",
        "properties": {
            "when": {"type": "object", "required": ["day"], "additionalProperties": False},
            "why": {"enum": list("abcdefghijkl")},
        },
        "anyOf": [{"required": ["when"]}, {"required": ["why"]}],
    },
    "if and then": {
        "type": "object",
        "properties": {"mode": {"enum": ["file", "text"]}, "path": TEXT, "text": TEXT},
        "required": ["mode"],
        "if": {"properties": {"mode": {"const": "file"}}},
        "then": {"required": ["path"]},
        "else": {"required": ["text"]},
    },
}  # fmt: skip


def own_check(schema: dict[str, Any]) -> Callable[[Any], bool]:
    """Return what tells whether a value fits a schema, in the draft that it is of."""
    for draft in (validator_for(schema, Draft202012Validator), Draft7Validator, Draft4Validator):
        try:
            draft.check_schema(schema)
        except SchemaError:
            continue
        return draft(schema).is_valid
    raise AssertionError


def obeyed(schema: Any) -> Any:
    """Return a schema that also binds to what its descriptions say."""
    if isinstance(schema, list):
        return [obeyed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {key: each if key in {"enum", "default"} else obeyed(each) for key, each in schema.items()}
    told = re.search(r"It must also fit the JSON Schema (\{.*\})\.$", str(schema.get("description", "")))
    return {**whole, "allOf": [*whole.get("allOf", ()), json.loads(told[1])]} if told else whole


def followed(schema: dict[str, Any], number: int = 300) -> list[Any]:
    """Return values that follow a schema as shown, its words included."""
    formats = Draft202012Validator.FORMAT_CHECKER
    binding = Draft202012Validator(obeyed(schema), format_checker=formats)
    rng = random.Random(json.dumps(schema))
    return [value for value in (_sample(schema, rng) for _ in range(number)) if binding.is_valid(value)]


def _sample(schema: dict[str, Any], rng: random.Random) -> Any:
    key = next((each for each in ("anyOf", "oneOf", "allOf") if each in schema), None)
    if key is None:
        return rng.choice(schema["enum"]) if "enum" in schema else _plain_sample(schema, rng)
    picked = _sample(rng.choice(schema[key]), rng)
    rest = {name: each for name, each in schema.items() if name != key}
    return {**_sample(rest, rng), **picked} if "properties" in rest and isinstance(picked, dict) else picked


def _plain_sample(schema: dict[str, Any], rng: random.Random) -> Any:
    kind = schema.get("type", rng.choice(["string", "integer", "object", "null"]))
    if kind == "object":
        needed, known = schema.get("required", ()), schema.get("properties", {})
        given = {n: _sample(each, rng) for n, each in known.items() if n in needed or rng.random() < 0.5}
        more = schema.get("additionalProperties")
        name = rng.choice([each for each in ("X-Extra", "when") if each not in known])
        return given | ({name: _sample(more, rng)} if isinstance(more, dict) else {})
    if kind == "array":
        first = [_sample(each, rng) for each in schema.get("prefixItems", ())]
        return first + [_sample(schema["items"], rng) for _ in range(rng.randrange(3))]
    values = {
        "integer": range(schema.get("minimum", -3), schema.get("maximum", 12) + 1),
        "number": [0, 0.5, 5, 7.5, -2],
        "boolean": [True, False],
        "null": [None],
        "string": ["", "x", "word", "2026-11-28", "https://example.com"],
    }
    return rng.choice(values[kind])
