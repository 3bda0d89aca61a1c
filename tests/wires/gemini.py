"""Google's generateContent wire, as v1beta speaks it."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.wires.brain import Call, Heard, Raw, RefusedError, Reply, ToolResult, Turn, words

BASE = ""
PATHS: tuple[str, ...] = ("/v1beta/models/{target}",)
_TEXT_SIGNATURE = base64.b64encode(b"thought: an answer").decode()
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key a request carries."""
    return headers.get("x-goog-api-key")


def refuse_key(given: str | None) -> RefusedError:
    """Return what Gemini says to a missing (403) or a wrong key (400, not 401)."""
    if not given:
        return RefusedError(
            "Method doesn't allow unregistered callers (callers without established identity). "
            "Please use API Key or other form of API consumer identity to call this API.",
            status=403,
        )
    return RefusedError("API key not valid. Please pass a valid API key.", reason="API_KEY_INVALID")


def error_body(status: int, message: str, reason: str = "") -> dict[str, Any]:
    """Return the body of an error answer."""
    error: dict[str, Any] = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}
    if reason:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": reason, "domain": "googleapis.com"}]
    return {"error": error}


def streams(raw: Mapping[str, Any], target: str) -> bool:
    """Tell whether a streamed answer is asked for."""
    return target.endswith(":streamGenerateContent")


def hear(raw: Mapping[str, Any], target: str, headers: Mapping[str, str]) -> Heard:
    """Read a request that the rules have passed."""
    declared = [f for tool in raw.get("tools", ()) for f in tool.get("functionDeclarations", ())]
    mode = raw.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode", "AUTO")
    return Heard(
        wire="gemini",
        model=target.partition(":")[0],
        system=_text(raw.get("systemInstruction", {}).get("parts", ())),
        turns=tuple(_turns(raw["contents"])),
        tools={f["name"]: f.get("parametersJsonSchema") or f.get("parameters") or {} for f in declared},
        tools_off=mode == "NONE",
        stream=streams(raw, target),
        headers=headers,
        raw=raw,
    )


def _turns(contents: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    for i, content in enumerate(contents):
        text = _text(content["parts"])
        if content.get("role") == "model":
            calls = [
                Call(c["name"], c.get("args") or {}, f"{i}.{n}") for n, c in enumerate(calls_of(content))
            ]
            yield Turn("assistant", text, tuple(calls))
        elif responses := responses_of(content):
            results = [ToolResult(f"{i - 1}.{n}", r["name"], _said(r)) for n, r in enumerate(responses)]
            yield Turn("tool", results=tuple(results))
        else:
            yield Turn("user", text)


def _text(parts: Sequence[Mapping[str, Any]]) -> str:
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


def calls_of(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the function calls among a content's parts."""
    return [part["functionCall"] for part in content["parts"] if "functionCall" in part]


def responses_of(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the function responses among a content's parts."""
    return [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]


def _said(response: Mapping[str, Any]) -> str:
    body = response.get("response", {})
    text = body.get("output", body.get("error", body))
    return text if isinstance(text, str) else json.dumps(text)


def signature(call: Call) -> str:
    """Return the thought signature, in base64, that hangs on a reply's first call."""
    args = call.args.value if isinstance(call.args, Raw) else call.args
    meant = json.dumps([call.name, args or {}], sort_keys=True)
    return base64.b64encode(b"thought:" + hashlib.sha512(meant.encode()).digest()).decode()


def whole(heard: Heard, reply: Reply) -> dict[str, Any]:
    """Return the body of a plain answer."""
    return _chunk(heard, reply, _parts(reply), last=True)


def events(heard: Heard, reply: Reply) -> Iterator[str]:
    """Yield the events of a streamed answer: text in words, each call in a chunk of its own."""
    for part in _parts(reply):
        for piece in _split(part):
            yield _event(_chunk(heard, reply, [piece], last=False))
    end = [{"text": "", "thoughtSignature": _TEXT_SIGNATURE}] if reply.text and not reply.calls else []
    yield _event(_chunk(heard, reply, end, last=True))


def _event(chunk: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}"


def _split(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "text" not in part:
        yield part
        return
    yield from ({"text": word} for word in words(part["text"]))


def _parts(reply: Reply) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"text": reply.text}] if reply.text else []
    if parts and not reply.calls:
        parts[0]["thoughtSignature"] = _TEXT_SIGNATURE
    for i, call in enumerate(reply.calls):
        args = call.args.value if isinstance(call.args, Raw) else call.args
        part: dict[str, Any] = {"functionCall": {"name": call.name, "args": args}}
        if call.id is not None:
            part["functionCall"]["id"] = call.id
        if i == 0:
            part["thoughtSignature"] = signature(call)
        parts.append(part)
    return parts


def _chunk(heard: Heard, reply: Reply, parts: Sequence[Mapping[str, Any]], *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0}
    chunk: dict[str, Any] = {"candidates": [candidate], "modelVersion": heard.model, "responseId": "r1"}
    if parts:
        candidate["content"] = {"parts": parts, "role": "model"}
    if last:
        candidate["finishReason"] = reply.finish or "STOP"
    if reply.input_tokens is not None:
        chunk["usageMetadata"] = _usage(reply, reply.input_tokens, last=last)
    return chunk


def _usage(reply: Reply, prompt: int, *, last: bool) -> dict[str, int]:
    usage = {"promptTokenCount": prompt, "cachedContentTokenCount": reply.cached_tokens}
    if not last:
        return {**usage, "totalTokenCount": prompt}
    return {
        **usage,
        "candidatesTokenCount": reply.output_tokens - reply.reasoning_tokens,
        "thoughtsTokenCount": reply.reasoning_tokens,
        "totalTokenCount": prompt + reply.output_tokens,
    }
