"""OpenAI, and every service that speaks its chat completions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, InvalidToolCall
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from pydantic import SecretStr

from base.settings import ModelCard, Settings
from models.error_bodies import ToldError, restore_status, words_of
from models.providers import EmbeddingCard, Provider, given
from models.replies import invalid_call, is_object

if TYPE_CHECKING:
    from langchain_core.outputs import ChatResult
    from langchain_openai import ChatOpenAI

ADDRESS = "https://api.openai.com/v1"
"""Named to the client, which would else take an address from the process's environment."""
_KEY = "OPENAI_API_KEY"
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
    return _client()(
        model=card.model,
        api_key=secret,  # a coroutine: no client for synchronous calls is made, with certificates of its own
        base_url=base_url,
        http_async_client=DefaultAsyncHttpxClient(  # else one for all event loops
            timeout=card.timeout_s, event_hooks={"response": [restore_status]}
        ),
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
    """Return LangChain's client with five deviations.

    LangChain's refuses a whole answer for a call whose arguments are no object, and the model that made
    the call never learns of it: here that call comes as an invalid one, as it does of a stream. It sends
    no `content: null`, to which some versions of llama.cpp answer 500. It can be closed. And it does not
    read as JSON what has come of a call's arguments in a stream. And it hears refusals and errors in answers.
    """
    from langchain_openai import ChatOpenAI

    class OpenAIChat(ChatOpenAI):
        def _create_chat_result(
            self, response: Any, generation_info: dict[str, Any] | None = None
        ) -> "ChatResult":
            broken = [_without_broken(choice) for choice in getattr(response, "choices", None) or ()]
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
            pieces, refusal = _taken_pieces(chunk)
            said: Any = super()._convert_chunk_to_generation_chunk(chunk, *args, **kwargs)
            if said:
                said.message.tool_call_chunks = pieces or said.message.tool_call_chunks
                said.message.additional_kwargs |= {"refusal": refusal} if refusal else {}
            return said

        async def aclose(self) -> None:
            await self.root_async_client.close()

    return OpenAIChat


def _taken_pieces(chunk: Mapping[str, Any]) -> tuple[list[ToolCallChunk], str | None]:
    """Take the pieces of calls from a chunk; return its refusal's too.

    Raises:
        ToldError: it tells of an error.
    """
    choice = next(iter(chunk.get("choices") or ()), None)
    if told := choice.get("error") if choice else words_of(chunk):
        raise ToldError(told if choice else chunk)
    delta = (choice or {}).get("delta") or {}
    pieces = [
        tool_call_chunk(
            name=call["function"].get("name"),
            args=call["function"].get("arguments"),
            id=call.get("id"),
            index=call.get("index"),
        )
        for call in delta.pop("tool_calls", None) or ()
        if call.get("function")
    ]
    return pieces, delta.get("refusal")


def _without_broken(choice: Any) -> list[InvalidToolCall]:
    """Take the calls whose arguments are no object from a choice's message.

    Raises:
        ToldError: it tells of an error.
    """
    if error := (choice.model_extra or {}).get("error"):
        raise ToldError(error)
    message = choice.message
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
    takes=frozenset({"images", "audio", "files"}),
    detect=_detect,
)
