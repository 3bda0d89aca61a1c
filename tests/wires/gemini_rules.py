"""What Gemini 3 answers 400 to: histories out of order, calls without their thought signature."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from tests.wires.brain import Call, RefusedError, Reply
from tests.wires.gemini import calls_of, responses_of, signature

SKIP_VALIDATION = "skip_thought_signature_validator"
"""What a client sends for a call that no Gemini model made; refused for one that this wire made."""


def check(raw: Mapping[str, Any], said: Sequence[Reply]) -> None:
    """Raise RefusedError where Gemini would answer 400.

    Args:
        raw: the request's body.
        said: every reply this wire has given, whose signatures must come back.
    """
    contents = raw.get("contents") or []
    if not contents:
        raise RefusedError("* GenerateContentRequest.contents: contents is not specified")
    for i, content in enumerate(contents):
        _check_content(contents, i, content)
    if contents[-1].get("role") == "model":
        raise RefusedError("Please ensure that single turn requests end with a user role.")
    _check_signatures(contents, said)


def _check_content(contents: Sequence[Mapping[str, Any]], i: int, content: Mapping[str, Any]) -> None:
    if content.get("role", "user") not in {"user", "model"}:
        raise RefusedError("Please use a valid role: user, model.")
    if not content.get("parts"):
        raise RefusedError(f"* GenerateContentRequest.contents[{i}].parts: contents.parts must not be empty.")
    before = contents[i - 1] if i else None
    calls, responses = calls_of(content), responses_of(content)
    if calls and (before is None or before.get("role") == "model"):
        raise RefusedError(
            "Please ensure that function call turn comes immediately after a user turn "
            "or after a function response turn."
        )
    asked = calls_of(before) if before else []
    if responses and not asked:
        raise RefusedError(
            "Please ensure that function response turn comes immediately after a function call turn."
        )
    if len(asked) != len(responses):
        raise RefusedError(
            "Please ensure that the number of function response parts is equal to the number of "
            "function call parts of the function call turn."
        )
    if [call["name"] for call in asked] != [response["name"] for response in responses]:
        raise RefusedError(
            "Please ensure that function response names match function call names, in their order."
        )


def _check_signatures(contents: Sequence[Mapping[str, Any]], said: Sequence[Reply]) -> None:
    ours = {signature(reply.calls[0]) for reply in said if reply.calls}
    current = max(
        (i for i, c in enumerate(contents) if c.get("role") != "model" and not responses_of(c)), default=-1
    )
    for i, content in enumerate(contents):
        first = next((part for part in content["parts"] if "functionCall" in part), None)
        if first is None:
            continue
        call, sent = first["functionCall"], first.get("thoughtSignature")
        expected = signature(Call(call["name"], call.get("args") or {}))
        if sent is None and i < current:
            continue
        if sent is None:
            raise RefusedError(_missing(call["name"], i + 1))
        if sent == SKIP_VALIDATION and expected not in ours:
            continue
        if _bytes(sent) != _bytes(expected):
            raise RefusedError("Corrupted thought signature.")


def _missing(name: str, position: int) -> str:
    return (
        "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
        "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
        f"data, function call `default_api:{name}` , position {position}. Please refer to "
        "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
    )


def _bytes(sent: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(sent.replace("+", "-").replace("/", "_"))
    except binascii.Error:
        return sent.encode()
