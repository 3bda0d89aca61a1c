"""OpenAI, and every service that speaks its chat completions."""

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

import httpx
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, InvalidToolCall
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from pydantic import SecretStr

from base.settings import ModelCard, Settings
from models.error_bodies import ToldError, words_of
from models.providers import EmbeddingCard, Provider, given
from models.providers.parameters import PLAIN, in_keywords
from models.replies import CALL_FIELDS, FIELDS, MODEL, invalid_call, is_object
from models.reply_bodies import hooks
from models.reply_stream import counted_once
from models.responses import in_order
from models.thoughts import hide

if TYPE_CHECKING:
    from langchain_core.outputs import ChatGenerationChunk, ChatResult
    from langchain_openai import ChatOpenAI

ADDRESS = "https://api.openai.com/v1"
"""Named to the client, which would else take an address from the process's environment."""
_KEY = "OPENAI_API_KEY"
_MODEL, _ADDRESS = "OPENAI_MODEL", "OPENAI_BASE_URL"
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
_MESSAGE = {"role", "content", "name", "tool_calls", "function_call", "audio", "refusal", "parsed"}
_CALL, _FUNCTION = {"index", "id", "type", "function"}, {"name", "arguments"}
"""The fields that LangChain's client reads or makes; all others go back as they came."""
_TEXTS = ("id", "model", "object", "system_fingerprint")
"""Fields of a body that its client takes for texts."""
_NOTED = "noted"
"""Key in a chunk's additional_kwargs: its words, which tell of an error where the answer does not end."""
_REJECTED = {400, 422}
MOST_VALUES = 3_000
"""Of a body or an event; its arguments are texts. One that stands for a call takes the client 25 μs."""


def open_model(card: ModelCard, key: str | None) -> BaseChatModel:
    """Return a model of OpenAI, or of another at its `base_url`."""
    from openai import DefaultAsyncHttpxClient

    async def secret() -> str:
        return key or _NO_KEY

    # In each chunk it warns of content in a list, as Mistral's thinking models send it.
    warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning, "pydantic")
    base_url = card.base_url or ADDRESS
    if card.host == "openwebui":
        base_url = f"{base_url.rstrip('/')}/api"
    client = _client() if card.base_url is None else _plain(_client())
    return client(
        model=card.model,
        api_key=secret,  # a coroutine: no client for synchronous calls is made, with certificates of its own
        base_url=base_url,
        http_async_client=DefaultAsyncHttpxClient(  # else one for all event loops
            timeout=card.timeout_s, event_hooks=hooks(in_order(_shaped), MOST_VALUES)
        ),
        timeout=card.timeout_s,
        max_retries=0,
        use_responses_api=False,
        stream_usage=True,
        output_limit=card.output_limit_parameter or _output_limit(card.base_url),
        **given(temperature=card.temperature, max_completion_tokens=card.max_output_tokens),
    )


def _output_limit(base_url: str | None) -> str:
    """Return the name of max_output_tokens at an endpoint."""
    is_openai = base_url is None or httpx.URL(base_url).host.endswith((".openai.com", ".openai.azure.com"))
    return "max_completion_tokens" if is_openai else "max_tokens"


def _embed(card: EmbeddingCard, key: str | None) -> Embeddings:
    from langchain_openai import OpenAIEmbeddings
    from openai import DefaultAsyncHttpxClient

    return OpenAIEmbeddings(
        model=card.model,
        openai_api_key=SecretStr(key or _NO_KEY),
        openai_api_base=card.base_url or ADDRESS,
        dimensions=card.dims,
        http_async_client=DefaultAsyncHttpxClient(timeout=card.timeout_s, follow_redirects=False),
        max_retries=0,
        check_embedding_ctx_length=False,  # it would fetch a tokenizer, and send tokens instead of text
    )


@cache
def _client() -> "type[ChatOpenAI]":
    """Return LangChain's client with eight deviations.

    LangChain's refuses a whole answer for a call whose arguments are no object, and the model that made
    the call never learns of it: here that call comes as an invalid one, as it does of a stream. It sends
    no `content: null`, to which some versions of llama.cpp answer 500. It can be closed. And it does not
    read as JSON what has come of a call's arguments in a stream. What an endpoint puts beside a message or a
    call, such as its reasoning, goes back with it. Counts that a stream tells all along are not added up. A
    parameter that only OpenAI has goes to nobody else. And refusals and errors within an answer are heard.
    """
    from langchain_openai import ChatOpenAI

    class OpenAIChat(ChatOpenAI):
        output_limit: str
        """Name of the parameter."""

        def _create_chat_result(
            self, response: Any, generation_info: dict[str, Any] | None = None
        ) -> "ChatResult":
            choices = getattr(response, "choices", None) or ()
            told = [(each.message.model_dump(warnings=False), _without_broken(each)) for each in choices]
            result = super()._create_chat_result(response, generation_info)
            for generation, (sent, broken) in zip(result.generations, told, strict=True):
                _complete(generation.message, sent, broken)
            return result

        def _get_request_payload(self, input_: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
            payload: dict[str, Any] = super()._get_request_payload(input_, *args, **kwargs)
            messages = self._convert_input(input_).to_messages()
            payload["messages"] = list(map(_with_fields, payload["messages"], messages))
            return {self.output_limit if k == "max_completion_tokens" else k: v for k, v in payload.items()}

        def _astream(self, *args: Any, **kwargs: Any) -> Any:
            return _streamed(self, partial(super()._astream, *args, **kwargs))

        def _convert_chunk_to_generation_chunk(self, chunk: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            pieces, fields = _taken(chunk)
            said: Any = super()._convert_chunk_to_generation_chunk(chunk, *args, **kwargs)
            if said:
                said.message.tool_call_chunks = pieces
                said.message.additional_kwargs |= fields
            return said

        async def aclose(self) -> None:
            await self.root_async_client.close()

    return OpenAIChat


@cache
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


async def _streamed(
    chat: "ChatOpenAI", begin: Callable[[], AsyncIterator["ChatGenerationChunk"]]
) -> AsyncGenerator["ChatGenerationChunk", None]:
    """Yield a stream's chunks, without counts where asking for them is refused."""
    import openai

    try:
        async with aclosing(counted_once(_ended(begin()))) as chunks:
            async for chunk in chunks:
                yield chunk
    except openai.APIStatusError as error:
        is_refused = error.status_code in _REJECTED and "stream_options" in str(error)
        if not (is_refused and chat.stream_usage):
            raise
        chat.stream_usage = False  # Mistral's streams tell their counts unasked
        async with aclosing(counted_once(_ended(begin()))) as chunks:
            async for chunk in chunks:
                yield chunk


async def _ended(
    chunks: AsyncIterator["ChatGenerationChunk"],
) -> AsyncGenerator["ChatGenerationChunk", None]:
    """Yield a stream's chunks.

    Raises:
        ToldError: it tells of something, and does not end.
    """
    noted, is_ended = None, False
    async with aclosing(chunks):  # type: ignore[type-var]
        async for chunk in chunks:
            noted = chunk.message.additional_kwargs.pop(_NOTED, noted)
            is_ended |= bool((chunk.generation_info or {}).get("finish_reason"))
            yield chunk
    if noted and not is_ended:
        raise ToldError(noted)


def _complete(message: BaseMessage, sent: Mapping[str, Any], broken: list[InvalidToolCall]) -> None:
    """Give a message what came beside it, and take its thoughts."""
    if not isinstance(message, AIMessage):
        return
    message.invalid_tool_calls = broken or message.invalid_tool_calls
    if fields := _unknown(sent, _MESSAGE):
        message.additional_kwargs[FIELDS] = fields
    extras = {call["id"]: _extras(call) for call in sent.get("tool_calls") or ()}
    calls: list[Any] = [*message.tool_calls, *message.invalid_tool_calls]
    for call in calls:
        call["extras"] = extras.get(call["id"])
    hide(message)


def _unknown(found: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    """Return the fields that hold something, and that we do not know."""
    return {name: v for name, v in found.items() if name not in known and v not in (None, [], {})}


def _extras(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else a call holds, such as a signature."""
    function = _unknown(call.get("function") or {}, _FUNCTION)
    return {**_unknown(call, _CALL), **({"function": function} if function else {})}


def _with_fields(sent: dict[str, Any], message: BaseMessage) -> dict[str, Any]:
    """Return a message for the wire with all that came with it."""
    beside = message.additional_kwargs
    content = sent.get("content")
    if isinstance(message.content, list) and MODEL in beside:  # LangChain leaves out some blocks
        content = [
            {"type": "text", "text": each} if isinstance(each, str) else each for each in message.content
        ]
    told = {**sent, **beside.get(FIELDS, {}), "content": "" if content is None else content}
    if calls := sent.get("tool_calls"):
        extras = beside.get(CALL_FIELDS, {})
        told["tool_calls"] = [_merged(call, extras.get(call["id"], {})) for call in calls]
    return told


def _merged(call: dict[str, Any], extras: Mapping[str, Any]) -> dict[str, Any]:
    function = {**call["function"], **extras.get("function", {})}
    return {**call, **extras, "function": function}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, or the only one."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]


def _shaped(told: dict[str, Any]) -> dict[str, Any]:
    """Return a body or chunk with its choice as OpenAI's.

    Small servers leave out what they have no use for, and put texts where numbers are to be, or the
    other way round.
    """
    if "choices" not in told or told["choices"] is None:
        return told
    named = {key: each for key in _TEXTS if isinstance(each := told.get(key), str)}
    others = {key: each for key, each in told.items() if key not in {*_TEXTS, "created"}}
    first = [each for each in _listed(told["choices"]) if str(each.get("index") or 0) == "0"]
    return {**others, **named, "choices": [_shaped_choice(each) for each in first[:1]]}


def _shaped_choice(choice: dict[str, Any]) -> dict[str, Any]:
    shaped = {"index": 0, "finish_reason": None, **choice}
    shaped.pop("logprobs", None)
    for key in ("message", "delta"):
        if key in choice:
            shaped[key] = _shaped_message(_object(choice[key]))
    return shaped


def _shaped_message(said: dict[str, Any]) -> dict[str, Any]:
    content, calls = said.get("content"), _listed(said.get("tool_calls"))
    if isinstance(said.get("function_call"), dict):  # as it was before there were several
        calls.append({"index": 0, "function": said["function_call"]})
    if not isinstance(content, str | list | None):
        content = _object(content).get("text") or ("" if isinstance(content, dict) else str(content))
    others = {key: each for key, each in said.items() if key not in {"tool_calls", "function_call"}}
    shaped = [call for each in calls if (call := _shaped_call(each))["function"] or _extras(call)]
    made = {"tool_calls": shaped} if shaped else {}
    return {**others, "role": "assistant", "content": content, **made}


def _shaped_call(call: dict[str, Any]) -> dict[str, Any]:
    flat = {key: call[key] for key in _FUNCTION if key in call}
    told = _object(call.get("function")) or flat
    identity = call.get("id")
    return {
        **{key: each for key, each in call.items() if key not in _FUNCTION},
        "id": identity if isinstance(identity, str | None) else str(identity),
        "type": "function",
        "function": told,
    }


def _taken(chunk: dict[str, Any]) -> tuple[list[ToolCallChunk], dict[str, Any]]:
    """Take a chunk's pieces of calls, and what stands beside its words.

    Its counts are put where LangChain's client looks for them.

    Raises:
        ToldError: it tells of an error.
    """
    chunk |= {"choices": [], **_shaped({key: each for key, each in chunk.items() if each is not None})}
    choice: dict[str, Any] = next(iter(chunk["choices"]), {})
    if told := choice.get("error") or chunk.get("error"):
        raise ToldError(told)
    if "message" in choice:  # it answers whole
        choice["delta"] = choice["message"]
    elsewhere = choice.get("usage") or _object(chunk.get("x_groq")).get("usage")  # Kimi, Groq
    chunk["usage"] = chunk.get("usage") or elsewhere
    delta = choice.get("delta") or {}
    calls = delta.pop("tool_calls", None) or ()
    pieces = [_piece(call) for call in calls if call.get("function") or _extras(call)]
    fields = _unknown(delta, _MESSAGE)
    refused = {"refusal": refusal} if (refusal := delta.get("refusal")) else {}
    noted = {_NOTED: dict(chunk)} if not choice and words_of(chunk) else {}
    return pieces, {**refused, **noted, **({FIELDS: fields} if fields else {})}


def _piece(call: Mapping[str, Any]) -> ToolCallChunk:
    function = call.get("function") or {}
    piece: Any = tool_call_chunk(
        name=function.get("name"), args=function.get("arguments"), id=call.get("id"), index=call.get("index")
    )
    piece["extras"] = _extras(call)
    return cast("ToolCallChunk", piece)


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
    key, base_url = settings.secret(_KEY), settings.secret(_ADDRESS)
    if not key and not base_url:
        return {}
    model = settings.secret(_MODEL) or "gpt-5-mini"
    card = ModelCard(provider="openai", model=model, api_key_env=_KEY if key else None, base_url=base_url)
    return {"openai": card}


PROVIDER = Provider(
    open=open_model,
    embed=_embed,
    title="OpenAI, or an endpoint that speaks as it does: OpenRouter, Ollama, vLLM and others",
    key_page="https://platform.openai.com/api-keys",
    key_prefixes=("sk-",),
    address_variable=_ADDRESS,
    model_variable=_MODEL,
    key_variables=(_KEY,),
    is_protocol=True,
    price_id=_price_id,
    plan_rank=20,
    write_rank=30,
    takes=frozenset({"images", "audio", "files"}),
    detect=_detect,
)
