"""What the offline brains say about calls: what was found, done, or not done and why."""

import json
import re
from collections.abc import Callable
from typing import Any

from models.providers.offline_rules import EXAMPLES
from models.providers.offline_tags import Outcome

NOTE = (
    "(These are offline rules, not a language model. Set GEMINI_API_KEY and ANTHROPIC_API_KEY, "
    "or see twobrain.example.toml, for the real ones.)"
)
NOT_UNDERSTOOD = "\n".join(
    (
        "I follow a few fixed rules, so I can't chat, and I didn't understand that. I understand, say:",
        "",
        *(f"- {example}" for example in EXAMPLES),
        '- use calculate {"expression": "2**10"}, and so any tool by its name',
        "",
        "Join them with `and` to do them together, or with `then` to do one after the other.",
    )
)
_RESULT_CHARS = 1_500
"""Of each result that is shown."""
_ARGUMENT_CHARS = 300
"""Of each argument that is shown."""


_WISHES: dict[str, str] = {
    "get_time": "look up the time in {timezone}",
    "calculate": "calculate {expression}",
    "list_files": "list the files in `{path}`",
    "read_file": "read `{path}`",
    "search_files": "search the files for “{query}”",
    "write_file": "write “{content}” to `{path}`",
    "delete_file": "delete `{path}`",
    "remember": "remember “{text}”",
    "recall": "recall what I know about {query}",
}

_DONE: dict[str, str] = {
    "get_time": "The time in {timezone}: {result}",
    "calculate": "{expression} = {result}",
    "list_files": "The files in `{path}`:{block}",
    "read_file": "`{path}` says:{block}",
    "search_files": "What I found for “{query}”:{block}",
    "write_file": "I wrote “{content}” to `{path}`.",
    "delete_file": "I deleted `{path}`.",
    "remember": "I'll remember: {text}.",
    "recall": "What I remember about {query}:{block}",
}

_NOT_DONE: dict[str, Callable[[str, str], str]] = {
    "failed": lambda wish, why: f"I couldn't {wish}{why or '.'}",
    "denied": lambda wish, why: f"I did not {wish}, because it was refused{why or '.'}",
    "expired": lambda wish, _: f"I did not {wish}: the approval came too late.",
    "superseded": lambda wish, _: f"I did not {wish}: another request came before a decision.",
}


def report(outcomes: list[Outcome]) -> str:
    """Return a paragraph for each call, in order."""
    return "\n\n".join(_sentence(outcome) for outcome in outcomes)


def explanation(proposals: list[Outcome], request: str) -> str:
    """Return what the planner wants to do, and that the person asked for it."""
    wishes = " and to ".join(_wish(proposal) for proposal in proposals)
    return f"I'd like to {wishes}, because you asked: “{request}”."


def unavailable(tools: list[str]) -> str:
    """Return a sentence for each tool that a request needs and the planner was not given."""
    return " ".join(f"The tool `{tool}` isn't available." for tool in tools)


def _sentence(outcome: Outcome) -> str:
    if outcome.status == "executed":
        return _done(outcome)
    wish = _wish(outcome)
    if outcome.status in _NOT_DONE:
        return _NOT_DONE[outcome.status](wish, _reason(outcome.result))
    return f"I can't tell whether I managed to {wish}: it was interrupted. Please check before asking again."


def _done(outcome: Outcome) -> str:
    result = _cut(outcome.result, _RESULT_CHARS)
    words = {"result": result, "block": _block(result)}
    named = _fill(_DONE.get(outcome.tool, ""), _shown(outcome.args) | words)
    return named or f"`{outcome.tool}` returned:{words['block']}"


def _wish(call: Outcome) -> str:
    args = json.dumps(call.args, ensure_ascii=False)
    return _fill(_WISHES.get(call.tool, ""), _shown(call.args)) or (
        f"use `{call.tool}` with {_cut(args, _ARGUMENT_CHARS)}"
    )


def _fill(template: str, words: dict[str, str]) -> str:
    """Return the template with its words, empty where one is missing."""
    try:
        return template.format_map(words)
    except KeyError:
        return ""


def _shown(args: dict[str, Any]) -> dict[str, str]:
    return {name: _cut(str(value), _ARGUMENT_CHARS) for name, value in args.items()}


def _reason(result: str) -> str:
    words = re.sub(r"^(?:Tool error|Action denied by user)\b[\s:.,]*", "", result.strip()).rstrip(".")
    return f": {_cut(words, _RESULT_CHARS)}." if words else ""


def _cut(text: str, most: int) -> str:
    text = text.strip()
    return text if len(text) <= most else f"{text[:most]} … (cut)"


def _block(result: str) -> str:
    """Return the result as a code block, or as plain words where it is one line."""
    if "\n" not in result:
        return f" {result}"
    longest = max((len(run) for run in re.findall(r"`+", result)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"\n\n{fence}\n{result}\n{fence}"
