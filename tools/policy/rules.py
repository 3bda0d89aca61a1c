"""Rules by arguments: calls that need no person's approval."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import translate
from functools import lru_cache
from posixpath import normpath
from typing import Any
from urllib.parse import unquote

from base.texts import UNSEEN

ONE_PART = "+([!/])"
"""In a pattern, one part of a path: anything without a slash, as ksh and bash write it."""
_DECODINGS = 5
"""Of a text, which no program decodes more often; each takes time in proportion to it."""
_SEPARATORS = ",;"
"""What makes several out of one, such as the recipients of a mail: no wildcard stands for it, nor for what
cannot be seen, where programs break lines or which they pass over."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Calls of one tool that run unasked, where the role permits."""

    tool: str
    where: Mapping[str, str]
    """Argument to the pattern (`*`, `?`, `[…]`, ONE_PART) that its text must match; each must be there."""
    id: str = ""
    """Of a rule that was remembered; empty: it stands in twobrain.toml."""
    definition: str = ""
    """Of the tool that it was made for, and holds for; empty: whatever the tool has become."""
    uses_left: int | None = None
    """None: any number."""


def used(rules: Sequence[Rule], rule_id: str) -> list[Rule]:
    """Return the rules after one more call ran by one."""
    return [
        replace(rule, uses_left=rule.uses_left - 1) if rule.id == rule_id and rule.uses_left else rule
        for rule in rules
    ]


def why_not(rule: Mapping[str, Any], definition: str | None, now: float) -> str | None:
    """Return why a remembered rule does not hold; None: it does.

    `definition` is its tool's now; None: there is no such tool.
    """
    if rule["until"] is not None and rule["until"] <= now:
        return "it is over"
    if rule["uses_left"] == 0:
        return "it is used up"
    if definition is None:
        return "there is no such tool now"
    return None if definition == rule["definition"] else "the tool has changed since"


def covers(where: Mapping[str, str], args: Any) -> bool:
    """Tell whether arguments match every pattern; without a pattern nothing does."""
    if not where or not isinstance(args, Mapping):
        return False
    return all(name in args and _matches(pattern, args[name]) for name, pattern in where.items())


def _matches(pattern: str, value: Any) -> bool:
    if isinstance(value, list | tuple):
        each_is = bool(value) and all(isinstance(each, str) and _matches(pattern, each) for each in value)
        return each_is or ((text := joined(value)) is not None and _matches(pattern, text))
    if not isinstance(value, str) or any(mark not in pattern for mark in _marks(value)):
        return False
    if "@" in pattern and (value.count("@") != pattern.count("@") or re.search(r"\s", value)):
        return False  # more than one address
    read = _read_out(value)
    if read is None or ".." in re.split(r"[/\\?#&=]", read):
        return False
    if "://" in pattern:  # what stands for a part of a host stands for nothing behind it
        return all(map(_is_like, _halves(value, "/?#\\\\"), _halves(pattern, "/")))
    path = value if "://" in value or not value else normpath(value)
    return _is_like(value, pattern) and _is_like(path, pattern)


def _is_like(value: str, pattern: str) -> bool:
    return _compiled(pattern).match(value) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern).replace(r"\+\([^/]\)", "[^/]+"))


def joined(values: Sequence[Any]) -> str | None:
    """Return texts in one, parted by commas; None: they cannot be."""
    texts = [each for each in values if isinstance(each, str) and each and _SEPARATORS[0] not in each]
    return _SEPARATORS[0].join(texts) if texts and len(texts) == len(values) else None


def _marks(value: str) -> set[str]:
    """Return the characters of a text that a pattern has to name."""
    there = set(unicodedata.normalize("NFKC", value)) | set(value)
    return {char for char in there if char in _SEPARATORS or unicodedata.category(char) in UNSEEN}


def _read_out(value: str) -> str | None:
    """Return a text fully decoded; None: it is encoded too often."""
    for _ in range(_DECODINGS):
        plain = unicodedata.normalize("NFKC", unquote(value))
        if plain == value:
            return value
        value = plain
    return None


def _halves(url: str, ends: str) -> tuple[str, str]:
    """Return a URL's scheme and host, and what comes after them."""
    found = re.match(f"[^{ends}]*//[^{ends}]*", url)
    host = found[0] if found else ""
    return host, url[len(host) :]
