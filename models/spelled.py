"""A call that a model wrote into its text, as small local models and gateways' templates make them do.

It is read as a call where nothing is in doubt: it is the whole reply, the tool is offered, and the arguments
are those that its schema knows. It is then judged as any call is. Other markup of calls is no answer either.
"""

import json
import re
import uuid
from collections.abc import Container, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, ToolCall
from langchain_core.messages.tool import tool_call

from models.failures import UnusableReplyError
from models.replies import storable

_FORMS = (
    re.compile(r"<tool_call>\s*(?P<json>\{.*\})\s*</tool_call>", re.DOTALL),
    re.compile(r"<function=(?P<name>[\w.-]+)>\s*(?P<json>\{.*\})\s*</function>", re.DOTALL),
    re.compile(r"```(?:json)?\s*(?P<json>\{.*\})\s*```", re.DOTALL),
    re.compile(r"(?P<json>\{.*\})", re.DOTALL),
)
"""What a whole reply may be; with the name in the tag, the JSON is the arguments alone."""
_ARGUMENTS = ("arguments", "parameters")
_KEYS = {"name", "id", "type", *_ARGUMENTS}

_OPENING = re.compile(r"<tool_call>\s*+(?=[{<]|\Z)|<function=[\w.-]++>|\[TOOL_CALLS\]\s*+(?=[\[{]|\Z)")

_Tools = Sequence[Mapping[str, Any]]


def read(message: AIMessage, tools: _Tools, known: Container[str] = ()) -> AIMessage:
    """Return a message without calls as it is, or with the one call that its text is.

    Args:
        message: what the model said.
        tools: those it was offered, in OpenAI's format.
        known: names of further tools that there are.

    Raises:
        UnusableReplyError: the text is markup of a call, and no call that can be read.
    """
    text = message.text.strip()
    name, arguments = _spelled(text)
    schema = next((t["function"]["parameters"] for t in tools if t["function"]["name"] == name), None)
    if schema is not None and _fits(arguments, schema):
        return message.model_copy(update={"content": "", "tool_calls": [_call(name, arguments)]})
    if schema is not None or name in known or _is_markup(text):
        raise UnusableReplyError("it wrote a call into its text, and not one that can be read")
    return message


def _is_markup(text: str) -> bool:
    """Tell whether a call is all of a reply, or its end; what stands between backticks is told, not called.

    In one pass, whatever the reply: it is looked for only after the last backtick, and not right behind it.
    """
    _, tick, end = text.rpartition("`")
    return bool(_OPENING.match(text) or _OPENING.search(end, len(tick)))


def _spelled(text: str) -> tuple[str, Any]:
    """Return name and arguments of the call that a text is; an empty name where it is none."""
    found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if found is None:
        return "", None
    try:
        value: dict[str, Any] = json.loads(found["json"])
    except (ValueError, RecursionError):
        return "", None
    if "name" in found.groupdict():
        return found["name"], value
    keys = [key for key in _ARGUMENTS if key in value]
    if len(keys) != 1 or not value.keys() <= _KEYS:
        return "", None
    return str(value.get("name", "")), value[keys[0]]


def _fits(arguments: Any, schema: Mapping[str, Any]) -> bool:
    known, needed = schema.get("properties", {}).keys(), set(schema.get("required", ()))
    return (
        isinstance(arguments, dict)
        and needed <= arguments.keys() <= known
        and storable(arguments) == arguments
    )


def _call(name: str, arguments: dict[str, Any]) -> ToolCall:
    return tool_call(name=name, args=arguments, id=f"call_{uuid.uuid4().hex}")
