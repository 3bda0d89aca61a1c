"""Stream a reply through the private hook of LangChain's clients.

LangChain's own loop around that hook reads all of a call's arguments anew with every piece that is joined to
them, as do clients that join what they hear: 200 KB hold the event loop for ten seconds. Here pieces are text
until the last has come, and whoever listens hears words as they come and calls once they are whole.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, AsyncCallbackManagerForLLMRun, BaseCallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models._utils import _normalize_messages
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from langchain_core.runnables.config import ensure_config

from models.failures import UnusableReplyError
from models.replies import chars_of, in_thread_if_long, is_object, require_size
from models.thoughts import WRITTEN, Words, with_texts

_SHARE_S = 0.01
"""After which others have a turn on the event loop, though more pieces are there."""
_SAID_ONCE = {"type", "id", "index", "format", "channel", "phase", "status", "model", "provider"}
"""Keys of a block's pieces that are not joined."""
_IN_A_ROW = {"text", "thinking"}
"""Types of blocks that are one where they follow each other without an index or id."""


def streams(model: BaseChatModel) -> bool:
    """Tell whether a client has that hook."""
    return type(model)._astream is not BaseChatModel._astream  # noqa: SLF001


async def stream(  # noqa: PLR0913 (of a request all, and who listens to what)
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    options: Mapping[str, Any],
    tags: Sequence[str],
    words: Words,
    *,
    has_blocks: bool = False,
) -> AIMessageChunk:
    """Return the whole reply, its calls' arguments still text.

    Nobody hears the thoughts in its text; they stand under `WRITTEN`.

    Args:
        model: one that streams.
        messages: the prompt.
        options: of the request, its tools among them.
        tags: for those who listen.
        words: takes the thoughts out of the text.
        has_blocks: some message holds more than text.

    Raises:
        UnusableReplyError: it is larger than what is read, or no assistant's.
    """
    prompt = _normalize_messages(messages) if has_blocks else list(messages)
    run = await _listeners(model, prompt, options, tags)
    pieces = _Pieces(words)
    try:
        async with aclosing(model._astream(prompt, **options)) as chunks:  # type: ignore[type-var]  # noqa: SLF001
            share_ends = time.monotonic() + _SHARE_S
            async for chunk in chunks:
                pieces.add(chunk)
                if run and (heard := _words(chunk)):
                    await run.on_llm_new_token(heard.text, chunk=heard)
                if time.monotonic() > share_ends:
                    await asyncio.sleep(0)
                    share_ends = time.monotonic() + _SHARE_S
        reply = await in_thread_if_long(pieces.chars, pieces.joined)
        if run:
            last = await in_thread_if_long(pieces.chars, _last_heard, reply, pieces.rest)
            await run.on_llm_new_token(last.text, chunk=last)
            await run.on_llm_end(LLMResult(generations=[[ChatGeneration(message=reply)]]))
    except BaseException as error:
        if run:
            await run.on_llm_error(error, response=LLMResult(generations=[]))
        raise
    return reply


async def _listeners(
    model: BaseChatModel, messages: list[BaseMessage], options: Mapping[str, Any], tags: Sequence[str]
) -> AsyncCallbackManagerForLLMRun | None:
    """Tell who follows the run that it began; None: nobody does."""
    config = ensure_config({"tags": list(tags)})
    graphs = config["callbacks"]
    if isinstance(graphs, BaseCallbackManager) and not (graphs.handlers or model.callbacks):
        return None
    about = {**config["metadata"], **model._get_ls_params()}  # noqa: SLF001
    manager = AsyncCallbackManager.configure(
        config["callbacks"],
        model.callbacks,
        inheritable_tags=config["tags"],
        inheritable_metadata=about,
    )
    if not manager.handlers:
        return None
    asked: dict[str, Any] = {"invocation_params": dict(options), "name": model.get_name()}
    (run,) = await manager.on_chat_model_start({}, [messages], **asked)
    return run


def _words(chunk: ChatGenerationChunk) -> ChatGenerationChunk | None:
    """Return what is heard of a chunk at once; None: nothing."""
    said: Any = chunk.message
    said.tool_call_chunks, said.tool_calls, said.invalid_tool_calls = [], [], []
    said.additional_kwargs, chunk.text = {}, said.text
    return chunk if said.content or said.usage_metadata or said.response_metadata else None


def _last_heard(reply: AIMessageChunk, words: str) -> ChatGenerationChunk:
    """Return the last words and the calls, malformed ones without arguments."""
    calls = [
        tool_call_chunk(
            name=call["name"],
            args=call["args"] if is_object(call["args"]) else "",
            id=call["id"],
            index=call["index"],
        )
        for call in reply.tool_call_chunks
    ]
    last = AIMessageChunk(content=words, id=reply.id, tool_call_chunks=calls, chunk_position="last")
    return ChatGenerationChunk(message=last)


class _Pieces:
    """What has come of a reply, joined once."""

    def __init__(self, words: Words) -> None:
        self.chars = 0
        """Of texts, arguments and what stands beside them, so far."""
        self.rest = ""
        """The last words, once all is joined."""
        self._words = words
        self._id = f"lc_run--{uuid.uuid4()}"
        self._written: list[Any] = []
        self._contents: list[Any] = []
        self._calls: list[Any] = []
        self._kwargs: list[Any] = []
        self._metadata: dict[str, Any] = {}
        self._usage: UsageMetadata | None = None

    def add(self, chunk: ChatGenerationChunk) -> None:
        """Take a chunk and its thoughts, and give it id and metadata."""
        said = chunk.message
        if not isinstance(said, AIMessageChunk):
            raise UnusableReplyError(f"it answered with a {said.type} message")
        self._id = said.id = said.id or self._id
        said.response_metadata = {**(chunk.generation_info or {}), **said.response_metadata}
        self._metadata |= said.response_metadata
        self._usage = add_usage(self._usage, said.usage_metadata) if said.usage_metadata else self._usage
        self.chars += len(said.text) + sum(len(call["args"] or "") for call in said.tool_call_chunks)
        self.chars += chars_of(said.additional_kwargs)
        require_size(self.chars)
        self._written.append(said.content)
        said.content = with_texts(said.content, self._words.take)
        self._contents.append(said.content)
        self._kwargs.append(said.additional_kwargs)
        self._calls += said.tool_call_chunks

    def joined(self) -> AIMessageChunk:
        """Return the whole message."""
        if not self._contents:
            raise ValueError("no chunk came")
        self.rest = self._words.rest()
        message = AIMessageChunk(
            content=_content([*self._contents, self.rest]),
            additional_kwargs=_joined(self._kwargs),
            response_metadata=self._metadata,
            usage_metadata=self._usage,
            id=self._id,
        )
        written = _content(self._written)
        if written != message.content:
            message.additional_kwargs[WRITTEN] = written
        message.tool_call_chunks = _grouped(self._calls)  # set only now, they are not parsed
        return message


async def counted_once(
    chunks: AsyncIterator[ChatGenerationChunk],
) -> AsyncGenerator[ChatGenerationChunk, None]:
    """Yield a stream's chunks, of running totals the last alone."""
    usage: dict[str, Any] = {}
    async with aclosing(chunks):  # type: ignore[type-var]
        async for chunk in chunks:
            said: Any = chunk.message
            if said.usage_metadata:
                usage, said.usage_metadata = _later(usage, said.usage_metadata), None
            yield chunk
    if usage:
        usage["total_tokens"] = max(usage["total_tokens"], usage["input_tokens"] + usage["output_tokens"])
        last: Any = AIMessageChunk(content="", usage_metadata=usage)
        yield ChatGenerationChunk(message=last)


def _later(counts: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return the later counts; of what they leave out, the earlier ones."""
    told = {
        name: _later(counts.get(name, {}), count) if isinstance(count, dict) else count
        for name, count in later.items()
        if count or name not in counts
    }
    return {**counts, **told}


def _content(contents: Sequence[Any]) -> Any:
    if all(isinstance(content, str) for content in contents):
        return "".join(contents)
    lists = (([content] if content else []) if isinstance(content, str) else content for content in contents)
    return _grouped(block for blocks in lists for block in blocks)


def _grouped(pieces: Iterable[Any]) -> list[Any]:
    """Join the pieces of each block or call, and texts in rows."""
    groups: list[list[Any]] = []
    latest: dict[Any, list[Any]] = {}
    for piece in pieces:
        index, own = (None, None) if isinstance(piece, str) else (piece.get("index"), piece.get("id") or None)
        if index is not None and "args" in piece and not piece.get("name"):
            own = None  # it goes on, by whatever id
        group = None if index is None and not own else latest.get((index, own))
        if (
            group is None
            and own
            and index is not None
            and not _has_id(latest.get((index, None), [{"id": "another"}]))
        ):
            group = latest[index, None]  # the id of what has begun comes later
        if group is None or _begins(piece, group):
            group = groups[-1] if groups and _goes_on(piece, groups[-1]) else None
        if group is None:
            groups.append(group := [])
        latest[index, own] = latest[index, None] = group
        group.append(piece)
    return [_joined(group) for group in groups]


def _has_id(group: Sequence[Any]) -> bool:
    return any(piece.get("id") for piece in group)


def _begins(piece: Any, group: Sequence[Any]) -> bool:
    """Tell whether a piece begins something new, whatever its index or id."""
    if "args" in piece:
        return piece.get("index") is None and bool(piece.get("name"))
    kind = str(piece.get("type", ""))
    return kind != group[0].get("type", kind) and not kind.endswith("_delta")


def _goes_on(piece: Any, group: Sequence[Any]) -> bool:
    """Tell whether a piece without an index belongs to what came last."""
    first = group[0]
    if isinstance(piece, str) or isinstance(first, str):
        return isinstance(piece, str) and isinstance(first, str)
    if "args" in piece:
        return not (piece.get("name") or (piece.get("id") and _has_id(group)))
    marks = (piece.get("index"), piece.get("id"), first.get("index"), first.get("id"))
    return piece.get("type") in _IN_A_ROW and piece["type"] == first.get("type") and not any(marks)


def _joined(values: Sequence[Any], key: str = "") -> Any:
    """Join texts, lists, and objects by key; of others, take the last."""
    values = [value for value in values if value is not None and value != ""] or values[:1]
    if len(values) == 1 or key in _SAID_ONCE:
        return values[0]
    if all(isinstance(value, str) for value in values):
        return "".join(values)
    if all(isinstance(value, list) for value in values):
        inner = [each for value in values for each in value]
        return _grouped(inner) if all(isinstance(each, dict) for each in inner) else inner
    if not all(isinstance(value, dict) for value in values):
        return values[-1]
    if key == "extras":  # said whole, maybe again and again
        return {name: inner for value in values for name, inner in value.items()}
    by_key: dict[str, list[Any]] = {}
    for value in values:
        for name, inner in value.items():
            by_key.setdefault(name, []).append(inner)
    return {name: _joined(inner, name) for name, inner in by_key.items()}
