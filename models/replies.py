"""Read a model's reply: whatever the wire said, calls that are whole, named and uniquely numbered."""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    ToolMessage,
)
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.messages.tool import invalid_tool_call, tool_call

MALFORMED = "malformed"
"""Key in `AIMessage.additional_kwargs`: call id to what was wrong with its arguments."""

_INTEGERS = range(-(2**63), 2**64)
_UNSTORABLE = (
    "they hold an integer of more than 64 bits, which is to be a text or a number with an exponent, "
    "or half a character (a lone surrogate)"
)

_BLANK = "(Your reply to this was blank. Reply again, and not with nothing.)"
CUT_SHORT = {"length", "max_tokens", "MAX_TOKENS", "model_length"}
_REFUSED = {"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "refusal", "content_filter"}


def join(chunks: Sequence[AIMessage]) -> AIMessage:
    """Return the whole message of a stream of one chunk or more; a model that does not stream gives one."""
    first, *others = chunks
    if not isinstance(first, AIMessageChunk):
        return first
    return add_ai_message_chunks(first, *(chunk for chunk in others if isinstance(chunk, AIMessageChunk)))


def read(raw: AIMessage, declared: Collection[str]) -> AIMessage:
    """Return the reply with its calls made safe to store and to send back.

    A call whose arguments are not one whole JSON object keeps its place with empty arguments and
    is marked under `MALFORMED`: it is answered, never run. A good message is returned as it is, for
    a provider's signatures hang on it.

    Args:
        raw: what the client library made of the wire.
        declared: names of the tools that the model was offered.
    """
    found = _raw_calls(raw)
    calls, malformed, used = [], {}, set()
    for name, arguments, call_id in found:
        args, problem = _arguments(arguments)
        if not call_id or call_id in used:
            call_id = f"call_{uuid.uuid4().hex}"  # noqa: PLW2901 (an id that cannot be used is replaced)
        used.add(call_id)
        if problem is None and _was_cut(raw):
            problem = "the reply was cut off by the length limit, so the arguments may be incomplete"
        if problem:
            malformed[call_id] = problem
        calls.append(
            tool_call(name=storable(_unrepeated(name, declared)) or "unknown", args=args, id=call_id)
        )
    return _rebuilt(raw, calls, malformed)


def renumbered(message: AIMessage, taken: Collection[str]) -> AIMessage:
    """Return the message with new ids for those of its calls whose ids are taken."""
    new = {call["id"]: f"call_{uuid.uuid4().hex}" for call in message.tool_calls if call["id"] in taken}
    if not new:
        return message
    kept = ("tool_calls", "content", "additional_kwargs")  # where providers' clients keep things by call id
    return message.model_copy(update={name: _renamed(getattr(message, name), new) for name in kept})


def _renamed(value: Any, new: Mapping[Any, str]) -> Any:
    """Return a JSON value with the new ids, as keys and as `id`."""
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


def in_words(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the conversation with its calls and results as text, for a model that knows no tools."""
    told: list[BaseMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            told.append(HumanMessage(f"Result of {message.name}: {message.text}"))
        elif isinstance(message, AIMessage) and message.tool_calls:
            made = "; ".join(
                f"{c['name']}({json.dumps(c['args'], ensure_ascii=False)})" for c in message.tool_calls
            )
            told.append(AIMessage(f"{message.text}\n(I called {made}.)".strip()))
        else:
            told.append(message)
    return told


def reminded(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return a prompt to which the reply was blank, with a word on that.

    It stands in the last message, whosever that is: some chat templates refuse one message more.
    """
    *before, last = messages
    if isinstance(last.content, str):
        content: Any = f"{last.content}\n\n{_BLANK}"
    else:
        content = [*last.content, {"type": "text", "text": _BLANK}]
    return [*before, last.model_copy(update={"content": content})]


def refusal_of(message: AIMessage) -> str | None:
    """Return the provider's word for why it withheld an answer, None where it did not."""
    meta = message.response_metadata
    blocked = (meta.get("prompt_feedback") or {}).get("block_reason")
    reason = meta.get("finish_reason") or meta.get("stop_reason")
    return str(blocked) if blocked else (str(reason) if reason in _REFUSED else None)


def finish_of(message: AIMessage) -> str:
    """Return the provider's finish reason in its own word, empty where it gave none."""
    meta = message.response_metadata
    return str(meta.get("finish_reason") or meta.get("stop_reason") or "")


def _raw_calls(raw: AIMessage) -> list[tuple[str, Any, str | None]]:
    if isinstance(raw, AIMessageChunk) and raw.tool_call_chunks:
        return [(call["name"] or "", call["args"], call["id"]) for call in raw.tool_call_chunks]
    whole: list[tuple[str, Any, str | None]] = [(c["name"], c["args"], c["id"]) for c in raw.tool_calls]
    broken = [(c["name"] or "", c["args"], c["id"]) for c in raw.invalid_tool_calls]
    return whole + broken


def _arguments(found: Any) -> tuple[dict[str, Any], str | None]:
    """Return the arguments as a dict, or an empty one and what was wrong."""
    if isinstance(found, dict):
        return ({}, _UNSTORABLE) if storable(found) != found else (found, None)
    if found is None or not found.strip():
        return {}, None
    try:
        value = json.loads(found)
        if isinstance(value, str):  # encoded twice: a known slip, and unambiguous
            value = json.loads(value)
    except ValueError as error:
        return {}, f"not valid JSON ({error}): {found[:500]}"
    if value is None:
        return {}, None
    return _arguments(value) if isinstance(value, dict) else ({}, f"not a JSON object: {found[:500]}")


def invalid_call(name: str, call_id: str | None, arguments: Any) -> InvalidToolCall:
    """Return a call whose arguments are no object as clients hand it on; `read` tells the model of it."""
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


def _was_cut(raw: AIMessage) -> bool:
    return finish_of(raw) in CUT_SHORT


def _unrepeated(name: str, declared: Collection[str]) -> str:
    """Undo servers that repeat the name in every delta: `lookuplookup` is `lookup`."""
    if name in declared:
        return name
    return next((d for d in declared if d and name and name == d * (len(name) // len(d))), name)


def _rebuilt(raw: AIMessage, calls: list[Any], malformed: dict[str, str]) -> AIMessage:
    same = not malformed and not raw.invalid_tool_calls and calls == raw.tool_calls
    fields = raw.model_dump(
        exclude={"type", "tool_call_chunks", "chunk_position", "tool_calls", "invalid_tool_calls"}
    )
    fields["content"] = _agreeing(fields["content"], [call["id"] for call in calls])
    message = AIMessage(**storable(fields), tool_calls=raw.tool_calls if same else calls)
    if malformed:
        message.additional_kwargs[MALFORMED] = malformed
    return message


def _agreeing(content: Any, ids: Sequence[str]) -> Any:
    """Return content without Anthropic's blocks of calls where their ids are no longer those of the calls.

    Its client then makes them anew from the calls; else it would send both.
    """
    blocks = content if isinstance(content, list) else []
    used = [block for block in blocks if isinstance(block, dict) and block.get("type") == "tool_use"]
    if sorted(str(block.get("id")) for block in used) == sorted(ids):
        return content
    return [block for block in blocks if block not in used] if used else content
