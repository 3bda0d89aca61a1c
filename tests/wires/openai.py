"""The chat-completions wire, as OpenAI and the servers compatible with it speak it."""

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

BASE = "/v1"
PATHS: tuple[str, ...] = ("/v1/chat/completions", "/api/chat/completions", "/chat/completions")

_TYPES = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key a request carries."""
    return headers.get("authorization", "").removeprefix("Bearer ") or None


def refuse_key(given: str | None) -> RefusedError:
    """Return what OpenAI says to a missing or wrong key."""
    if not given:
        return RefusedError("You didn't provide an API key.", status=401)
    return RefusedError("Incorrect API key provided.", status=401, reason="invalid_api_key")


def error_body(status: int, message: str, reason: str = "") -> dict[str, Any]:
    """Return the body of an error answer."""
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": reason or None}}


def models_body() -> dict[str, Any]:
    """Return the list of models."""
    return {"object": "list", "data": [{"id": "stand-in", "object": "model", "owned_by": "tests"}]}


def streams(raw: Mapping[str, Any], target: str) -> bool:
    """Tell whether a streamed answer is asked for."""
    return bool(raw.get("stream"))


def hear(raw: Mapping[str, Any], target: str, headers: Mapping[str, str]) -> Heard:
    """Read a request that the rules have passed."""
    messages = raw["messages"]
    declared = [tool["function"] for tool in raw.get("tools") or ()]
    return Heard(
        wire="openai",
        model=raw["model"],
        system="\n".join(_text(m["content"]) for m in messages if m["role"] in {"system", "developer"}),
        turns=tuple(_turns(messages)),
        tools={function["name"]: function.get("parameters") or {} for function in declared},
        tools_off=raw.get("tool_choice") == "none",
        stream=streams(raw, target),
        headers=headers,
        raw=raw,
    )


def _turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    names: dict[str, str] = {}
    results: list[ToolResult] = []
    for message in messages:
        if message["role"] == "tool":
            called = message["tool_call_id"]
            results.append(ToolResult(called, names[called], _text(message["content"])))
            continue
        if results:
            yield Turn("tool", results=tuple(results))
            results = []
        if message["role"] == "assistant":
            calls = tuple(_call(call) for call in message.get("tool_calls") or ())
            names |= {str(call.id): call.name for call in calls}
            yield Turn("assistant", _text(message.get("content")), calls)
        elif message["role"] == "user":
            yield Turn("user", _text(message["content"]))
    if results:
        yield Turn("tool", results=tuple(results))


def _call(call: Mapping[str, Any]) -> Call:
    function = call["function"]
    return Call(function["name"], json.loads(function["arguments"] or "{}"), call["id"])


def _text(content: str | Sequence[Mapping[str, Any]] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text", "") for part in content)


def whole(heard: Heard, reply: Reply) -> dict[str, Any]:
    """Return the body of a plain answer."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.calls:
        message["tool_calls"] = [_wire_call(heard, i, call) for i, call in enumerate(reply.calls)]
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
    return {**_frame(heard, "chat.completion"), "choices": [choice], **_usage(reply)}


def events(heard: Heard, reply: Reply) -> Iterator[str]:
    """Yield the events of a streamed answer: text in words, a call's name first, its arguments in pieces."""
    yield _event(heard, {"role": "assistant", "content": ""})
    yield from (_event(heard, {"content": word}) for word in words(reply.text))
    for i, call in enumerate(reply.calls):
        yield from (_event(heard, {"tool_calls": [delta]}) for delta in _deltas(heard, i, call, reply.pieces))
    yield _event(heard, {}, finish=_finish(reply))
    if (heard.raw.get("stream_options") or {}).get("include_usage"):
        yield _chunk(heard, choices=[], **_usage(reply))
    yield "data: [DONE]"


def _deltas(heard: Heard, i: int, call: Call, count: int) -> Iterator[dict[str, Any]]:
    whole_call = _wire_call(heard, i, call)
    arguments = whole_call["function"]["arguments"]
    first = arguments if not isinstance(arguments, str) else ""
    yield {"index": i, **whole_call, "function": {"name": call.name, "arguments": first}}
    if isinstance(arguments, str):
        yield from ({"index": i, "function": {"arguments": piece}} for piece in fragments(arguments, count))


def _wire_call(heard: Heard, i: int, call: Call) -> dict[str, Any]:
    identity = call_id("call", heard, i) if call.id is None else call.id
    arguments = call.args.value if isinstance(call.args, Raw) else json.dumps(call.args)
    return {"id": identity, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _event(heard: Heard, delta: Mapping[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _chunk(heard, choices=[choice])


def _chunk(heard: Heard, **fields: Any) -> str:
    return f"data: {json.dumps({**_frame(heard, 'chat.completion.chunk'), **fields})}"


def _frame(heard: Heard, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_760_000_000, "model": heard.model}


def _finish(reply: Reply) -> str:
    return reply.finish or ("tool_calls" if reply.calls else "stop")


def _usage(reply: Reply) -> dict[str, Any]:
    if reply.input_tokens is None:
        return {}
    usage = {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
    }
    return {"usage": usage}
