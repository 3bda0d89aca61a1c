"""What a provider says is what the person reads: its refusals, its errors, and what it cannot take."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.behaviour.household import obedient
from tests.wires.brain import Heard, Kind, Reply
from tests.wires.cards import at, key_of
from tests.wires.clients import KINDS, OpenWire
from tests.wires.serve import DIALECTS

Told = tuple[Kind, Reply, Reply]
"""A wire, and what comes over it for a plain request and for a streamed one."""


def _status(status: int, body: Any, kind: Kind = "openai") -> Told:
    """Return an error of that status; a text is no JSON."""
    reply = Reply(status=status, raw=(body if isinstance(body, str) else json.dumps(body)).encode())
    return kind, reply, reply


def _within(body: Any, kind: Kind = "openai") -> Told:
    """Return an error in a body of 200, or in an event of a stream."""
    text = json.dumps(body)
    event = f"event: error\ndata: {text}" if kind == "anthropic" else f"data: {text}"
    return kind, Reply(raw=text.encode()), Reply(raw=(event,))


def _whole(body: Any, kind: Kind = "openai") -> Told:
    """Return an error in a body of 200, also where a stream was asked for."""
    reply = Reply(raw=json.dumps(body).encode())
    return kind, reply, reply


def _page(kind: Kind) -> Told:
    """Return the page of a website, where an API was to be."""
    page = b"<!doctype html><html><head><title>Open WebUI</title></head><body></body></html>"
    reply = Reply(raw=page, headers={"content-type": "text/html; charset=utf-8"})
    return kind, reply, reply


def _ended(finish: str, text: str = "", kind: Kind = "openai", **more: Any) -> Told:
    """Return an answer that ended so, with more beside the finish reason."""
    heard = Heard(wire=kind, model="stand-in", system="", turns=(), tools={}, stream=True)
    reply = Reply(text=text, finish=finish)
    mark, added = json.dumps(finish), json.dumps(more)[1:-1]
    whole = json.dumps(DIALECTS[kind].whole(heard, reply))
    told = [
        each.replace(mark, f"{mark}, {added}" if more else mark)
        for each in DIALECTS[kind].events(heard, reply)
    ]
    return (
        kind,
        Reply(raw=whole.replace(mark, f"{mark}, {added}" if more else mark).encode()),
        Reply(raw=tuple(told)),
    )


def _choices(message: Mapping[str, Any], deltas: Sequence[Mapping[str, Any]], **more: Any) -> Told:
    """Return an OpenAI-compatible answer of that message and of those deltas, with more in its choice."""
    frame = {"id": "1", "created": 1, "model": "stand-in"}
    ended = {"index": 0, "finish_reason": "stop", **more}
    whole = {**frame, "object": "chat.completion", "choices": [{**ended, "message": message}]}
    steps = [*({"index": 0, "delta": delta} for delta in deltas), {**ended, "delta": {}}]
    chunks = [{**frame, "object": "chat.completion.chunk", "choices": [step]} for step in steps]
    events = (*(f"data: {json.dumps(chunk)}" for chunk in chunks), "data: [DONE]")
    return "openai", Reply(raw=json.dumps(whole).encode()), Reply(raw=events)


def _by_openrouter(code: int, raw: Any, **more: Any) -> dict[str, Any]:
    metadata = {"raw": raw, "provider_name": "Crucible", **more}
    return {
        "error": {"message": "Provider returned error", "code": code, "metadata": metadata},
        "user_id": "u",
    }


NO = "I'm sorry, I can't help with that."
AZURE = {
    "message": "The response was filtered due to the prompt triggering the content management policy.",
    "code": "content_filter",
    "innererror": {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {"hate": {"filtered": True}},
    },
}
QWEN = {"code": "data_inspection_failed", "message": "Output data may contain inappropriate content."}
KIMI = "The request was rejected because it was considered high risk"
MISTRAL = "Content blocked by the guardrails of the workspace"
ZHIPU = "系统检测到输入或生成内容可能包含不安全或敏感内容"
LITELLM_REFUSES = "litellm.ContentPolicyViolationError: AzureException - The response was filtered."
ARMOR = {"blockReason": "MODEL_ARMOR", "blockReasonMessage": "Blocked by the floor settings."}
RATED = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}]
DETAILS = {"type": "refusal", "category": "cyber", "explanation": "It could do harm."}

REFUSALS: Mapping[str, tuple[Told, str]] = {
    "OpenAI's field": (
        _choices({"role": "assistant", "refusal": NO}, [{"refusal": NO[:9]}, {"refusal": NO[9:]}]),
        f"it withheld its answer ({NO[:-1]})",
    ),
    "OpenAI's filter": (_ended("content_filter"), "it withheld its answer (content_filter)"),
    "OpenAI's filter, late": (_ended("content_filter", "Half"), "it withheld its answer (content_filter)"),
    "Azure": (_status(400, {"error": AZURE}), "it refused the request (The response was filtered due"),
    "Azure, 200": (_within({"error": AZURE}), "it refused the request (The response was filtered due"),
    "Qwen": (
        _within({"error": QWEN}),
        "it refused the request (Output data may contain inappropriate content)",
    ),
    "DeepSeek": (
        _status(400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}),
        "it refused the request (Content Exists Risk)",
    ),
    "Kimi": (
        _status(400, {"error": {"code": 400, "message": KIMI, "param": "prompt", "type": "content_filter"}}),
        f"it refused the request ({KIMI})",
    ),
    "MiniMax": (
        _status(422, {"type": "error", "error": {"message": "input new_sensitive (1026)"}}),
        "it refused the request (input new_sensitive (1026))",
    ),
    "MiniMax, 200": (
        _within({"choices": None, "base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}}),
        "it refused the request (output new_sensitive)",
    ),
    "Mistral": (
        _status(403, {"object": "error", "message": MISTRAL, "type": "guardrail_violation", "code": None}),
        f"it refused the request ({MISTRAL})",
    ),
    "LiteLLM": (
        _status(400, {"error": {"message": LITELLM_REFUSES, "type": None, "code": "400"}}),
        "it refused the request (",
    ),
    "Open WebUI": (
        _status(400, {"detail": "Toxic message detected"}),  # its filter for Detoxify
        "it refused the request (Toxic message detected)",
    ),
    "Volcengine": (
        _status(400, {"error": {"code": "InputTextSensitiveContentDetected", "message": "Denied."}}),
        "it refused the request (Denied)",
    ),
    "Zhipu, 400": (
        _status(400, {"error": {"code": "1301", "message": ZHIPU}}),
        f"it refused the request ({ZHIPU})",
    ),
    "Zhipu": (_ended("sensitive"), "it withheld its answer (sensitive)"),
    "OpenRouter": (
        _status(403, _by_openrouter(403, None, reasons=["violence"], error_type="moderation")),
        "it refused the request (Crucible: violence)",
    ),
    "Gemini, OpenAI's wire": (_ended("MODEL_ARMOR"), "it withheld its answer (MODEL_ARMOR)"),
    "Anthropic": (
        _ended("refusal", kind="anthropic", stop_details=DETAILS),
        "it withheld its answer (refusal: It could do harm)",
    ),
    "Anthropic, late": (_ended("refusal", "Half", kind="anthropic"), "it withheld its answer (refusal)"),
    "Gemini": (
        _ended("SAFETY", kind="gemini", safetyRatings=RATED),
        "it withheld its answer (SAFETY: HARM_CATEGORY_HARASSMENT)",
    ),
    "Gemini, late": (_ended("RECITATION", "Half", "gemini"), "it withheld its answer (RECITATION)"),
    "Gemini's prompt": (
        _within({"promptFeedback": ARMOR, "usageMetadata": {"promptTokenCount": 1}}, "gemini"),
        "it withheld its answer (MODEL_ARMOR: Blocked by the floor settings)",
    ),
}
"""A maker to how it refuses, and what the person reads of it."""

ONE_IMAGE = json.dumps(
    {"error": {"message": "Kimi supports at most 1 image.", "type": "invalid_request_error"}}
)
EXTRA = {"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}
GROQ = {
    "message": "Failed to call a function.",
    "code": "tool_use_failed",
    "failed_generation": "<f=",
    "status_code": 400,
}
LITELLM = f"litellm.BadRequestError: GroqException - {json.dumps({'error': GROQ})}\nReceived Model Group=x"
QUOTA = {"message": "You exceeded your current quota.", "type": "insufficient_quota"}
PAGE = "<!doctype html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
FIREWALL = PAGE.replace("502 Bad Gateway", "Attention Required! | Cloudflare")
NGINX = PAGE.replace("<!doctype html>", "").replace("502 Bad Gateway", "401 Authorization Required")
HOTEL = PAGE.replace("502 Bad Gateway", "Sign in to the network")
NO_API, BETWEEN = "a web page came in place of its answer", "what stands between"
REJECTED, CARD = "it rejected the request", "Check its card in twobrain.toml"
FAILED, UNREAD = "the provider is overloaded or failed", "its answer could not be read"

ERRORS: Mapping[str, tuple[Told, str, str, int]] = {
    "OpenRouter": (
        _status(400, _by_openrouter(400, ONE_IMAGE)),
        f"{REJECTED} (Crucible: Kimi supports at most 1",
        CARD,
        1,
    ),
    "OpenRouter, 200": (
        _within(_by_openrouter(400, ONE_IMAGE)),
        f"{REJECTED} (Crucible: Kimi supports at",
        CARD,
        1,
    ),
    "OpenRouter, words": (
        _status(429, _by_openrouter(429, "Limited upstream.")),
        "is reached (Crucible: Limited",
        "later",
        2,
    ),
    "OpenRouter, choice": (
        _choices(
            {"role": "assistant", "content": "Half"},
            [{"content": "Half"}],
            error={"code": 502, "message": "Lost"},
        ),
        f"{FAILED} (Lost)",
        "later",
        2,
    ),
    "OpenRouter, finish": (
        _ended("error", "Half"),
        "the provider failed within its answer (error)",
        "later",
        2,
    ),
    "FastAPI": (
        _status(422, {"detail": [EXTRA]}),
        f"{REJECTED} (body.top_k: Extra inputs are not permitted)",
        CARD,
        1,
    ),
    "Mistral": (
        _status(422, {"message": {"detail": [EXTRA]}}),
        f"{REJECTED} (body.top_k: Extra inputs",
        CARD,
        1,
    ),
    "Open WebUI": (
        _status(400, {"detail": "Model not found"}),
        f"{REJECTED} (Model not found)",
        "Check its model",
        1,
    ),
    "Open WebUI, 200": (
        _within({"detail": "Server Connection Error"}),
        f"{FAILED} (Server Connection Err",
        "later",
        2,
    ),
    "xAI": (_status(400, {"code": "invalid", "error": "Bad seed"}), f"{REJECTED} (Bad seed)", CARD, 1),
    "vLLM": (
        _status(400, {"object": "error", "message": "Bad seed", "code": 400}),
        f"{REJECTED} (Bad seed)",
        CARD,
        1,
    ),
    "Cloudflare": (
        _status(400, {"errors": [{"message": "Bad seed"}], "success": False}),
        "(Bad seed)",
        CARD,
        1,
    ),
    "Gemini, OpenAI's wire": (
        _status(400, [{"error": {"code": 400, "message": "API key not valid."}}]),
        "rejected the key (API key not valid)",
        "Check the key",
        1,
    ),
    "MiniMax, 200": (
        _within({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
        "its account has no credit left (insufficient balance)",
        "Add credit",
        1,
    ),
    "Baidu": (_status(400, {"errno": 2, "errmsg": "Bad seed"}), f"{REJECTED} (Bad seed)", CARD, 1),
    "Open WebUI, not its API": (
        _status(405, {"detail": "Method Not Allowed"}),
        f"{REJECTED} (Method Not Allowed)",
        "Check its model and its base_url",
        1,
    ),
    "a website": (_page("openai"), f"{NO_API} (Open WebUI)", BETWEEN, 1),
    "a website, Anthropic's wire": (_page("anthropic"), f"{NO_API} (Open WebUI)", BETWEEN, 1),
    "a website, Gemini's wire": (_page("gemini"), f"{NO_API} (Open WebUI)", BETWEEN, 1),
    "Cloudflare's firewall": (_status(403, FIREWALL), f"{NO_API} (Attention Required! | Clo", BETWEEN, 1),
    "Cloudflare's, to a program": (_status(403, "error code: 1020"), f"{NO_API} (error code: 10", BETWEEN, 1),
    "Perplexity's wrong key": (_status(401, NGINX), "rejected the key (401 Auth", "Check the key", 1),
    "an ingress": (
        _status(403, NGINX.replace("401 Authorization Required", "403 Forbidden"), "anthropic"),
        f"{NO_API} (403",
        BETWEEN,
        1,
    ),
    "Hugging Face": (
        _status(503, {"error": "Model too busy", "error_type": "overloaded"}),
        f"{FAILED} (Model too busy)",
        "later",
        2,
    ),
    "NVIDIA": (
        _status(400, {"type": "urn:x", "title": "Bad Request", "status": 400, "detail": "Bad seed"}),
        f"{REJECTED} (Bad seed)",
        CARD,
        1,
    ),
    "Bedrock": (
        _status(429, {"__type": "ThrottlingException", "message": "Too many tokens"}),
        "rate limit is reached (Too many tokens)",
        "later",
        2,
    ),
    "Ollama, not pulled": (
        _status(404, {"error": {"message": "model 'x' not found, try pulling it first"}}),
        f"{REJECTED} (model 'x' not found",
        "Check its model and its base_url",
        1,
    ),
    "llama.cpp, loading": (
        _status(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
        f"{FAILED} (Loading model)",
        "later",
        2,
    ),
    "a hotel": (_status(511, HOTEL, "gemini"), f"{NO_API} (Sign in to the network)", BETWEEN, 1),
    "a firm's proxy": (_status(407, "Proxy Authentication Required"), REJECTED, "HTTPS_PROXY", 1),
    "Cloudflare, origin down": (_status(522, FIREWALL, "anthropic"), FAILED, "later", 2),
    "a proxy": (_status(502, PAGE), f"{FAILED} (502 Bad Gateway)", "later", 2),
    "Envoy": (_status(503, "upstream connect error"), f"{FAILED} (upstream connect error)", "later", 2),
    "nothing": (_status(502, ""), f"{FAILED} (HTTP 502)", "later", 2),
    "nested": (
        _status(400, {"error": {"message": json.dumps({"error": {"message": "Deep"}})}}),
        "(Deep)",
        CARD,
        1,
    ),
    "printed": (_status(400, {"error": {"message": f"Error: { ({'detail': 'Deep'}) }"}}), "(Deep)", CARD, 1),
    "Groq": (_status(400, {"error": GROQ}), f"{UNREAD} (Failed to call a function)", "Try again", 2),
    "Groq, within": (_within({"error": GROQ}), f"{UNREAD} (Failed to call a function)", "Try again", 2),
    "LiteLLM": (
        _status(400, {"error": {"message": LITELLM, "code": "400"}}),
        f"{UNREAD} (Failed to call",
        "Try again",
        2,
    ),
    "Ollama": (
        _status(500, {"error": {"message": "error parsing tool call: raw='{'"}}),
        f"{UNREAD} (error parsing tool",
        "Try again",
        2,
    ),
    "OpenAI's quota": (
        _status(429, {"error": QUOTA}),
        "its account has no credit left (You exceeded",
        "Add credit",
        1,
    ),
    "DeepSeek": (
        _status(402, {"error": {"message": "Insufficient Balance"}}),
        "no credit left (Insufficient",
        "Add credit",
        1,
    ),
    "Anthropic's credit": (
        _status(400, DIALECTS["anthropic"].error_body(400, "Your credit balance is too low."), "anthropic"),
        "its account has no credit left (Your credit balance is too low)",
        "Add credit",
        1,
    ),
    "Anthropic, stream": (
        _within(DIALECTS["anthropic"].error_body(529, "Overloaded"), "anthropic"),
        f"{FAILED} (Overloaded)",
        "later",
        2,
    ),
    "no stream": (_whole({"error": {"message": "Lost", "code": 502}}), f"{FAILED} (Lost)", "later", 2),
    "no stream, Anthropic's wire": (
        _whole({"type": "error", "error": {"type": "overloaded_error", "message": "Lost"}}, "anthropic"),
        f"{FAILED} (Lost)",
        "later",
        2,
    ),
    "no stream, Gemini's wire": (_whole({"detail": "Lost"}, "gemini"), f"{FAILED} (Lost)", "later", 2),
    "a gateway, Anthropic's wire": (
        _status(403, {"detail": "No access to it"}, "anthropic"),
        "(No access to it)",
        "Check the key",
        1,
    ),
    "a gateway, Gemini's wire": (
        _status(400, {"detail": "No such route"}, "gemini"),
        "(No such route)",
        CARD,
        1,
    ),
    "a page, Gemini's wire": (_status(502, PAGE, "gemini"), f"{FAILED} (502 Bad Gateway)", "later", 2),
}
"""A maker to its error, what the person reads, what is advised, and how often it is asked of two times."""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch) -> None:
    """Make every backoff of ours end at once."""
    monkeypatch.setattr("models.call.random.uniform", lambda least, most: 0.0)


@pytest.fixture
def reads(open_wire: OpenWire, furnish):
    """Return a function that gives what the person reads of each, and how often the model was asked."""

    async def read(told: Mapping[str, Told], stream: bool) -> dict[str, tuple[str, int]]:
        house = furnish({kind: at(open_wire(kind), max_retries=1, streaming=stream) for kind in KINDS})
        found = {}
        async with house.open() as orchestrator:
            for maker, (kind, *replies) in told.items():
                wire = house.wires[kind]
                wire.brain = lambda heard, reply=replies[stream]: reply
                before = len(wire.heard)
                context = house.context(path="direct", responder=kind)
                result = await orchestrator.ask("Hello", context=context)
                assert result.stop_reason == "model_failed"
                assert not re.search(r"[{<]|sk-", result.response), "neither JSON nor markup nor a key"
                found[maker] = (result.response, len(wire.heard) - before)
        return found

    return read


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_told_as_one_with_the_providers_words_and_not_asked_again(reads, stream):
    found = await reads({maker: told for maker, (told, _) in REFUSALS.items()}, stream)
    for maker, (_, words) in REFUSALS.items():
        said, asked = found[maker]
        assert words in said, maker
        assert said.endswith("Put the request in other words."), maker
        assert asked == 1, maker


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.slow
async def test_an_errors_own_words_are_told_with_fitting_advice_and_asked_again_where_that_may_help(
    reads, stream
):
    found = await reads({maker: told for maker, (told, *_) in ERRORS.items()}, stream)
    for maker, (_, words, advice, tries) in ERRORS.items():
        said, asked = found[maker]
        assert words in said, maker
        assert advice in said.rpartition(").")[2], maker
        assert asked == tries, maker


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_a_provider_could_not_form_is_made_when_it_is_asked_again(
    open_wire: OpenWire, furnish, stream
):
    failures = [_status(400, {"error": GROQ})[1], _within({"error": GROQ})[1 + stream]]
    wire = open_wire("openai", brain=lambda heard: failures.pop() if failures else obedient(heard))
    house = furnish({"planner": at(wire, streaming=stream, max_retries=2)})
    async with house.open() as orchestrator:
        result = await orchestrator.ask('calculate {"expression": "6*7"}', context=house.context())
    assert [call["result"] for call in result.tool_calls] == ["42"]
    assert (result.response, result.stop_reason) == ("Found: 42", "answered")


async def test_words_are_bounded_and_a_key_is_gone_from_them_wherever_they_are_cut(reads):
    key, told = key_of("openai"), {}
    for far in (0, 250, 285, 299, 5_000):
        words = f"{'x' * far} {key} is wrong. {'and so on ' * 5_000}"
        told[f"{far}"] = _status(400, _by_openrouter(400, json.dumps({"error": {"message": words}})))
    for far, (said, _) in (await reads(told, True)).items():
        assert len(said) < 500, far
        assert "sk-" not in said, far


async def test_a_huge_body_that_is_none_takes_no_time(reads):
    bodies = ("<script>" * 200_000, "{'message': '" * 100_000, '{"error":' * 100_000, '[{"a":' * 50_000)
    started = time.process_time()
    found = await reads({body[:9]: _status(400, body) for body in bodies}, False)
    assert time.process_time() - started < 10
    assert {len(said) < 500 and asked == 1 for said, asked in found.values()} == {True}
