"""Anthropic: Claude through Anthropic's own client."""

import json
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from pydantic import SecretStr

from base.settings import ModelCard, Settings
from models.providers import Provider, given
from models.replies import invalid_call
from models.reply_bodies import hooks
from models.reply_stream import counted_once
from models.responses import in_order
from models.thoughts import hide

if TYPE_CHECKING:
    from anthropic import AsyncClient
    from langchain_anthropic import ChatAnthropic
    from langchain_core.outputs import ChatResult

ADDRESS = "https://api.anthropic.com"
"""Named to the client, which would else take an address from the process's environment."""
_KEY = "ANTHROPIC_API_KEY"
_MODEL, _ADDRESS = "ANTHROPIC_MODEL", "ANTHROPIC_BASE_URL"


def _open(card: ModelCard, key: str | None) -> BaseChatModel:
    return _client()(
        model_name=card.model,
        api_key=SecretStr(key or ""),
        base_url=card.base_url or ADDRESS,
        timeout=card.timeout_s,
        max_retries=0,
        stop=None,
        **given(temperature=card.temperature, max_tokens_to_sample=card.max_output_tokens),
    )


@cache
def _client() -> "type[ChatAnthropic]":
    """Return LangChain's client with four deviations.

    Its connections are its own: LangChain's are one set for all event loops, and die with the first. And a
    call whose arguments are no object comes as an invalid one: LangChain's refuses the whole answer. And what
    has come of a call's arguments in a stream is not read as JSON. Of a stream's counts the last are taken:
    LangChain's adds up those that come more than once, and leaves out those that come first alone.
    """
    from anthropic import AsyncClient, DefaultAsyncHttpxClient
    from langchain_anthropic import ChatAnthropic

    class AnthropicChat(ChatAnthropic):
        @cached_property
        def _async_client(self) -> "AsyncClient":
            params = self._client_params
            event_hooks = hooks(in_order(_shaped, _events))
            http_client = DefaultAsyncHttpxClient(timeout=params["timeout"], event_hooks=event_hooks)
            # Its own spans would be beside ours, with whole errors, and words where a variable says so.
            silent: Any = {"traces": False, "propagation": False}
            return AsyncClient(**params, http_client=http_client, open_telemetry=silent)

        async def aclose(self) -> None:
            await self._async_client.close()

        def _format_output(self, data: Any, **kwargs: Any) -> "ChatResult":
            inputs = _taken_inputs(data)
            result = super()._format_output(data, **kwargs)
            message: Any = result.generations[0].message
            _mark_invalid(message, inputs)
            hide(message)
            return result

        def _astream(self, *args: Any, **kwargs: Any) -> Any:
            return counted_once(super()._astream(*args, **kwargs))

        def _make_message_chunk_from_anthropic_event(
            self, event: Any, *, block_start_event: Any = None, **kwargs: Any
        ) -> Any:
            if not _is_piece(event, block_start_event):
                made = super()._make_message_chunk_from_anthropic_event(
                    event, block_start_event=block_start_event, **kwargs
                )
                return _with_first_counts(event, made)
            said = AIMessageChunk(content="")
            said.tool_call_chunks = [tool_call_chunk(index=event.index, args=event.delta.partial_json)]
            return said, block_start_event

    return AnthropicChat


def _is_piece(event: Any, block_start_event: Any) -> bool:
    """Tell whether an event is a piece of a call's arguments."""
    if event.type != "content_block_delta" or event.delta.type != "input_json_delta":
        return False
    block = getattr(block_start_event, "content_block", None)
    return getattr(block, "type", None) == "tool_use"


def _shaped(told: dict[str, Any]) -> dict[str, Any]:
    """Return a whole answer with blocks, where a gateway has a text."""
    content = told.get("content")
    if isinstance(content, str):
        return {**told, "content": [{"type": "text", "text": content}]}
    return told


def _events(told: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the events that a whole answer would be streamed in."""
    if told.get("type") != "message":
        yield told
        return
    yield {"type": "message_start", "message": {**told, "content": [], "stop_reason": None}}
    for index, block in enumerate(told.get("content") or ()):
        first, deltas = _begun(block)
        yield {"type": "content_block_start", "index": index, "content_block": first}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {key: told.get(key) for key in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": ended, "usage": told.get("usage") or {}}
    yield {"type": "message_stop"}


def _begun(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a block as a stream begins it, and its deltas."""
    match block:
        case {"type": "text", "text": text}:
            return {**block, "text": ""}, [{"type": "text_delta", "text": text}]
        case {"type": "thinking", "thinking": thought}:
            signed = {"type": "signature_delta", "signature": block.get("signature", "")}
            return {**block, "thinking": "", "signature": ""}, [
                {"type": "thinking_delta", "thinking": thought},
                signed,
            ]
        case {"type": "tool_use", "input": given}:
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(given)}]
    return block, []


def _taken_inputs(data: Any) -> list[Any]:
    """Return the inputs of a message's calls, and empty those without objects."""
    blocks = [block for block in data.content or () if block.type == "tool_use"]
    inputs = [block.input for block in blocks]
    for block in blocks:
        block.input = block.input if isinstance(block.input, dict) else {}
    return inputs


def _with_first_counts(event: Any, made: Any) -> Any:
    """Give a stream's first chunk the prompt's tokens, which are told there."""
    usage = event.message.usage if event.type == "message_start" else None
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    counts = [getattr(usage, name, None) or 0 for name in names]
    if made[0] and (total := sum(counts)):
        details = InputTokenDetails(cache_read=counts[1])
        made[0].usage_metadata = UsageMetadata(
            input_tokens=total, output_tokens=0, total_tokens=total, input_token_details=details
        )
    return made


def _mark_invalid(message: Any, inputs: list[Any]) -> None:
    """Make calls whose input is no object invalid ones."""
    if all(isinstance(found, dict) for found in inputs):
        return
    pairs = list(zip(message.tool_calls, inputs, strict=True))
    message.tool_calls = [call for call, found in pairs if isinstance(found, dict)]
    message.invalid_tool_calls = [
        invalid_call(call["name"], call["id"], found) for call, found in pairs if not isinstance(found, dict)
    ]


def _detect(settings: Settings) -> Mapping[str, ModelCard]:
    if not settings.secret(_KEY):
        return {}
    model = settings.secret(_MODEL) or "claude-sonnet-4-6"
    base_url = settings.secret(_ADDRESS)
    return {"claude": ModelCard(provider="anthropic", model=model, base_url=base_url, context_window=200_000)}


PROVIDER = Provider(
    open=_open,
    title="Claude, which writes the answers",
    key_page="https://console.anthropic.com/settings/keys",
    key_prefixes=("sk-ant-",),
    address_variable=_ADDRESS,
    model_variable=_MODEL,
    key_variables=(_KEY,),
    price_id=lambda _: "anthropic",
    plan_rank=30,
    write_rank=10,
    takes=frozenset({"images", "files"}),
    detect=_detect,
)
