"""Clients that hand on the arguments of calls as the wire had them.

LangChain's own refuse a whole answer for a call whose arguments are no object, and the model that made the
call never learns of it. A stream hands its arguments on raw; here a whole answer does too: a call that does
not fit comes as an invalid one, for `models.replies` to read.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, InvalidToolCall
from langchain_core.messages.tool import invalid_tool_call

if TYPE_CHECKING:
    from anthropic import AsyncClient
    from langchain_anthropic import ChatAnthropic
    from langchain_core.outputs import ChatResult
    from langchain_openai import ChatOpenAI


def openai_client() -> "type[ChatOpenAI]":
    """Return LangChain's client for chat completions, made so."""
    from langchain_openai import ChatOpenAI

    class RawOpenAI(ChatOpenAI):
        """Sends no `content: null` either, to which some versions of llama.cpp answer 500."""

        def _create_chat_result(
            self, response: Any, generation_info: dict[str, Any] | None = None
        ) -> "ChatResult":
            broken = [_taken_out(choice.message) for choice in getattr(response, "choices", None) or ()]
            result = super()._create_chat_result(response, generation_info)
            for generation, calls in zip(result.generations, broken, strict=True):
                if calls and isinstance(generation.message, AIMessage):
                    generation.message.invalid_tool_calls = calls
            return result

        def _get_request_payload(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            payload: dict[str, Any] = super()._get_request_payload(*args, **kwargs)
            said = [m if m.get("content") is not None else {**m, "content": ""} for m in payload["messages"]]
            return {**payload, "messages": said}

        async def aclose(self) -> None:
            await self.root_async_client.close()

    return RawOpenAI


def anthropic_client() -> "type[ChatAnthropic]":
    """Return LangChain's client for Anthropic's messages, made so."""
    from anthropic import AsyncClient
    from langchain_anthropic import ChatAnthropic

    class RawAnthropic(ChatAnthropic):
        """With connections of its own: LangChain's are one set for all loops, and die with the first."""

        @cached_property
        def _async_client(self) -> "AsyncClient":
            return AsyncClient(**self._client_params)

        async def aclose(self) -> None:
            await self._async_client.close()

        def _format_output(self, data: Any, **kwargs: Any) -> "ChatResult":
            if error := getattr(data, "error", None):  # told in the body of a 200
                raise ValueError(error)
            blocks = [block for block in data.content or () if block.type == "tool_use"]
            inputs = [block.input for block in blocks]
            for block in blocks:
                block.input = block.input if isinstance(block.input, dict) else {}
            result = super()._format_output(data, **kwargs)
            _mark(result.generations[0].message, inputs)
            return result

    return RawAnthropic


def _taken_out(message: Any) -> list[InvalidToolCall]:
    """Take the calls that do not fit out of a chat completion's message, and return them."""
    calls = message.tool_calls or []
    message.tool_calls = [call for call in calls if _fits(call.function.arguments)] or None
    return [
        _invalid({"name": call.function.name, "id": call.id}, call.function.arguments)
        for call in calls
        if not _fits(call.function.arguments)
    ]


def _fits(arguments: Any) -> bool:
    try:
        return isinstance(json.loads(arguments or "{}"), dict)
    except (TypeError, ValueError):
        return False


def _mark(message: Any, inputs: list[Any]) -> None:
    """Turn those of a message's calls into invalid ones whose input is no object."""
    if all(isinstance(given, dict) for given in inputs):
        return
    pairs = list(zip(message.tool_calls, inputs, strict=True))
    message.tool_calls = [call for call, given in pairs if isinstance(given, dict)]
    message.invalid_tool_calls = [
        _invalid(call, given) for call, given in pairs if not isinstance(given, dict)
    ]


def _invalid(call: Mapping[str, Any], arguments: Any) -> InvalidToolCall:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return invalid_tool_call(name=call["name"], args=text, id=call["id"], error=None)
