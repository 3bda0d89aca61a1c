"""The providers' real clients, and bare requests, sent to the stand-in wires."""

from collections.abc import Callable, Sequence
from typing import Any

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, ToolMessage
from langchain_core.messages.ai import add_ai_message_chunks

from models.providers.google import over_httpx
from tests.wires.brain import Kind
from tests.wires.serve import Wire

KINDS: tuple[Kind, ...] = ("gemini", "openai", "anthropic")
PATHS = {
    "gemini": "/v1beta/models/m:generateContent",
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
}
GREETING: dict[Kind, dict[str, Any]] = {
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    "openai": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "anthropic": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
}

OpenWire = Callable[..., Wire]
"""The fixture `open_wire`."""


def get_time(timezone: str) -> str:
    """Tell the time."""
    return timezone


def delete_file(path: str) -> str:
    """Delete a file."""
    return path


def client_of(wire: Wire, key: str = "sk-test") -> BaseChatModel:
    """Open the provider's client, without retries."""
    match wire.kind:
        case "gemini":
            from langchain_google_genai import ChatGoogleGenerativeAI

            return over_httpx(
                ChatGoogleGenerativeAI(
                    model="gemini-3-flash-preview", api_key=key, base_url=wire.url, max_retries=1, timeout=10
                )
            )
        case "openai":
            from langchain_openai import ChatOpenAI

            return ChatOpenAI(
                model="gpt-test",
                api_key=key,
                base_url=wire.url,
                use_responses_api=False,
                stream_usage=True,
                max_retries=0,
            )
        case _:
            from langchain_anthropic import ChatAnthropic

            return ChatAnthropic(model="claude-sonnet-4-6", api_key=key, base_url=wire.url, max_retries=0)


async def ask(wire: Wire, messages: Sequence[AnyMessage], *, stream: bool, key: str = "sk-test") -> AIMessage:
    """Ask a model that may call get_time and delete_file."""
    model = client_of(wire, key).bind_tools([get_time, delete_file])
    if not stream:
        return await model.ainvoke(messages)
    chunks = [chunk async for chunk in model.astream(messages) if isinstance(chunk, AIMessageChunk)]
    return add_ai_message_chunks(*chunks)


def results_of(answer: AIMessage, *texts: str) -> list[ToolMessage]:
    """Answer each of a message's calls, in order."""
    calls = zip(answer.tool_calls, texts, strict=True)
    return [ToolMessage(text, tool_call_id=call["id"], name=call["name"]) for call, text in calls]


async def post(wire: Wire, path: str, body: dict[str, Any]) -> httpx.Response:
    """Post a body to a path under a wire's root."""
    async with httpx.AsyncClient(verify=False) as client:
        return await client.post(wire.root + path, json=body)
