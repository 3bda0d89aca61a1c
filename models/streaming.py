"""Have a model say its answer: through LangChain's callbacks where anybody listens, else without them."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import RunnableBinding
from langchain_core.runnables.config import ensure_config


async def streamed(model: Any, messages: list[BaseMessage], tags: Sequence[str]) -> Sequence[AIMessage]:
    """Return the chunks of a model's answer; one whole message from a model that does not stream.

    Args:
        model: a chat model, bare or with its tools bound.
        messages: the prompt.
        tags: for those who listen.
    """
    is_bound = isinstance(model, RunnableBinding)
    bare: Any = model.bound if is_bound else model
    if _is_heard(bare) or not _is_plain(bare, messages):
        return [chunk async for chunk in model.astream(messages, {"tags": list(tags)})]
    return await _unheard(bare, messages, model.kwargs if is_bound else {})


def _is_heard(model: BaseChatModel) -> bool:
    """Tell whether anybody follows the run: a stream of its messages, a tracer, a program's own callbacks."""
    listening = ensure_config({}).get("callbacks")
    if isinstance(listening, BaseCallbackManager):  # a graph's: whoever traces it was added when it began
        return bool(listening.handlers or model.callbacks or model.verbose)
    return bool(AsyncCallbackManager.configure(listening, model.callbacks, model.verbose).handlers)


def _is_plain(model: BaseChatModel, messages: Sequence[BaseMessage]) -> bool:
    """Tell whether all that LangChain would do around the stream is to tell those who listen."""
    streams = type(model)._astream is not BaseChatModel._astream and not model.disable_streaming  # noqa: SLF001
    as_it_comes = model.rate_limiter is None and model.output_version != "v1"
    return streams and as_it_comes and {type(message.content) for message in messages} == {str}


async def _unheard(
    model: BaseChatModel, messages: list[BaseMessage], options: Mapping[str, Any]
) -> Sequence[AIMessage]:
    """Return the chunks straight from the hook that each client implements.

    LangChain's own loop around it takes 90 µs to tell nobody, and with 400 messages 160.
    """
    chunks: list[AIMessageChunk] = []
    async for chunk in model._astream(messages, **options):  # noqa: SLF001 (the hook of a custom chat model)
        said: Any = chunk.message
        said.response_metadata = {**(chunk.generation_info or {}), **said.response_metadata}
        chunks.append(said)
    if chunks:
        # Of LangChain's form: any that the provider gave in a later chunk wins.
        chunks[0].id = chunks[0].id or f"lc_run--{uuid.uuid4()}"
        chunks[-1].chunk_position = "last"
    return chunks
