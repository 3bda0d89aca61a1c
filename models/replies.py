"""Read a model's reply as an answer with whole, numbered calls.

A call that a model wrote into its text, as small local models and gateways' templates make them do, is read
as a call where nothing is in doubt: it is the whole reply, the tool is offered, and the arguments are those
that its schema knows. It is then judged as any call is. Other markup of calls is no answer either.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    ToolCall,
    ToolMessage,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call

from base.json_size import values_in
from base.texts import is_blank
from models.failures import USED_UP, BlankReplyError, UnusableReplyError
from models.thoughts import WRITTEN, hide

MOST_CHARS = 1_000_000
"""Of a reply, its thoughts included: about twice what the 128,000 tokens come to that models say at most."""
MOST_CALLS = 100
"""In a reply: each is a task of the graph, and all are judged before the first runs."""
MOST_VALUES = 5_000
"""In the arguments of a reply's calls: each is redacted, stored and shown by itself."""
_LONG = 30_000
"""Characters that are read in a thread: it takes a millisecond."""

MALFORMED = "malformed"
"""Key in `AIMessage.additional_kwargs`: call id to what was wrong with its arguments."""

MODEL = "model"
"""Key in `AIMessage.additional_kwargs`: the registry name of the model that made the calls."""
FIELDS = "fields"
"""Key in `AIMessage.additional_kwargs`: what its provider put beside the message, and we do not know."""
CALL_FIELDS = "call_fields"
"""The same of each call, by its id."""

_INTEGERS = range(-(2**63), 2**64)
_UNSTORABLE = (
    "they hold an integer of more than 64 bits, which is to be a text or a number with an exponent, "
    "or half a character (a lone surrogate)"
)
_TOO_MANY = (
    f"the arguments of this reply's calls hold more than {MOST_VALUES:,} values; make fewer calls at once, "
    "or give large data as one text"
)

_TEXT_CALLS = (
    re.compile(r"<tool_call>\s*(?P<json>\{.*\})\s*</tool_call>", re.DOTALL),
    re.compile(r"<function=(?P<name>[\w.-]+)>\s*(?P<json>\{.*\})\s*</function>", re.DOTALL),
    re.compile(r"```(?:json)?\s*(?P<json>\{.*\})\s*```", re.DOTALL),
    re.compile(r"(?P<json>\{.*\})", re.DOTALL),
)
"""What a whole reply may be; with the name in the tag, the JSON is the arguments alone."""
_ARGUMENT_KEYS = ("arguments", "parameters")
_CALL_KEYS = {"name", "id", "type", *_ARGUMENT_KEYS}
_CALL_MARKUP = re.compile(
    r"<tool_call>\s*+(?=[{<]|\Z|[\w.-]++\s*+<arg_key>)|<function=[\w.-]++>|\[TOOL_CALLS\]\s*+(?=[\[{]|\Z)"
    r"|<\|tool_calls?_(?:section_)?(?:begin|end)\|>|<｜tool▁calls?▁(?:begin|end)｜>|<\|python_tag\|>\s*+\{"  # noqa: RUF001 (DeepSeek's)
)
"""Of Qwen, GLM, Mistral, Kimi, DeepSeek and Llama, where their servers do not read it."""

_P = ParamSpec("_P")
_T = TypeVar("_T")

_BLANK = "(Your reply to this was blank. Reply again, and not with nothing.)"
_CUT_SHORT = {
    "length",
    "max_tokens",
    "max_output_tokens",
    "token_limit",  # watsonx
    "time_limit",  # the same
    "maxpredictedtokensreached",  # LM Studio
    "contextlengthreached",  # the same
    "model_length",  # Mistral: the context window is full
    "model_context_window_exceeded",  # Anthropic: the same
    "insufficient_system_resource",  # DeepSeek: it gave up
}
"""Reasons to finish within an answer, in lower case."""
_WITHHELD = re.compile(
    "safety|prohibited|blocklist|spii|recitation|refus|content.?filter|sensitive|guardrail|armor|toxic|moderat",
    re.IGNORECASE,
)
"""In the finish reason of what a provider, or its filter, does not let through."""
_BROKEN_OFF = {"error", "network_error", "abort"}
"""Finish reasons of OpenRouter, Zhipu and vLLM where the provider failed."""


async def in_thread_if_long(chars: int, read: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Read something of so many characters without holding the event loop."""
    return await asyncio.to_thread(read, *args, **kwargs) if chars > _LONG else read(*args, **kwargs)


def chars_of(value: Any) -> int:
    """Return the characters of a JSON value, about."""
    if isinstance(value, dict | list):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        return len(value) + sum(map(chars_of, inner))
    return len(value) if isinstance(value, str) else 1


def chars_beside(message: AIMessage) -> int:
    """Return the characters that go back beside words and calls."""
    return chars_of([message.additional_kwargs.get(key) for key in (WRITTEN, FIELDS, CALL_FIELDS)])


def require_size(chars: int, calls: int = 0) -> None:
    """Check that a reply is not larger than what is read.

    Raises:
        UnusableReplyError: it is.
    """
    if chars > MOST_CHARS:
        raise UnusableReplyError(f"its reply is longer than {MOST_CHARS:,} characters, and was left unread")
    if calls > MOST_CALLS:
        raise UnusableReplyError(f"it made more than {MOST_CALLS} calls at once, and none was run")


def answer(
    raw: AIMessage, tools: Sequence[Mapping[str, Any]], known: Container[str], taken: Collection[str]
) -> AIMessage:
    """Return a reply that can be stored, sent back and shown.

    Where its text is not what was streamed of it, it has another id.

    Args:
        raw: what the client library made of the wire.
        tools: those that the model was offered, in OpenAI's format.
        known: names of tools that it may have read of; JSON that calls one of them is no answer.
        taken: call ids that the conversation already holds.

    Raises:
        BlankReplyError: it shows neither text nor calls, however well it says that it ended: so say a gateway
            over a model that failed, and a server over a call that it could not read.
        UnusableReplyError: it is withheld or cut short, or a call written as text that cannot be read.
    """
    declared = [tool["function"]["name"] for tool in tools]
    message = renumbered(_read(raw, declared), taken)
    _require_given(message)
    if message.tool_calls and not declared:
        if is_blank(message.text):
            raise UnusableReplyError("it called a tool, and was offered none")
        message = message.model_copy(update={"tool_calls": []})
    if not message.tool_calls:
        message = _read_text_call(message, tools, known)
    if message.tool_calls or not is_blank(message.text):
        is_heard = message.text == raw.text
        return message if is_heard else message.model_copy(update={"id": f"reply-{uuid.uuid4()}"})
    finish = _finish_of(message)
    if is_cut_short(message):
        raise UnusableReplyError(f"it gave a blank answer: {USED_UP} ({finish})")
    raise BlankReplyError(f"it gave a blank answer ({finish or 'no reason given'})")


def _require_given(message: AIMessage) -> None:
    """Check that a reply was not withheld, and did not break off.

    What came of it is no answer then, and no call of it is to run: Anthropic asks that it be discarded.

    Raises:
        UnusableReplyError: it was, or it did; with the provider's words.
    """
    finish, meta = _finish_of(message), message.response_metadata
    feedback, details = (meta.get(key) or {} for key in ("prompt_feedback", "stop_details"))
    refusal = message.additional_kwargs.get("refusal")
    blocked = feedback.get("block_reason") or (finish if _WITHHELD.search(finish) else "")
    if blocked or refusal:
        ratings = [each["category"] for each in meta.get("safety_ratings") or () if each.get("blocked")]
        said = (refusal, feedback.get("block_reason_message"), details.get("explanation"))
        words = next(filter(None, (*said, details.get("category"), ", ".join(map(str, ratings)))), "")
        told = ": ".join(each for each in (blocked, words) if each)
        raise UnusableReplyError("it withheld its answer", "refusal", told)
    if finish in _BROKEN_OFF:
        raise UnusableReplyError("the provider failed within its answer", "overload", finish)


def _read(raw: AIMessage, declared: Collection[str]) -> AIMessage:
    """Return the reply with calls that are safe to store and send.

    A call whose arguments are not one whole JSON object keeps its place with empty arguments and
    is marked under `MALFORMED`: it is answered, never run.
    """
    found: Sequence[Any] = [*raw.tool_calls, *raw.invalid_tool_calls]
    if isinstance(raw, AIMessageChunk) and raw.tool_call_chunks:
        found = raw.tool_call_chunks
    beside = {key: value for key, value in raw.additional_kwargs.items() if key != WRITTEN}
    require_size(
        chars_of([raw.additional_kwargs.get(WRITTEN, raw.content), beside, *(e["args"] for e in found)]),
        len(found),
    )
    calls: list[ToolCall] = []
    malformed, extras, values = {}, {}, 0
    for each in found:
        args, problem = _arguments(each["args"])
        values += values_in(json.dumps(args).encode())
        if values > MOST_VALUES:
            args, problem = {}, _TOO_MANY
        if problem is None and is_cut_short(raw):
            problem = "the reply was cut off by the length limit, so the arguments may be incomplete"
        call_id = each["id"]
        if not call_id or any(call["id"] == call_id for call in calls):
            call_id = _new_id()
        name = storable(_unrepeated(each["name"] or "", declared)) or "unknown"
        calls.append(tool_call(name=name, args=args, id=call_id))
        malformed[call_id], extras[call_id] = problem, each.get("extras")
    fields = raw.model_dump(
        exclude={"type", "tool_call_chunks", "chunk_position", "tool_calls", "invalid_tool_calls"}
    )
    fields["content"] = _agreeing(fields["content"], [str(call["id"]) for call in calls])
    message = AIMessage(**storable(fields), tool_calls=calls)
    hide(message)
    for key, by_call in ((MALFORMED, malformed), (CALL_FIELDS, storable(extras))):
        if told := {call_id: value for call_id, value in by_call.items() if value}:
            message.additional_kwargs[key] = told
    return message


def renumbered(message: AIMessage, taken: Collection[str]) -> AIMessage:
    """Return the message with new ids for calls whose ids are taken."""
    new = {call["id"]: _new_id() for call in message.tool_calls if call["id"] in taken}
    if not new:
        return message
    fields = ("tool_calls", "content", "additional_kwargs")  # where providers' clients keep things by call id
    return message.model_copy(update={name: _renamed(getattr(message, name), new) for name in fields})


def _renamed(value: Any, new: Mapping[Any, str]) -> Any:
    """Return JSON with the new ids, as keys and as `id`."""
    if isinstance(value, list):
        return [_renamed(inner, new) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        new.get(key, key): new.get(inner, inner)
        if key == "id" and isinstance(inner, str)
        else _renamed(inner, new)
        for key, inner in value.items()
    }


def addressed(messages: Sequence[BaseMessage], model: str) -> list[BaseMessage]:
    """Return the conversation as it goes to a model of the registry.

    What it sent goes back to it as it came, thoughts included. Of what another sent it is shown words and
    calls alone: the rest is for that one only, and others refuse it.
    """
    return [_addressed(each, model) if isinstance(each, AIMessage) else each for each in messages]


def _addressed(message: AIMessage, model: str) -> AIMessage:
    if message.additional_kwargs.get(MODEL, model) != model:
        return AIMessage(message.text, tool_calls=message.tool_calls, id=message.id)
    written = message.additional_kwargs.get(WRITTEN)
    return message if written is None else message.model_copy(update={"content": written})


def in_words(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the conversation with calls as text, for models without tools."""
    plain: list[BaseMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            plain.append(HumanMessage(f"Result of {message.name}: {message.text}"))
        elif isinstance(message, AIMessage) and message.tool_calls:
            made = [f"{c['name']}({json.dumps(c['args'], ensure_ascii=False)})" for c in message.tool_calls]
            plain.append(AIMessage(f"{message.text}\n(I called {'; '.join(made)}.)".strip()))
        else:
            plain.append(message)
    return plain


def reminded(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return a prompt, with a word that the reply was blank.

    It stands in the last message, whosever that is: some chat templates refuse one message more.
    """
    *before, last = messages
    said = last.content
    content = f"{said}\n\n{_BLANK}" if isinstance(said, str) else [*said, {"type": "text", "text": _BLANK}]
    return [*before, last.model_copy(update={"content": content})]


def _finish_of(message: AIMessage) -> str:
    """Return the provider's own finish reason, empty where it gave none."""
    meta = message.response_metadata
    return str(meta.get("finish_reason") or meta.get("stop_reason") or "")


def is_cut_short(message: AIMessage) -> bool:
    """Tell whether a model stopped for want of room, within its answer."""
    return _finish_of(message).lower() in _CUT_SHORT


def _arguments(found: Any) -> tuple[dict[str, Any], str | None]:
    """Return the arguments, or an empty dict and what was wrong."""
    if isinstance(found, dict):
        return ({}, _UNSTORABLE) if storable(found) != found else (found, None)
    if found is None or not found.strip():
        return {}, None
    try:
        value = _loaded(found)
        if isinstance(value, str):  # encoded twice: a known slip, and unambiguous
            value = _loaded(value)
    except _TooManyValuesError:
        return {}, _TOO_MANY
    except (ValueError, RecursionError) as error:
        return {}, f"not valid JSON ({error}): {found[:500]}"
    if value is None:
        return {}, None
    return _arguments(value) if isinstance(value, dict) else ({}, f"not a JSON object: {found[:500]}")


class _TooManyValuesError(ValueError):
    """A JSON text holds more values than arguments may."""


def _loaded(text: str) -> Any:
    if values_in(str(text).encode(errors="replace")) > MOST_VALUES:
        raise _TooManyValuesError
    return json.loads(text)


def is_object(arguments: Any) -> bool:
    """Tell whether arguments are one JSON object, not too large, or blank."""
    try:
        return isinstance(_loaded(arguments or "{}"), dict)
    except (TypeError, ValueError, RecursionError):
        return False


def invalid_call(name: str, call_id: str | None, arguments: Any) -> InvalidToolCall:
    """Return an invalid call, of which `answer` tells the model."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return invalid_tool_call(name=name, args=text, id=call_id, error=None)


def storable(value: Any) -> Any:
    """Return a JSON value that every checkpoint and wire takes.

    Text stands for an integer of more than 64 bits, and U+FFFD for half a character (a lone surrogate).
    """
    if isinstance(value, dict):
        return {storable(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [storable(inner) for inner in value]
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return str(value) if isinstance(value, int) and value not in _INTEGERS else value


def _unrepeated(name: str, declared: Collection[str]) -> str:
    """Undo servers that repeat the name in every delta: `lookuplookup` is `lookup`."""
    if name in declared:
        return name
    return next((d for d in declared if d and name and name == d * (len(name) // len(d))), name)


def _agreeing(content: Any, ids: Sequence[str]) -> Any:
    """Drop Anthropic's blocks of calls where their ids are others.

    Its client then makes them anew from the calls; else it would send both.
    """
    blocks = content if isinstance(content, list) else []
    used = [block for block in blocks if isinstance(block, dict) and block.get("type") == "tool_use"]
    if sorted(str(block.get("id")) for block in used) == sorted(ids):
        return content
    return (
        [b for b in blocks if not (isinstance(b, dict) and b.get("type") == "tool_use")] if used else content
    )


def _read_text_call(
    message: AIMessage, tools: Sequence[Mapping[str, Any]], known: Container[str]
) -> AIMessage:
    """Read the one call that a text may be; raises as `answer`."""
    text = message.text.strip()
    name, arguments = _text_call(text)
    schema = next((t["function"]["parameters"] for t in tools if t["function"]["name"] == name), None)
    if schema is not None and _fits_schema(arguments, schema):
        call = tool_call(name=name, args=arguments, id=_new_id())
        return message.model_copy(update={"content": "", "tool_calls": [call]})
    if schema is not None or name in known or _is_markup(text):
        raise UnusableReplyError("it wrote a call into its text, and not one that can be read")
    return message


def _is_markup(text: str) -> bool:
    """Tell whether a call is all of a reply, or its end.

    What stands between backticks is told, not called. In one pass, whatever the reply:
    it is looked for only after the last backtick, and not right behind it.
    """
    _, tick, end = text.rpartition("`")
    return bool(_CALL_MARKUP.match(text) or _CALL_MARKUP.search(end, len(tick)))


def _text_call(text: str) -> tuple[str, Any]:
    """Return a call's name and arguments; an empty name: it is none."""
    found = next((match for form in _TEXT_CALLS if (match := form.fullmatch(text))), None)
    if found is None:
        return "", None
    try:
        value: dict[str, Any] = _loaded(found["json"])
    except (ValueError, RecursionError):
        return "", None
    if "name" in found.groupdict():
        return found["name"], value
    keys = [key for key in _ARGUMENT_KEYS if key in value]
    if len(keys) != 1 or not value.keys() <= _CALL_KEYS:
        return "", None
    return str(value.get("name", "")), value[keys[0]]


def _fits_schema(arguments: Any, schema: Mapping[str, Any]) -> bool:
    known, needed = schema.get("properties", {}).keys(), set(schema.get("required", ()))
    is_known = isinstance(arguments, dict) and needed <= arguments.keys() <= known
    return is_known and bool(storable(arguments) == arguments)


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex}"
