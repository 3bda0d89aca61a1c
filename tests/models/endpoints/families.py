"""A turn as each family of endpoints sends it over the chat-completions wire, written down from its makers.

In the first reply the model thinks and makes two calls, in the second it thinks and is cut off.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.models.makers import THOUGHT
from tests.wires.brain import Reply

PROMPT, SAID, CACHED = 90, 30, 40
"""Tokens of each reply; the cached ones are of the prompt's."""
CALLS = (("calculate", '{"expression": "6*7"}'), ("get_time", '{"timezone": "Asia/Tokyo"}'))
HALF, REST = "It is 42, and the clock ", "strikes noon."
Chunk = Mapping[str, Any]
Call = dict[str, Any]


def _in_pieces(calls: Sequence[Call]) -> list[Chunk]:
    """Send each call's name first, then its arguments in two pieces."""
    deltas: list[Chunk] = []
    for index, call in enumerate(calls):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        first = {**call, "index": index, "function": {"name": name, "arguments": ""}}
        rest = [{"index": index, "function": {"arguments": part}} for part in (arguments[:9], arguments[9:])]
        deltas += [{"tool_calls": [piece]} for piece in (first, *rest)]
    return deltas


def _whole(calls: Sequence[Call]) -> list[Chunk]:
    return [{"tool_calls": [{**call, "index": index}]} for index, call in enumerate(calls)]


def _whole_with_one_index(calls: Sequence[Call]) -> list[Chunk]:
    return [{"tool_calls": [{**call, "index": 0}]} for call in calls]


def _at_once(calls: Sequence[Call]) -> list[Chunk]:
    return [{"tool_calls": [{**call, "index": index} for index, call in enumerate(calls)]}]


def _counts(**more: Any) -> dict[str, Any]:
    counts = {"prompt_tokens": PROMPT, "completion_tokens": SAID, "total_tokens": PROMPT + SAID}
    return {**counts, **more}


_DETAILS = {"prompt_tokens_details": {"cached_tokens": CACHED}}
_LAST_CHUNK: Callable[[dict[str, Any]], list[Chunk]] = lambda usage: [{"choices": [], "usage": usage}]  # noqa: E731


@dataclass(frozen=True)
class Family:
    """What a family's messages and streams hold beside what OpenAI's do."""

    thinks: Sequence[Chunk]
    """The deltas of a thought."""
    thought: Chunk
    """The same in a whole message; it is part of what goes back."""
    calls: Callable[[Sequence[Call]], list[Chunk]] = _in_pieces
    ids: tuple[str, str] = ("call_1", "call_2")
    of_call: Mapping[str, Any] = field(default_factory=dict)
    """Beside the first call."""
    begins: Chunk = field(default_factory=lambda: {"role": "assistant", "content": ""})
    choice: Chunk = field(default_factory=dict)
    """In each choice."""
    frame: Chunk = field(default_factory=dict)
    """In each body and chunk."""
    unfinished: str | None = None
    """The finish reason of a chunk that is not the last."""
    finish: str = "tool_calls"
    cut: str = "length"
    ends_with_last_words: bool = False
    """True: the finish reason stands in the last chunk with words or calls."""
    usage: Mapping[str, Any] = field(default_factory=lambda: _counts(**_DETAILS))
    counted: Callable[[dict[str, Any]], list[Chunk]] = _LAST_CHUNK
    """The chunks that tell the counts of a stream."""
    cached: int | None = CACHED
    comments: Sequence[str] = ()

    def made(self) -> list[Call]:
        """Return the calls as they stand in a whole message."""
        pairs = zip(self.ids, CALLS, strict=True)
        made: list[Call] = [
            {"id": each, "type": "function", "function": {"name": name, "arguments": arguments}}
            for each, (name, arguments) in pairs
        ]
        made[0].update(self.of_call)
        return made

    def message(self) -> dict[str, Any]:
        """Return the first message as it is to go back."""
        return {"role": "assistant", "content": "", **self.thought, "tool_calls": self.made()}

    def calling(self, stream: bool) -> Reply:
        if not stream:
            return self._body(self.message(), self.finish)
        return self._stream([*self.thinks, *self.calls(self.made())], self.finish)

    def telling(self, words: str, finish: str, stream: bool) -> Reply:
        if not stream:
            return self._body({"role": "assistant", **_joined(self.thought, words)}, finish)
        return self._stream([*self.thinks, {"content": words[:5]}, {"content": words[5:]}], finish)

    def _body(self, message: Mapping[str, Any], finish: str) -> Reply:
        choice = {"index": 0, "message": message, "finish_reason": finish, **self.choice}
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        return Reply(raw=json.dumps({**body, "usage": self.usage, **self.frame}).encode())

    def _stream(self, deltas: Iterable[Chunk], finish: str) -> Reply:
        frame = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", **self.frame}
        choices = [
            {"index": 0, "delta": delta, "finish_reason": self.unfinished, **self.choice}
            for delta in (self.begins, *deltas)
        ]
        if self.ends_with_last_words:
            choices[-1]["finish_reason"] = finish
        else:
            choices.append({"index": 0, "delta": {}, "finish_reason": finish, **self.choice})
        chunks = [{**frame, "choices": [choice]} for choice in choices]
        chunks += [{**frame, **chunk} for chunk in self.counted(dict(self.usage))]
        lines = (f"data: {json.dumps(chunk)}" for chunk in chunks)
        return Reply(raw=(*self.comments, *lines, "data: [DONE]"))


def _joined(thought: Chunk, words: str) -> dict[str, Any]:
    content = thought.get("content", "")
    told = [*content, {"type": "text", "text": words}] if isinstance(content, list) else f"{content}{words}"
    return {**thought, "content": told}


def _in_field(name: str, **more: Any) -> dict[str, Any]:
    """Return a thought in a field of its own, whole and in deltas."""
    thinks = [{name: part, **more} for part in (THOUGHT, " I look.")]
    return {"thinks": thinks, "thought": {name: f"{THOUGHT} I look."}}


def _detail(text: str) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": text, "format": "made-v1", "index": 0}


_THINKING = [{"type": "thinking", "thinking": [{"type": "text", "text": f"{THOUGHT} I look."}]}]
_TAGGED = (f"<think>\n{THOUGHT}", " I look.\n</think>\n\n")

FAMILIES: Mapping[str, Family] = {
    "openai": Family([], {}, begins={"role": "assistant", "content": "", "refusal": None}),
    "gemini at openai's wire": Family(
        [],
        {},
        _whole_with_one_index,
        ids=("function-call-1", "function-call-2"),
        of_call={"extra_content": {"google": {"thought_signature": f"{THOUGHT}=="}}},
        counted=lambda usage: [{"choices": [], "usage": {**usage, "completion_tokens": 9}}, {"usage": usage}],
    ),
    "openrouter": Family(
        [
            {"content": "", "reasoning": part, "reasoning_details": [_detail(part)]}
            for part in (THOUGHT, " I look.")
        ],
        {
            "reasoning": f"{THOUGHT} I look.",
            "reasoning_details": [_detail(f"{THOUGHT} I look.")],
        },
        choice={"native_finish_reason": "end_turn", "logprobs": None},
        frame={"provider": "Crucible"},
        usage=_counts(
            **_DETAILS, cost=0.00012, is_byok=False, cost_details={"upstream_inference_cost": None}
        ),
        counted=lambda usage: [
            {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}], "usage": usage}
        ],
        comments=(": OPENROUTER PROCESSING", ": OPENROUTER PROCESSING"),
    ),
    "deepseek": Family(
        **_in_field("reasoning_content", content=None),
        ids=("call_00_a1", "call_01_b2"),
        usage=_counts(prompt_cache_hit_tokens=CACHED, prompt_cache_miss_tokens=PROMPT - CACHED),
        counted=lambda usage: [{"choices": [{"index": 0, "delta": {"content": ""}}], "usage": usage}],
        frame={"system_fingerprint": "fp_1"},
        comments=(": keep-alive",),
    ),
    "kimi": Family(
        **_in_field("reasoning_content"),
        ids=("calculate:0", "get_time:1"),
        usage=_counts(cached_tokens=CACHED),
        counted=lambda usage: [{"choices": [{"index": 0, "delta": {}, "usage": usage}]}],
    ),
    "minimax": Family(
        [{"content": part, "role": "assistant", "audio_content": ""} for part in _TAGGED],
        {"content": "".join(_TAGGED), "audio_content": ""},
        _at_once,
        ids=("call_function_1", "call_function_2"),
        frame={"input_sensitive": False, "base_resp": {"status_code": 0, "status_msg": ""}},
        usage=_counts(total_characters=0),
        cached=None,
    ),
    "mistral": Family(
        [
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": part}]}]}
            for part in (THOUGHT, " I look.")
        ],
        {"content": _THINKING},
        _at_once,
        ids=("D681PevKs", "Kq9vTb2Xw"),
        usage=_counts(),
        cached=None,
        ends_with_last_words=True,
        counted=lambda usage: [{"choices": [{"index": 0, "delta": {"content": ""}}], "usage": usage}],
    ),
    "groq": Family(
        [{"reasoning": part, "channel": "analysis"} for part in (THOUGHT, " I look.")],
        {"reasoning": f"{THOUGHT} I look.", "channel": "analysis"},
        _at_once,
        ids=("fc_1", "fc_2"),
        usage=_counts(queue_time=0.1, prompt_time=0.01, completion_time=0.2, total_time=0.21),
        cached=None,
        counted=lambda usage: [{"choices": [], "x_groq": {"id": "req_1", "usage": usage}}],
        frame={"usage_breakdown": None, "service_tier": "on_demand"},
    ),
    "ollama": Family(
        **_in_field("reasoning", role="assistant", content=""),
        calls=_whole_with_one_index,
        ids=("call_ab12cd34", "call_ef56gh78"),
        unfinished="",
        usage=_counts(),
        cached=None,
        frame={"system_fingerprint": "fp_ollama"},
    ),
    "llama.cpp": Family(
        **_in_field("reasoning_content"),
        ids=("aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY", "Zb3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY"),
        begins={"role": "assistant", "content": None},
        usage=_counts(),
        cached=None,
        frame={"timings": {"cache_n": 7, "prompt_n": 83, "predicted_n": 30, "predicted_per_second": 68.7}},
    ),
    "vllm": Family(
        **_in_field("reasoning", reasoning_content=None),
        ids=("chatcmpl-tool-040af537", "chatcmpl-tool-1b2c3d4e"),
        choice={"logprobs": None, "stop_reason": None, "token_ids": None},
        usage=_counts(prompt_tokens_details=None),
        cached=None,
        ends_with_last_words=True,
        frame={"prompt_token_ids": None},
    ),
    "litellm": Family(
        [
            {
                "reasoning_content": part,
                "thinking_blocks": [{"type": "thinking", "thinking": part, "signature": sign}],
                "provider_specific_fields": None,
                "function_call": None,
                "audio": None,
            }
            for part, sign in ((THOUGHT, None), (" I look.", f"{THOUGHT}=="))
        ],
        {
            "reasoning_content": f"{THOUGHT} I look.",
            "thinking_blocks": [
                {"type": "thinking", "thinking": f"{THOUGHT} I look.", "signature": f"{THOUGHT}=="}
            ],
        },
        choice={"provider_specific_fields": None},
        frame={"citations": None, "service_tier": None},
        usage=_counts(**_DETAILS, cache_creation_input_tokens=0, cache_read_input_tokens=CACHED),
    ),
    "open webui": Family(
        **_in_field("reasoning_content"),
        calls=_at_once,
        ids=("call_7f3a", "call_8b4c"),
        unfinished="stop",  # of each chunk that thinks, too
        usage={
            **_counts(),
            "response_token/s": 68.7,
            "prompt_token/s": 310.2,
            "approximate_total": "0h0m2s",
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        cached=None,
        comments=('data: {"sources": []}', 'data: {"event": {"type": "status", "data": {"done": true}}}'),
    ),
}
"""A family to how it speaks."""
