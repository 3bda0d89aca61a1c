"""What providers, gateways and local servers get wrong: a name to the reply that does it.

`FAULTS[name](kind, stream)` is a reply for a brain to give; `ROWS` lists where each one can happen.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.wires.brain import Call, Heard, Kind, Raw, Reply
from tests.wires.serve import DIALECTS

Fault = Callable[[Kind, bool], Reply]

RETRY_AFTER_S = 7
FAULTS: dict[str, Fault] = {}
SLOW: dict[str, Fault] = {
    "silence": lambda kind, stream: Reply(text="Too late.", delay_s=8),
    "trickle": lambda kind, stream: (
        Reply(text="word " * 400, chunk_delay_s=0.02)
        if stream
        else Reply(raw=(" ",) * 400, chunk_delay_s=0.02)
    ),
}
"""Faults that cost the time of a model's deadline, on any wire."""
ROWS: list[tuple[str, Kind, bool]] = []
"""Name, wire and whether the answer is streamed."""

_EVERY: tuple[Kind, ...] = ("gemini", "openai", "anthropic")
_NAME = "ring_bell"
_ARGS = {"times": 3, "room": "hall"}


def _on(*kinds: Kind, streams: Sequence[bool] = (False, True)) -> Callable[[Fault], Fault]:
    def register(fault: Fault) -> Fault:
        name = fault.__name__
        FAULTS[name] = fault
        ROWS.extend((name, kind, stream) for kind in kinds for stream in streams)
        return fault

    return register


def _call(value: Any, finish: str | None = None) -> Reply:
    return Reply(calls=(Call(_NAME, Raw(value)),), finish=finish)


def _by_kind(kind: Kind, gemini: str, openai: str, anthropic: str) -> str:
    return {"gemini": gemini, "openai": openai, "anthropic": anthropic}[kind]


def _spelled() -> str:
    return json.dumps({"name": _NAME, "arguments": _ARGS})


def _events(kind: Kind, reply: Reply) -> list[str]:
    heard = Heard(wire=kind, model="stand-in", system="", turns=(), tools={}, stream=True)
    return list(DIALECTS[kind].events(heard, reply))


def _body(kind: Kind, stream: bool, body: Mapping[str, Any]) -> Reply:
    text = json.dumps(body)
    if not stream:
        return Reply(raw=text.encode())
    return Reply(raw=(f"event: error\ndata: {text}" if kind == "anthropic" else f"data: {text}",))


@_on("openai", "anthropic")
def truncated_arguments(kind: Kind, stream: bool) -> Reply:
    """Stop within a call's arguments; a plain Anthropic answer shows the whole keys it got to: none."""
    cut = '{"times": 3, "room": "ha'
    if kind == "openai":
        return _call(cut, "length")
    return _call(cut if stream else {}, "max_tokens")


@_on("openai", "anthropic")
def double_encoded_arguments(kind: Kind, stream: bool) -> Reply:
    """Give the arguments as a JSON string that holds JSON."""
    once = json.dumps(_ARGS)
    return _call(once if kind == "anthropic" and not stream else json.dumps(once))


@_on(*_EVERY)
def null_arguments(kind: Kind, stream: bool) -> Reply:
    """Give null for the arguments."""
    return _call("null" if kind == "anthropic" and stream else None)


@_on("openai")
def null_text_arguments(kind: Kind, stream: bool) -> Reply:
    """Give the text `null` for the arguments."""
    return _call("null")


@_on("openai")
def empty_arguments(kind: Kind, stream: bool) -> Reply:
    """Give an empty text for the arguments."""
    return _call("")


@_on("openai", streams=[False])
def object_arguments(kind: Kind, stream: bool) -> Reply:
    """Give an object where the wire wants a JSON text."""
    return _call(_ARGS)


@_on("anthropic")
def string_arguments(kind: Kind, stream: bool) -> Reply:
    """Give a bare string where the wire wants an object."""
    return _call('"three times"' if stream else "three times")


@_on("openai", "anthropic")
def empty_call_id(kind: Kind, stream: bool) -> Reply:
    """Give a call an empty id."""
    return Reply(calls=(Call(_NAME, _ARGS, id=""),))


@_on(*_EVERY)
def repeated_call_id(kind: Kind, stream: bool) -> Reply:
    """Give two calls the same id."""
    return Reply(calls=(Call(_NAME, _ARGS, id="call_0"), Call(_NAME, {**_ARGS, "times": 1}, id="call_0")))


@_on("openai", streams=[True])
def repeated_name(kind: Kind, stream: bool) -> Reply:
    """Repeat the tool's name in every delta, as Kimi and some llama.cpp builds do."""
    plain = _events(kind, Reply(calls=(Call(_NAME, _ARGS),)))
    return Reply(
        raw=tuple(e.replace('"function": {"arg', f'"function": {{"name": "{_NAME}", "arg') for e in plain)
    )


@_on(*_EVERY)
def undeclared_tool(kind: Kind, stream: bool) -> Reply:
    """Call a tool that the request did not declare."""
    finish = "UNEXPECTED_TOOL_CALL" if kind == "gemini" else None
    return Reply(calls=(Call("launch_rocket", {"target": "moon"}),), finish=finish)


@_on(*_EVERY)
def wrong_case_name(kind: Kind, stream: bool) -> Reply:
    """Write the tool's name in a case of its own."""
    return Reply(calls=(Call("RingBell", _ARGS),))


@_on("openai")
def call_as_text(kind: Kind, stream: bool) -> Reply:
    """Write a call into the text, as small local models do."""
    return Reply(text=f"<tool_call>{_spelled()}</tool_call>")


@_on("openai")
def call_as_json_block(kind: Kind, stream: bool) -> Reply:
    """Write a call into the text, as a block of JSON."""
    return Reply(text=f"```json\n{_spelled()}\n```")


@_on("openai")
def call_as_function_tag(kind: Kind, stream: bool) -> Reply:
    """Write a call into the text, in Llama's tag."""
    return Reply(text=f"<function={_NAME}>{json.dumps(_ARGS)}</function>")


@_on("openai")
def call_as_text_cut_short(kind: Kind, stream: bool) -> Reply:
    """Write a call into the text and stop within it."""
    return Reply(text=f"I ring it. <tool_call>{_spelled()[:-9]}")


@_on("openai")
def stop_beside_calls(kind: Kind, stream: bool) -> Reply:
    """Give a call and `stop` as the reason to finish."""
    return Reply(calls=(Call(_NAME, _ARGS),), finish="stop")


@_on(*_EVERY)
def usage_missing(kind: Kind, stream: bool) -> Reply:
    """Answer without any token count."""
    return Reply(text="Hello there.", input_tokens=None)


@_on(*_EVERY)
def empty_answer(kind: Kind, stream: bool) -> Reply:
    """Answer nothing at all, and call it a success."""
    return Reply()


@_on(*_EVERY)
def max_tokens(kind: Kind, stream: bool) -> Reply:
    """Run out of output tokens before the first word."""
    return Reply(finish=_by_kind(kind, "MAX_TOKENS", "length", "max_tokens"))


@_on(*_EVERY)
def cut_answer(kind: Kind, stream: bool) -> Reply:
    """Run out of output tokens within the answer, and again when asked to go on."""
    return Reply(text="So it is until ", finish=_by_kind(kind, "MAX_TOKENS", "length", "max_tokens"))


@_on("openai")
def thoughts_alone(kind: Kind, stream: bool) -> Reply:
    """Write thoughts into the content, and nothing behind them."""
    return Reply(text="<think>\nSo it is until")


@_on(*_EVERY)
def safety(kind: Kind, stream: bool) -> Reply:
    """Decline to answer on grounds of safety."""
    return Reply(finish=_by_kind(kind, "SAFETY", "content_filter", "refusal"))


@_on(*_EVERY)
def safety_within_an_answer(kind: Kind, stream: bool) -> Reply:
    """Withhold the rest of an answer on grounds of safety."""
    finish = _by_kind(kind, "RECITATION", "content_filter", "refusal")
    return Reply(text="Hello there, this breaks off.", finish=finish)


@_on("openai")
def refusal_field(kind: Kind, stream: bool) -> Reply:
    """Decline in the field of its own that OpenAI has for it, and call it a success."""
    said = {"role": "assistant", "content": None, "refusal": "I can't help with that."}
    choice = {"index": 0, "delta" if stream else "message": said, "finish_reason": "stop"}
    return _body(kind, stream, {"id": "chatcmpl-1", "model": "stand-in", "choices": [choice]})


@_on("openai")
def content_filter_with_200(kind: Kind, stream: bool) -> Reply:
    """Tell in the body of a 200 that a filter struck, as Azure does."""
    return _body(kind, stream, DIALECTS[kind].error_body(400, "The response was filtered.", "content_filter"))


@_on("openai")
def finish_error(kind: Kind, stream: bool) -> Reply:
    """Break off and say so in the finish reason alone, as OpenRouter does."""
    return Reply(text="Hello there, this breaks off.", finish="error")


@_on("gemini")
def malformed_function_call(kind: Kind, stream: bool) -> Reply:
    """Fail to form a call."""
    return Reply(finish="MALFORMED_FUNCTION_CALL")


@_on("gemini")
def no_candidates(kind: Kind, stream: bool) -> Reply:
    """Answer with usage alone."""
    return _body(kind, stream, {"usageMetadata": {"promptTokenCount": 100, "totalTokenCount": 100}})


@_on("gemini")
def blocked_prompt(kind: Kind, stream: bool) -> Reply:
    """Refuse the prompt itself."""
    feedback = {"blockReason": "PROHIBITED_CONTENT"}
    usage = {"promptTokenCount": 100, "totalTokenCount": 100}
    return _body(kind, stream, {"promptFeedback": feedback, "usageMetadata": usage})


@_on("openai")
def null_choices(kind: Kind, stream: bool) -> Reply:
    """Answer with `choices: null`."""
    return _body(kind, stream, {"id": "chatcmpl-1", "model": "stand-in", "choices": None})


@_on(*_EVERY)
def garbage_body(kind: Kind, stream: bool) -> Reply:
    """Answer 200 with a gateway's HTML page."""
    return Reply(raw=b"<html><body>It works!</body></html>")


@_on(*_EVERY)
def error_with_200(kind: Kind, stream: bool) -> Reply:
    """Answer 200 with an error in the body."""
    return _body(kind, stream, DIALECTS[kind].error_body(500, "upstream failed"))


@_on(*_EVERY, streams=[True])
def error_mid_stream(kind: Kind, stream: bool) -> Reply:
    """Send an error event after the first words."""
    error = _body(kind, True, DIALECTS[kind].error_body(503, "Overloaded", _overload(kind)))
    begun = _events(kind, Reply(text="Hello there, this breaks off."))[:4]
    return Reply(raw=(*begun, *(error.raw if isinstance(error.raw, tuple) else ())))


@_on("openai", "gemini")
def ignored_streaming(kind: Kind, stream: bool) -> Reply:
    """Answer whole what was asked for as a stream, and the other way round."""
    heard = Heard(wire=kind, model="stand-in", system="", turns=(), tools={}, stream=not stream)
    reply = Reply(text="Hello there.")
    if stream:
        return Reply(raw=json.dumps(DIALECTS[kind].whole(heard, reply)).encode())
    return Reply(raw=tuple(_events(kind, reply)))


@_on(*_EVERY)
def cut_connection(kind: Kind, stream: bool) -> Reply:
    """Drop the connection halfway through the answer."""
    return Reply(text="Hello there, this breaks off.", cut=True)


@_on(*_EVERY)
def rate_limited(kind: Kind, stream: bool) -> Reply:
    """Answer 429 and name the seconds to wait: in a header, in Gemini's case in the body."""
    body = DIALECTS[kind].error_body(429, "Too many requests.")
    if kind != "gemini":
        return Reply(status=429, error=body, headers={"retry-after": str(RETRY_AFTER_S)})
    wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{RETRY_AFTER_S}s"}
    return Reply(status=429, error={"error": {**body["error"], "details": [wait]}})


@_on(*_EVERY)
def server_error(kind: Kind, stream: bool) -> Reply:
    """Answer 500."""
    return Reply(status=500, error="Internal server error.")


@_on(*_EVERY)
def overloaded(kind: Kind, stream: bool) -> Reply:
    """Answer 503, in Anthropic's case 529."""
    status = 529 if kind == "anthropic" else 503
    return Reply(status=status, error=DIALECTS[kind].error_body(status, "Overloaded", _overload(kind)))


@_on(*_EVERY)
def bad_key(kind: Kind, stream: bool) -> Reply:
    """Refuse the key: 401, in Gemini's case 400."""
    refused = DIALECTS[kind].refuse_key("sk-wrong")
    body = DIALECTS[kind].error_body(refused.status, str(refused), refused.reason)
    return Reply(status=refused.status, error=body)


@_on(*_EVERY)
def unauthenticated(kind: Kind, stream: bool) -> Reply:
    """Answer 401."""
    return Reply(status=401, error="Request had invalid authentication credentials.")


@_on(*_EVERY)
def unknown_model(kind: Kind, stream: bool) -> Reply:
    """Answer 404."""
    return Reply(status=404, error="The model 'stand-in' does not exist or you do not have access to it.")


@_on(*_EVERY)
def context_overflow(kind: Kind, stream: bool) -> Reply:
    """Refuse a prompt that is longer than the context window."""
    message = _by_kind(
        kind,
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. "
        "Please reduce the length of the messages.",
        "prompt is too long: 210000 tokens > 200000 maximum",
    )
    reason = "context_length_exceeded" if kind == "openai" else ""
    return Reply(status=400, error=DIALECTS[kind].error_body(400, message, reason))


@_on("openai")
def failed_call(kind: Kind, stream: bool) -> Reply:
    """Refuse a call that the model itself could not form, as Groq does."""
    error = DIALECTS[kind].error_body(400, "Failed to call a function.", "tool_use_failed")
    return Reply(status=400, error={"error": {**error["error"], "failed_generation": "<function=x>{"}})


@_on("openai")
def error_of_another_provider(kind: Kind, stream: bool) -> Reply:
    """Pass on another provider's error, as OpenRouter does."""
    raw = json.dumps({"error": {"message": "temperature must be 1 for this model."}})
    metadata = {"raw": raw, "provider_name": "Crucible"}
    return Reply(status=400, error={"error": {"message": "Provider returned error", "metadata": metadata}})


@_on("openai")
def error_in_detail(kind: Kind, stream: bool) -> Reply:
    """Refuse a field of the request, as FastAPI does."""
    detail = {"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}
    return Reply(status=422, error={"detail": [detail]})


@_on("openai", "anthropic")
def no_credit(kind: Kind, stream: bool) -> Reply:
    """Refuse what the account cannot pay: OpenAI with a 429, Anthropic with a 400."""
    if kind == "anthropic":
        return Reply(status=400, error="Your credit balance is too low to access the Anthropic API.")
    body = DIALECTS[kind].error_body(429, "You exceeded your current quota.", "insufficient_quota")
    return Reply(status=429, error=body)


@_on("openai")
def cut_prompt(kind: Kind, stream: bool) -> Reply:
    """Read 1,000 tokens of a prompt, however long it is, and say nothing, as Ollama does past its window."""
    return Reply(text="Hello there.", input_tokens=1_000)


@_on("openai")
def context_overflow_at_llamacpp(kind: Kind, stream: bool) -> Reply:
    """Refuse a prompt that is too long, in llama.cpp's words."""
    message = "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it"
    error = {"code": 400, "message": message, "type": "exceed_context_size_error"}
    return Reply(status=400, error={"error": error})


def _overload(kind: Kind) -> str:
    return "overloaded_error" if kind == "anthropic" else ""
