"""What makers of models and gateways send over the chat-completions wire, beside what OpenAI sends."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.wires.brain import Reply

THOUGHT = "QUIETLY"
"""In every thought, signature and the like below: whoever reads it was not to."""
_FRAME = {"id": "chatcmpl-1", "created": 1_760_000_000, "model": "stand-in"}


def whole(message: Mapping[str, Any], finish: str = "stop", **fields: Any) -> Reply:
    """Return a plain answer."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    body = {**_FRAME, "object": "chat.completion", "choices": [choice], **fields}
    return Reply(raw=json.dumps(body).encode())


def streamed(deltas: Iterable[Mapping[str, Any]], finish: str = "stop", more: Sequence[Any] = ()) -> Reply:
    """Return a streamed answer; `more` is put on top of its chunks, the last of which ends it."""
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    chunks = [{**_FRAME, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
    for chunk, fields in zip(chunks, more, strict=False):
        chunk.update(fields)
    return Reply(raw=(*(f"data: {json.dumps(chunk)}" for chunk in chunks), "data: [DONE]"))


def text(written: str, stream: bool, size: int = 3, finish: str = "stop") -> Reply:
    """Return an answer of this content, streamed in pieces of so many characters."""
    if not stream:
        return whole({"content": written}, finish)
    return streamed(({"content": written[i : i + size]} for i in range(0, len(written), size)), finish)


@dataclass(frozen=True)
class Maker:
    """A message that makes one call, and the deltas it is streamed in."""

    message: Mapping[str, Any]
    deltas: Sequence[Mapping[str, Any]]
    words: str = ""
    """What a person may read of it."""

    def reply(self, stream: bool) -> Reply:
        return streamed(self.deltas, "tool_calls") if stream else whole(self.message, "tool_calls")


ARGUMENTS = '{"expression": "6*7"}'


def _call(**extras: Any) -> dict[str, Any]:
    function = {"name": "calculate", "arguments": ARGUMENTS, **extras.pop("function", {})}
    return {"id": "call_1", "type": "function", "function": function, **extras}


def _pieces(index: int | None = 0, **extras: Any) -> list[dict[str, Any]]:
    """Return the deltas of the call: its name, then its arguments in two."""
    at = {} if index is None else {"index": index}
    first = {**_call(**extras), **at}
    first["function"] = {**first["function"], "arguments": ""}
    rest = [{**at, "function": {"arguments": part}} for part in (ARGUMENTS[:9], ARGUMENTS[9:])]
    return [{"tool_calls": [piece]} for piece in (first, *rest)]


def _maker(fields: Mapping[str, Any], deltas: Sequence[Mapping[str, Any]], **extras: Any) -> Maker:
    message = {"content": "", **fields, "tool_calls": [_call(**extras)]}
    return Maker(message, [{"role": "assistant", "content": None}, *deltas, *_pieces(**extras)])


def _detail(**fields: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "format": "made-v1", "index": 0, **fields}


_BY_GOOGLE = {"extra_content": {"google": {"thought_signature": f"{THOUGHT}=="}}}
_BY_LITELLM = {"provider_specific_fields": {"thought_signature": f"{THOUGHT}=="}}
_ENCRYPTED = {"type": "reasoning.encrypted", "id": "call_1", "data": THOUGHT, "format": "g-v1", "index": 0}
_THINKING = [{"type": "thinking", "thinking": [{"type": "text", "text": f"{THOUGHT} I look."}]}]

MAKERS: Mapping[str, Maker] = {
    "deepseek": _maker(
        {"reasoning_content": f"{THOUGHT} I look."},
        [{"reasoning_content": THOUGHT, "content": None}, {"reasoning_content": " I look."}],
    ),
    "deepseek without a thought": _maker(
        {"reasoning_content": ""}, [{"reasoning_content": None}, {"reasoning_content": ""}]
    ),
    "kimi": Maker(
        {
            "content": "I calculate.",
            "reasoning_content": THOUGHT,
            "tool_calls": [{**_call(), "id": "calculate:0"}],
        },
        [
            {"role": "assistant", "content": "", "reasoning_content": THOUGHT},
            {"content": "I "},
            {"content": "calculate."},
            {"tool_calls": [{**_call(), "id": "calculate:0", "index": 0}]},
        ],
        "I calculate.",
    ),
    "minimax": _maker(
        {"reasoning_details": [_detail(id="reasoning-text-1", text=f"{THOUGHT} I look.")]},
        [
            {"reasoning_details": [_detail(id="reasoning-text-1", text=part)]}
            for part in (THOUGHT, " I", " look.")
        ],
    ),
    "minimax as it comes": _maker(
        {"content": f"<think>\n{THOUGHT} I look.\n</think>\n\n"},
        [{"content": part} for part in ("<thi", "nk>\n", f"{THOUGHT} I look.\n</", "think>\n\n")],
    ),
    "gemini at openai's wire": _maker({}, [], **_BY_GOOGLE),
    "openrouter with claude": _maker(
        {
            "reasoning": f"{THOUGHT} I look.",
            "reasoning_details": [_detail(text=f"{THOUGHT} I look.", signature=f"{THOUGHT}==")],
        },
        [
            {"reasoning": THOUGHT, "reasoning_details": [_detail(text=THOUGHT, signature=None)]},
            {"reasoning": " I look.", "reasoning_details": [_detail(text=" I look.")]},
            {"content": "", "reasoning_details": [_detail(signature=f"{THOUGHT}==")]},
        ],
    ),
    "openrouter with gemini": _maker(
        {"reasoning_details": [_detail(text=f"{THOUGHT} I look."), _ENCRYPTED]},
        [
            {"reasoning_details": [_detail(text=THOUGHT)]},
            {"reasoning_details": [_detail(text=" I look.")]},
            {"reasoning_details": [_ENCRYPTED]},
        ],
    ),
    "litellm with claude": _maker(
        {
            "reasoning_content": f"{THOUGHT} I look.",
            "thinking_blocks": [
                {"type": "thinking", "thinking": f"{THOUGHT} I look.", "signature": f"{THOUGHT}=="}
            ],
        },
        [
            {
                "reasoning_content": part,
                "thinking_blocks": [{"type": "thinking", "thinking": part, "signature": sign}],
            }
            for part, sign in ((THOUGHT, None), (" I look.", None), ("", f"{THOUGHT}=="))
        ],
    ),
    "litellm with gemini": _maker({}, [], **_BY_LITELLM, function=_BY_LITELLM),
    "mistral": _maker(
        {"content": [*_THINKING, {"type": "text", "text": "I calculate."}]},
        [
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": part}]}]}
            for part in (THOUGHT, " I look.")
        ]
        + [{"content": "I "}, {"content": "calculate."}],
    ),
    "vllm": _maker({"reasoning": f"{THOUGHT} I look."}, [{"reasoning": THOUGHT}, {"reasoning": " I look."}]),
}
"""A maker to a message as it must go back to its model, and to no other."""

THINKING: Mapping[str, tuple[str, str]] = {
    "qwen": (f"<think>\n{THOUGHT}\n</think>\n\nIt is noon.", "It is noon."),
    "glm without a thought": ("<think></think>\nIt is noon.", "It is noon."),
    "minimax in between": (
        f"Let me see.\n\n<think>\n{THOUGHT}\n</think>\n\nIt is noon.",
        "Let me see.\n\nIt is noon.",
    ),
    "claude as it was told": (f"<thinking>{THOUGHT}</thinking>\n\nIt is noon.", "It is noon."),
    "gemini at openai's wire": (f"<thought>{THOUGHT}\n</thought>It is noon.", "It is noon."),
    "magistral": (f"[THINK]{THOUGHT}[/THINK]It is noon.", "It is noon."),
    "kimi": (f"◁think▷{THOUGHT}◁/think▷It is noon.", "It is noon."),
    "gpt-oss": (
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|channel|>final<|message|>It is noon.",
        "It is noon.",
    ),
    "medgemma": (f"<unused94>thought\n{THOUGHT}\n<unused95>It is noon.", "It is noon."),
    "apertus": (f"<|inner_prefix|>{THOUGHT}<|inner_suffix|>It is noon.", "It is noon."),
    "command a": (f"<|START_THINKING|>{THOUGHT}<|END_THINKING|>It is noon.", "It is noon."),
    "open webui": (
        f'<details type="reasoning" done="true">\n<summary>So</summary>\n{THOUGHT}\n</details>\nIt is noon.',
        "It is noon.",
    ),
    "an empty thought's end": ("</think>\n\nIt is noon.", "It is noon."),
    "told of in words": (
        "Qwen thinks between <think> and </think>.",
        "Qwen thinks between <think> and </think>.",
    ),
    "told of in code": ("```\n<think>so</think>\n```\nSo.", "```\n<think>so</think>\n```\nSo."),
    "told of in code behind a blank line": (
        "So:\n\n```xml\n<think>\nso\n</think>\n```\nSo.",
        "So:\n\n```xml\n<think>\nso\n</think>\n```\nSo.",
    ),
    "told of in code within code": (
        "So:\n\n````md\n```\nso\n```\n<think>\n````\nSo.",
        "So:\n\n````md\n```\nso\n```\n<think>\n````\nSo.",
    ),
    "told of in code between tildes": ("~~~\n<think>\n~~~\nSo.", "~~~\n<think>\n~~~\nSo."),
    "its end told of in code": (
        "A thought ends so:\n\n```\n</think>\n```\nSo.",
        "A thought ends so:\n\n```\n</think>\n```\nSo.",
    ),
    "nearly a tag": ("<b>Noon</b>, `</think>` and ``x``", "<b>Noon</b>, `</think>` and ``x``"),
}
"""A content to the words that a person may read of it."""
WITHOUT_BEGIN: Mapping[str, str] = {
    "qwen at vllm": f"Okay, {THOUGHT}.\n\nSo:\n</think>\n\nIt is noon.",
    "deepseek": f"{THOUGHT}.</think>It is noon.",
    "r1 at llama.cpp": f"Alright, `x` {THOUGHT}.\n</think>\n\nIt is noon.",
}
"""Contents whose first tag the chat template put into the prompt."""
BLANK: Mapping[str, str] = {
    "never ended": f"<think>\n{THOUGHT}",
    "nothing behind": f"<think>{THOUGHT}</think>\n\n",
    "another tag": f"<thinking>{THOUGHT}",
    "without its begin": f"{THOUGHT}\n</think>",
}
"""Contents that hold thoughts alone."""

_PROMPT, _WORDS = 35, ("It ", "is ", "noon", ".")
_END = {"index": 0, "delta": {}, "finish_reason": "stop"}


def _counts(prompt: int, completion: int, **fields: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {"usage": {**usage, **fields}}


_LAST = _counts(_PROMPT, 4)
_ALL_ALONG = [_counts(_PROMPT, said) for said in (1, 2, 3, 4, 4)]
_NOTHING = [{"usage": None}] * 4

COUNTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "gemini at openai's wire": _ALL_ALONG,
    "fireworks": [_counts(_PROMPT, said, prompt_tokens_details=None) for said in (1, 2, 3, 4, 4)],
    "siliconflow": [*[_counts(0, 0)] * 4, _LAST],
    "mistral": [*_NOTHING, _LAST],
    "kimi": [*_NOTHING, {"choices": [{**_END, **_LAST}]}],
    "groq": [*_NOTHING, {"x_groq": {"id": "req_1", **_LAST}}],
    "one-api with claude": [_counts(_PROMPT, 1), *_NOTHING[1:], _counts(0, 4)],
}
"""A maker to what it puts on top of the chunks of an answer that takes 35 tokens, and then 4."""


def counted(name: str, then: Mapping[str, Any] | None = None) -> Reply:
    """Return a streamed answer with its counts; `then` comes in one chunk more, as at vLLM."""
    reply = streamed(({"content": word} for word in _WORDS), more=COUNTS[name])
    assert isinstance(reply.raw, tuple)
    last = [f"data: {json.dumps({**_FRAME, 'choices': [], **then})}"] if then else []
    return Reply(raw=(*reply.raw[:-1], *last, reply.raw[-1]))


_NAMED = {"id": "call_1", "type": "function", "function": {"name": "calculate", "arguments": ""}}
_PARTS = [{"function": {"arguments": part}} for part in (ARGUMENTS[:9], ARGUMENTS[9:14], ARGUMENTS[14:])]
_OTHER = {"id": "call_2", "function": {"name": "get_time", "arguments": ""}}

FRAGMENTS: Mapping[str, tuple[int, Sequence[Mapping[str, Any]]]] = {
    "without index, id and name": (1, [_NAMED, *_PARTS]),
    "two of them, one after the other": (2, [_NAMED, *_PARTS, _OTHER, {"function": {"arguments": "{}"}}]),
    "with an index that counts on, as at Cerebras": (
        1,
        [{"index": number, **piece} for number, piece in enumerate([_NAMED, *_PARTS])],
    ),
    "with the id again and again": (1, [_NAMED, *[{"id": "call_1", **part} for part in _PARTS]]),
    "whole without an index, as at Gemini": (
        2,
        [
            {**_NAMED, "function": {"name": "calculate", "arguments": ARGUMENTS}},
            {**_OTHER, "function": {"name": "get_time", "arguments": "{}"}},
        ],
    ),
    "two with one index, as at Gemini": (
        2,
        [
            {"index": 0, **_NAMED, "function": {"name": "calculate", "arguments": ARGUMENTS}},
            {"index": 0, **_OTHER, "function": {"name": "get_time", "arguments": "{}"}},
        ],
    ),
    "with another id each time": (
        1,
        [{"index": 0, **_NAMED}, *[{"index": 0, "id": f"id_{n}", **p} for n, p in enumerate(_PARTS)]],
    ),
    "with an empty id and name": (
        1,
        [
            {"index": 0, **_NAMED},
            *[{"index": 0, "id": "", "function": {"name": "", **part["function"]}} for part in _PARTS],
        ],
    ),
    "without an index but the first": (1, [{"index": 0, **_NAMED}, *_PARTS]),
    "without an id at all, as at Ollama": (
        1,
        [{"index": 0, "function": {"name": "calculate", "arguments": ""}}, *_PARTS],
    ),
}
"""How many calls there are, and how their pieces come, each in a delta of its own."""


def fragmented(name: str) -> Reply:
    """Return calls in such pieces."""
    return streamed([{"role": "assistant"}, *({"tool_calls": [p]} for p in FRAGMENTS[name][1])], "tool_calls")
