"""Schemas of tools' parameters in the keywords that an endpoint takes."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

PLAIN = frozenset(
    {
        *("type", "description", "default", "enum", "anyOf", "oneOf", "properties", "required"),
        *("additionalProperties", "items", "prefixItems", "minItems", "maxItems", "minimum", "maximum"),
    }
)
"""What Google documents for JSON Schema (of `responseJsonSchema`, 2026-09), with `default`, which its own SDK
sends."""
_CHOICES = ("anyOf", "oneOf")
_HOLD_ONE, _HOLD_SEVERAL = ("items", "additionalProperties"), ("prefixItems", *_CHOICES)
_SCALARS = ("string", "number", "boolean", "object")
_ANYTHING = [{"type": kind} for kind in _SCALARS]
_SIMPLE_PATTERN = re.compile(r"\^[A-Za-z0-9 _,|()\[\]{}+*?-]+\$")
"""What llama.cpp can make a grammar of; any other costs it the whole request."""


def in_keywords(schema: Mapping[str, Any], keywords: Collection[str]) -> dict[str, Any]:
    """Return a schema in these keywords alone; its description has the rest.

    Every part has a type, or a choice between such as have one: Kimi and Gemini refuse others.
    """
    kept, told = _apart(schema, keywords)
    if "type" not in kept and not kept.keys() & {*_CHOICES}:
        kept["anyOf"] = [*_ANYTHING, {"type": "array", "items": {"anyOf": _ANYTHING}}]
    for key, value in kept.items():
        if key == "properties":
            kept[key] = {name: in_keywords(each, keywords) for name, each in value.items()}
        elif key in _HOLD_SEVERAL:
            kept[key] = [in_keywords(each, keywords) for each in value]
        elif key in _HOLD_ONE and isinstance(value, Mapping):
            kept[key] = in_keywords(value, keywords)
    words = [kept["description"]] if "description" in kept else []
    if "oneOf" in kept:  # Google and llama.cpp take it for anyOf
        words.append("Exactly one of the choices must fit.")
    if told:
        also = json.dumps(told, ensure_ascii=False, sort_keys=True)
        words.append(f"It must also fit the JSON Schema {also}.")
    return {**kept, "description": " ".join(words)} if words else kept


def _apart(schema: Mapping[str, Any], keywords: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what can be said in keywords, and what cannot."""
    kept = {key: value for key, value in schema.items() if key in keywords}
    told = {key: value for key, value in schema.items() if key not in keywords}
    if "type" in kept:
        told |= {key: kept.pop(key) for key in _CHOICES if key in kept}
    if "pattern" in kept and not _SIMPLE_PATTERN.fullmatch(kept["pattern"]):
        told["pattern"] = kept.pop("pattern")
    if "enum" in kept and (fit := _fitting(kept["enum"])) != kept["enum"]:
        told["enum"] = kept.pop("enum")
        kept |= {"enum": fit} if fit else {}
    return kept, told


def _fitting(values: list[Any]) -> list[Any]:
    """Return of values to choose from what Google takes."""
    if all(isinstance(each, str) for each in values):
        return [each for each in values if each]
    are_numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
    return values if are_numbers else []
