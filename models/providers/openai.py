"""OpenAI, and every service that speaks its chat completions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, InvalidToolCall
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from pydantic import SecretStr

from base.settings import ModelCard, Settings
from models.providers import EmbeddingCard, Provider, given
from models.providers.parameters import PLAIN, in_keywords
from models.replies import invalid_call, is_object

if TYPE_CHECKING:
    from langchain_core.outputs import ChatResult
    from langchain_openai import ChatOpenAI

ADDRESS = "https://api.openai.com/v1"
"""Named to the client, which would else take an address from the process's environment."""
_KEY = "OPENAI_API_KEY"
_KEYWORDS = PLAIN | {
    *(
        "minLength",
        "maxLength",
        "pattern",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "uniqueItems",
    ),
    *("minProperties", "maxProperties"),
}
"""Of JSON Schema, what servers that speak as OpenAI does take, too."""
_NO_KEY = "not-needed"
"""Sent to endpoints that take no key: the client refuses to start without one."""


def open_model(card: ModelCard, key: str | None) -> BaseChatModel:
    """Return a model of OpenAI, or of another at its `base_url`."""
    from openai import DefaultAsyncHttpxClient

    async def secret() -> str:
        return key or _NO_KEY

    base_url = card.base_url or ADDRESS
    if card.host == "openwebui":
        base_url = f"{base_url.rstrip('/')}/api"
    client = _client() if card.base_url is None else _plain(_client())
    return client(
        model=card.model,
        api_key=secret,  # a coroutine: no client for synchronous calls is made, with certificates of its own
        base_url=base_url,
        http_async_client=DefaultAsyncHttpxClient(timeout=card.timeout_s),  # else one for all event loops
        timeout=card.timeout_s,
        max_retries=0,
        use_responses_api=False,
        stream_usage=True,
        **given(temperature=card.temperature, max_completion_tokens=card.max_output_tokens),
    )


def _embed(card: EmbeddingCard, key: str | None) -> Embeddings:
    from langchain_openai import OpenAIEmbeddings
    from openai import DefaultAsyncHttpxClient

    return OpenAIEmbeddings(
        model=card.model,
        openai_api_key=SecretStr(key or _NO_KEY),
        openai_api_base=card.base_url or ADDRESS,
        dimensions=card.dims,
        http_async_client=DefaultAsyncHttpxClient(timeout=card.timeout_s),
        max_retries=0,
        check_embedding_ctx_length=False,  # it would fetch a tokenizer, and send tokens instead of text
    )


def _client() -> "type[ChatOpenAI]":
    """Return LangChain's client with four deviations.

    LangChain's refuses a whole answer for a call whose arguments are no object, and the model that made
    the call never learns of it: here that call comes as an invalid one, as it does of a stream. It sends
    no `content: null`, to which some versions of llama.cpp answer 500. It can be closed. And it does not
    read as JSON what has come of a call's arguments in a stream.
    """
    from langchain_openai import ChatOpenAI

    class OpenAIChat(ChatOpenAI):
        def _create_chat_result(
            self, response: Any, generation_info: dict[str, Any] | None = None
        ) -> "ChatResult":
            broken = [_without_broken(choice.message) for choice in getattr(response, "choices", None) or ()]
            result = super()._create_chat_result(response, generation_info)
            for generation, calls in zip(result.generations, broken, strict=True):
                if calls and isinstance(generation.message, AIMessage):
                    generation.message.invalid_tool_calls = calls
            return result

        def _get_request_payload(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            payload: dict[str, Any] = super()._get_request_payload(*args, **kwargs)
            said = [m if m.get("content") is not None else {**m, "content": ""} for m in payload["messages"]]
            return {**payload, "messages": said}

        def _convert_chunk_to_generation_chunk(self, chunk: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            pieces = _taken_pieces(chunk)
            said: Any = super()._convert_chunk_to_generation_chunk(chunk, *args, **kwargs)
            if said and pieces:
                said.message.tool_call_chunks = pieces
            return said

        async def aclose(self) -> None:
            await self.root_async_client.close()

    return OpenAIChat


def _plain(client: "type[ChatOpenAI]") -> "type[ChatOpenAI]":
    """Return a client that declares tools in keywords that all take."""

    class PlainChat(client):  # type: ignore[misc, valid-type]
        def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
            return super().bind_tools([_declared(each) for each in tools], **kwargs)

    return PlainChat


def _declared(tool: Any) -> Any:
    if not isinstance(tool, dict) or "function" not in tool:
        return tool
    function = tool["function"]
    parameters = in_keywords(function["parameters"], _KEYWORDS)
    return {**tool, "function": {**function, "parameters": parameters}}


def _taken_pieces(chunk: Mapping[str, Any]) -> list[ToolCallChunk]:
    """Take the pieces of calls from a chunk of a stream."""
    delta = next((choice.get("delta") for choice in chunk.get("choices") or ()), None) or {}
    return [
        tool_call_chunk(
            name=call["function"].get("name"),
            args=call["function"].get("arguments"),
            id=call.get("id"),
            index=call.get("index"),
        )
        for call in delta.pop("tool_calls", None) or ()
        if call.get("function")
    ]


def _without_broken(message: Any) -> list[InvalidToolCall]:
    """Take the calls whose arguments are no object from a message."""
    calls = [(call, is_object(call.function.arguments)) for call in message.tool_calls or ()]
    message.tool_calls = [call for call, is_whole in calls if is_whole] or None
    broken = [call for call, is_whole in calls if not is_whole]
    return [invalid_call(call.function.name, call.id, call.function.arguments) for call in broken]


def _price_id(card: ModelCard) -> str | None:
    if card.base_url is None:
        return "openai"
    return "openrouter" if "openrouter" in card.base_url else None


def _detect(settings: Settings) -> Mapping[str, ModelCard]:
    key, base_url = settings.secret(_KEY), settings.secret("OPENAI_BASE_URL")
    if not key and not base_url:
        return {}
    model = settings.secret("OPENAI_MODEL") or "gpt-5-mini"
    card = ModelCard(provider="openai", model=model, api_key_env=_KEY if key else None, base_url=base_url)
    return {"openai": card}


PROVIDER = Provider(
    open=open_model,
    embed=_embed,
    key_variables=(_KEY,),
    is_protocol=True,
    price_id=_price_id,
    plan_rank=20,
    write_rank=30,
    detect=_detect,
)
