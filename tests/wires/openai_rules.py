"""What OpenAI, or a strict server compatible with it, answers 400 to."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.wires.brain import RefusedError, Reply


def check(raw: Mapping[str, Any], said: Sequence[Reply]) -> None:
    """Raise RefusedError where OpenAI, or a strict server compatible with it, would answer 400."""
    messages = raw.get("messages") or []
    if not messages:
        raise RefusedError("Invalid 'messages': empty array. Expected an array with minimum length 1.")
    open_ids: list[str] = []
    seen: set[str] = set()
    for i, message in enumerate(messages):
        _check_content(i, message)
        if message["role"] == "tool":
            _answer(i, message, open_ids, seen)
            continue
        _refuse_open(open_ids)
        open_ids = [_check_call(f"messages[{i}].tool_calls[{n}]", call, seen) for n, call in _calls(message)]
    _refuse_open(open_ids)
    if messages[-1]["role"] == "assistant":
        raise RefusedError("The last message must not be from the assistant: prefill is not supported.")


def _calls(message: Mapping[str, Any]) -> list[tuple[int, Any]]:
    return list(enumerate(message.get("tool_calls") or ()))


def _check_content(i: int, message: Mapping[str, Any]) -> None:
    role, content = message.get("role"), message.get("content")
    if role not in {"system", "developer", "user", "assistant", "tool"}:
        raise RefusedError(
            f"Invalid value: {role!r}. Supported values are: 'system', 'assistant', 'user', 'tool'."
        )
    if content is None and not message.get("tool_calls"):
        raise RefusedError(f"Invalid value for 'messages[{i}].content': expected a string, got null.")
    if "tool_calls" in message and (role != "assistant" or not message["tool_calls"]):
        raise RefusedError(
            f"Invalid 'messages[{i}].tool_calls': empty array, or a role that may not call: {role!r}."
        )


def _answer(i: int, message: Mapping[str, Any], open_ids: list[str], seen: set[str]) -> None:
    called = message.get("tool_call_id")
    if called in open_ids:
        open_ids.remove(called)
    elif called in seen:
        raise RefusedError(f"Duplicate value for 'tool_call_id' of '{called}' in 'messages[{i}]'.")
    else:
        raise RefusedError(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
            f"with 'tool_calls': '{called}'."
        )


def _refuse_open(open_ids: Sequence[str]) -> None:
    if open_ids:
        raise RefusedError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: "
            + ", ".join(open_ids)
        )


def _check_call(where: str, call: Mapping[str, Any], seen: set[str]) -> str:
    identity, arguments = call.get("id"), call["function"].get("arguments")
    if not identity or not isinstance(identity, str):
        raise RefusedError(f"Invalid '{where}.id': empty string. Expected a string with minimum length 1.")
    if identity in seen:
        raise RefusedError(f"Duplicate value for '{where}.id': '{identity}'.")
    if not isinstance(arguments, str):
        raise RefusedError(f"Invalid type for '{where}.function.arguments': expected a string.")
    try:
        json.loads(arguments or "{}")
    except ValueError:
        raise RefusedError(f"Invalid '{where}.function.arguments': not valid JSON.") from None
    seen.add(identity)
    return identity
