"""Anthropic's messages wire."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.wires.brain import (
    Call,
    Heard,
    Raw,
    RefusedError,
    Reply,
    ToolResult,
    Turn,
    call_id,
    fragments,
    words,
)

BASE = ""
PATHS: tuple[str, ...] = ("/v1/messages",)

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key a request carries."""
    return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ") or None


def refuse_key(given: str | None) -> RefusedError:
    """Return what Anthropic says to a missing or wrong key."""
    return RefusedError("invalid x-api-key" if given else "x-api-key header is required", status=401)


def error_body(status: int, message: str, reason: str = "") -> dict[str, Any]:
    """Return the body of an error answer."""
    kind = reason or _TYPES.get(status, "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def streams(raw: Mapping[str, Any], target: str) -> bool:
    """Tell whether a streamed answer is asked for."""
    return bool(raw.get("stream"))


def hear(raw: Mapping[str, Any], target: str, headers: Mapping[str, str]) -> Heard:
    """Read a request that the rules have passed."""
    return Heard(
        wire="anthropic",
        model=raw["model"],
        system=_text(blocks_of(raw.get("system") or [])),
        turns=tuple(_turns(merged(raw["messages"]))),
        tools={tool["name"]: tool.get("input_schema") or {} for tool in raw.get("tools") or ()},
        tools_off=(raw.get("tool_choice") or {}).get("type") == "none",
        stream=streams(raw, target),
        headers=headers,
        raw=raw,
    )


def _turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    names: dict[str, str] = {}
    for message in messages:
        blocks = message["content"]
        if message["role"] == "assistant":
            calls = tuple(Call(b["name"], b["input"], b["id"]) for b in of_type(blocks, "tool_use"))
            names |= {str(call.id): call.name for call in calls}
            yield Turn("assistant", _text(blocks), calls)
            continue
        if results := of_type(blocks, "tool_result"):
            yield Turn("tool", results=tuple(_result(block, names) for block in results))
        if text := _text(blocks):
            yield Turn("user", text)


def _result(block: Mapping[str, Any], names: Mapping[str, str]) -> ToolResult:
    called = block["tool_use_id"]
    return ToolResult(called, names[called], _text(blocks_of(block.get("content") or [])))


def merged(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join neighbours of one role, as Anthropic does before it looks at the order."""
    joined: list[dict[str, Any]] = []
    for message in messages:
        blocks = blocks_of(message["content"])
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1]["content"] += blocks
        else:
            joined.append({"role": message["role"], "content": blocks})
    return joined


def blocks_of(content: str | Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a message's content as blocks, where it may be a bare string."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def of_type(blocks: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the blocks of one type."""
    return [block for block in blocks if block.get("type") == kind]


def _text(blocks: Sequence[dict[str, Any]]) -> str:
    return "".join(block["text"] for block in of_type(blocks, "text"))


def whole(heard: Heard, reply: Reply) -> dict[str, Any]:
    """Return the body of a plain answer."""
    content = [{"type": "text", "text": reply.text}] if reply.text else []
    content += [_wire_call(heard, i, call) for i, call in enumerate(reply.calls)]
    return {**_frame(heard, reply), "content": content, "stop_reason": _stop(reply), **_usage(reply)}


def events(heard: Heard, reply: Reply) -> Iterator[str]:
    """Yield the events of a streamed answer: text in words, a call's input in pieces of JSON."""
    start = {**_frame(heard, reply), "content": [], "stop_reason": None, **_usage(reply)}
    yield _event("message_start", message=start)
    index = 0
    if reply.text:
        deltas = ({"type": "text_delta", "text": word} for word in words(reply.text))
        yield from _block(index, {"type": "text", "text": ""}, deltas)
        index += 1
    for i, call in enumerate(reply.calls):
        pieces = (
            {"type": "input_json_delta", "partial_json": piece}
            for piece in fragments(_json(call), reply.pieces)
        )
        yield from _block(index + i, {**_wire_call(heard, i, call), "input": {}}, pieces)
    yield _event("message_delta", delta={"stop_reason": _stop(reply), "stop_sequence": None}, **_usage(reply))
    yield _event("message_stop")


def _block(index: int, start: Mapping[str, Any], deltas: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    yield _event("content_block_start", index=index, content_block=start)
    yield from (_event("content_block_delta", index=index, delta=delta) for delta in deltas)
    yield _event("content_block_stop", index=index)


def _json(call: Call) -> str:
    return call.args.value if isinstance(call.args, Raw) else json.dumps(call.args)


def _wire_call(heard: Heard, i: int, call: Call) -> dict[str, Any]:
    identity = call_id("toolu", heard, i) if call.id is None else call.id
    given = call.args.value if isinstance(call.args, Raw) else call.args
    return {"type": "tool_use", "id": identity, "name": call.name, "input": given}


def _event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}"


def _frame(heard: Heard, reply: Reply) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": heard.model,
        "stop_sequence": None,
    }


def _stop(reply: Reply) -> str:
    return reply.finish or ("tool_use" if reply.calls else "end_turn")


def _usage(reply: Reply) -> dict[str, Any]:
    if reply.input_tokens is None:
        return {}
    usage = {
        "input_tokens": reply.input_tokens - reply.cached_tokens,
        "cache_read_input_tokens": reply.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"thinking_tokens": reply.reasoning_tokens},
    }
    return {"usage": usage}
