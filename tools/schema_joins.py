"""Joins of parts of a JSON schema, and choices between them."""

import json
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, Literal

_MOST_REPEATED = 4_000
"""Characters in which a part is written out in each of its choices; a longer one stands beside them."""
_MOST_COMPARED = 30
"""Options of which it is looked whether none excludes another."""
_NOTES = ("description", "default")
_BOUNDS = {
    "object": "properties required additionalProperties patternProperties propertyNames minProperties "
    "maxProperties dependentRequired dependentSchemas",
    "array": "items prefixItems minItems maxItems uniqueItems contains minContains maxContains",
    "string": "minLength maxLength pattern format",
    "number": "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf",
}
KIND_OF = {keyword: kind for kind, keywords in _BOUNDS.items() for keyword in keywords.split()}
"""A keyword to the one kind of values that it binds."""
_CLOSE = ("additionalProperties", "patternProperties")
Part = dict[str, Any] | Literal[False]
"""A part's rendering; False: nothing fits it."""


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def choices_of(values: Iterable[Any]) -> list[Part]:
    """Return a part for each kind among values to choose from."""
    by_kind: dict[str, list[Any]] = {}
    for value in values:
        by_kind.setdefault(_kind(value), []).append(value)
    return [
        {"type": kind, "enum": each} if kind != "null" else {"type": kind} for kind, each in by_kind.items()
    ]


def _notes(part: dict[str, Any]) -> dict[str, Any]:
    return {key: part[key] for key in _NOTES if key in part}


def one_of(key: str, whole: Part, options: Sequence[Part]) -> Part:
    """Return what is a part and also one of several."""
    if whole is False:
        return False
    bare = _bare(whole)
    fitting = {i: both for i, each in enumerate(options) if (both := both_of(bare, each)) is not False}
    if len(fitting) < 2:  # noqa: PLR2004 (there is nothing to choose)
        return both_of(whole, options[min(fitting)]) if fitting else False
    written_out = [*fitting.values()]
    if key == "oneOf" and len(fitting) <= _MOST_COMPARED:
        can_overlap = any(both_of(*pair) is not False for pair in combinations(written_out, 2))
        key = "oneOf" if can_overlap else "anyOf"
    if len(json.dumps(bare)) * len(fitting) > _MOST_REPEATED:
        return both_of(whole, {key: [options[i] for i in fitting]})
    if key == "anyOf":  # one within another is one
        nested = [both["anyOf"] if [*both] == [key] else [both] for both in written_out]
        written_out = [each for several in nested for each in several]
    return {**_notes(whole), key: written_out}


def without_null(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part without null, which says what leaving it out does."""
    options = part.get("anyOf", ())
    others = [each for each in options if each != {"type": "null"}]
    if not others or len(others) == len(options):
        return part
    return {**part, "anyOf": others} if len(others) > 1 else {**others[0], **_notes(part)}


def both_of(a: Part, b: Part) -> Part:
    """Return what is both, side by side where it cannot be one."""
    if a is False or b is False:
        return False
    kinds = {part["type"] for part in (a, b) if "type" in part}
    if len(kinds) > 1 and kinds != {"integer", "number"}:
        return False
    kind = {"type": min(kinds)} if kinds else {}  # an integer is a number
    joined = {**a, **b, **_notes(a), **kind}
    for key in [key for key in a if key in b and key not in {*_NOTES, "type"} and a[key] != b[key]]:
        joined[key] = _joined(key, a[key], b[key])
    required = joined.get("required", ())
    if joined.get("enum") == [] or any(joined.get("properties", {}).get(name) is False for name in required):
        return False
    if None in joined.values() or _close(a, b):
        return {**_notes(joined), **kind, "allOf": [_bare(a), _bare(b)]}
    bound = "number" if kind.get("type") == "integer" else kind.get("type")
    return {key: each for key, each in joined.items() if not bound or KIND_OF.get(key, bound) == bound}


def _joined(key: str, ours: Any, theirs: Any) -> Any:
    """Return what a keyword says twice; None: no keyword can."""
    joined: Any = None
    if key == "required":
        joined = [*ours, *(name for name in theirs if name not in ours)]
    elif key == "allOf":
        joined = [*ours, *theirs]
    elif key == "enum":
        joined = [each for each in ours if any(each == o and _kind(each) == _kind(o) for o in theirs)]
    elif key == "properties":
        shared = {name: both_of(ours[name], theirs[name]) for name in ours if name in theirs}
        joined = {**ours, **theirs, **shared}
    elif key.startswith(("min", "exclusiveMin")):
        joined = max(ours, theirs)
    elif key.startswith(("max", "exclusiveMax")):
        joined = min(ours, theirs)
    elif key in {"items", "additionalProperties"} and isinstance(ours, dict) and isinstance(theirs, dict):
        joined = both_of(ours, theirs) or None
    return joined


def _close(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Tell whether one part bars what only the other names."""
    for closed, other in ((a, b), (b, a)):
        names = closed.get("properties", {}).keys()
        is_closed = any(closed.get(key, True) is not True for key in _CLOSE)
        if is_closed and other.get("properties", {}).keys() - names:
            return True
        if "prefixItems" in closed and other.get("items") and "prefixItems" not in other:
            return True
    return False


def _bare(part: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in part.items() if key not in _NOTES}
