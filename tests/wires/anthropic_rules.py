"""What the current Claude models answer 400 to."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.wires.anthropic import blocks_of, merged, of_type
from tests.wires.brain import RefusedError, Reply


def check(raw: Mapping[str, Any], said: Sequence[Reply]) -> None:
    """Raise RefusedError where Anthropic would answer 400."""
    if not raw.get("messages"):
        raise RefusedError("messages: at least one message is required")
    if "max_tokens" not in raw:
        raise RefusedError("max_tokens: Field required")
    for i, message in enumerate(raw["messages"]):
        _check_message(i, message)
    messages = merged(raw["messages"])
    if messages[0]["role"] != "user":
        raise RefusedError('messages: first message must use the "user" role')
    if messages[-1]["role"] == "assistant":
        raise RefusedError(
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    _check_tools(raw, messages)
    _check_pairs(messages)


def _check_message(i: int, message: Mapping[str, Any]) -> None:
    if message.get("role") not in {"user", "assistant"}:
        raise RefusedError(f"messages.{i}.role: Input should be 'user' or 'assistant'")
    blocks = blocks_of(message["content"])
    if not blocks:
        raise RefusedError(f"messages.{i}: all messages must have non-empty content")
    if any(not block["text"] for block in of_type(blocks, "text")):
        raise RefusedError("messages: text content blocks must be non-empty")
    if any(not block["text"].strip() for block in of_type(blocks, "text")):
        raise RefusedError("messages: text content blocks must contain non-whitespace text")
    for n, block in enumerate(blocks):
        _check_call(f"messages.{i}.content.{n}.tool_use", block)


def _check_call(where: str, block: Mapping[str, Any]) -> None:
    if block.get("type") != "tool_use":
        return
    if not re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"] or ""):
        raise RefusedError(f"{where}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if not isinstance(block.get("input"), dict):
        raise RefusedError(f"{where}.input: Input should be a valid dictionary")


def _check_tools(raw: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> None:
    declared = {tool["name"] for tool in raw.get("tools") or ()}
    used = any(of_type(m["content"], "tool_use") or of_type(m["content"], "tool_result") for m in messages)
    if used and not declared:
        raise RefusedError("Requests which include `tool_use` or `tool_result` blocks must define tools")
    choice = raw.get("tool_choice") or {}
    if choice.get("type") == "tool" and choice.get("name") not in declared:
        raise RefusedError(f"tool_choice.tool.name: Tool '{choice.get('name')}' not found in provided tools")


def _check_pairs(messages: Sequence[Mapping[str, Any]]) -> None:
    seen: set[str] = set()
    asked: list[str] = []
    for i, message in enumerate(messages):
        blocks = message["content"]
        _check_answers(i, asked, blocks)
        asked = [block["id"] for block in of_type(blocks, "tool_use")]
        if len(set(asked)) != len(asked) or seen & set(asked):
            raise RefusedError("messages: `tool_use` ids must be unique")
        seen |= set(asked)


def _check_answers(i: int, asked: Sequence[str], blocks: Sequence[dict[str, Any]]) -> None:
    answered = [block["tool_use_id"] for block in of_type(blocks, "tool_result")]
    for n, called in enumerate(answered):
        if called not in asked:
            raise RefusedError(
                f"messages.{i}.content.{n}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{called}. Each `tool_result` block must have a corresponding `tool_use` block in the "
                "previous message."
            )
        if called in answered[:n]:
            raise RefusedError(
                f"messages.{i}.content.{n}: each tool_use must have a single result. "
                f"Found multiple `tool_result` blocks with id: {called}"
            )
    first = [block["tool_use_id"] for block in blocks[: len(answered)] if block.get("type") == "tool_result"]
    if missing := [called for called in asked if called not in first]:
        raise RefusedError(
            f"messages.{i - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in "
            "the next message."
        )
