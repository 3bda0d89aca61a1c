"""The tags in which a turn is told to a model: the request, its calls, a summary, proposed calls."""

import json
import re
from dataclasses import dataclass
from typing import Any

_SUMMARY = re.compile(r"<summary>(.*?)</summary>", re.DOTALL)
_PROPOSED = re.compile(r'<proposed tool="([^"]*)">(.*?)</proposed>', re.DOTALL)
_CALL = re.compile(
    r'<call tool="([^"]*)" status="([^"]*)">\s*'
    r"<arguments>(.*?)</arguments>\s*<result>(.*?)</result>\s*</call>",
    re.DOTALL,
)
_FENCED = re.compile(r'\s*<untrusted mark="(\w+)">\n[^\n]*\n(.*)\n</untrusted mark="\1">\s*', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A call and what became of it."""

    tool: str
    args: dict[str, Any]
    status: str
    """`executed`, `failed`, `denied`, `expired`, `superseded` or `unknown`; `proposed` before that."""
    result: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a human message holds; without a request tag all of it is the request."""

    request: str
    calls: list[Outcome]
    proposals: list[Outcome]
    summary: str


def read(text: str) -> Asked:
    """Return what a message holds, the last request tag first: what a person types is not what was done."""
    end = text.rfind("</request>")
    start = text.rfind("<request>", 0, max(end, 0))
    if start < 0:
        return Asked(text.strip(), [], [], "")
    told = text[end:]
    summary = _SUMMARY.search(told)
    return Asked(
        request=text[start + len("<request>") : end].strip(),
        calls=[
            Outcome(tool, _object(args), status, unfenced(result))
            for tool, status, args, result in _CALL.findall(told)
        ],
        proposals=[Outcome(tool, _object(args), "proposed", "") for tool, args in _PROPOSED.findall(told)],
        summary=summary[1].strip() if summary else "",
    )


def unfenced(result: str) -> str:
    """Return a result without the fence that shows a model what others wrote."""
    found = _FENCED.fullmatch(result)
    return found[2] if found else result


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
