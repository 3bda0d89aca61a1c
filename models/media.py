"""Pictures, audio, video and files in messages, and which models take them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

_BLOCK_KINDS = {
    "image": "images",
    "image_url": "images",
    "input_image": "images",
    "audio": "audio",
    "input_audio": "audio",
    "video": "video",
    "video_url": "video",
    "file": "files",
    "input_file": "files",
    "document": "files",
}
"""Types of blocks, as LangChain, OpenAI and Anthropic name them, to what a model may not take."""
MEDIA = frozenset(_BLOCK_KINDS.values())
_KIND_WORDS = {"images": "an image", "audio": "audio", "video": "a video", "files": "a file"}
_MIME = ("mime_type", "media_type", "mimeType", "mediaType")
_INNER = ("source", "file", "audio", "input_audio")
_ADDRESSES = {"url", "image_url"}
_DATA = ("data", "file_data", "image", *_ADDRESSES)
"""Where makers put what is held: assistant-ui and Vercel's AI SDK in `image`, OpenAI in `file_data`."""
_HOLDING = {"source_type", "metadata", *_INNER, *_DATA, *_MIME}
_LONGEST_NAME = 100
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[^;,]*)*;base64,", re.IGNORECASE)


def media_in(messages: Iterable[BaseMessage]) -> frozenset[str]:
    """Return what the messages hold of images, audio, video and files."""
    return frozenset(kind for message in messages for block in _blocks(message) if (kind := _kind(block)))


def in_one_form(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the messages with every maker's blocks as LangChain's.

    Each client reads those, and of other makers' only some.
    """
    return [_with_blocks(message, map(_standard, _blocks(message))) for message in messages]


class Attached(NamedTuple):
    """A block of a message beside what the person says."""

    name: str
    """As its sender called it; empty: not at all."""
    size: int
    """Bytes; of text, characters."""
    text: str | None = None
    """What it says, where it is text."""


def attached(content: Any) -> Iterator[tuple[Mapping[str, Any], Attached]]:
    """Yield the blocks of a message's content that are not its text."""
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict) and block.get("type") != "text":
            yield block, _attached(block)


def _attached(block: Mapping[str, Any]) -> Attached:
    abouts = [each for each in (block.get("metadata"), block.get("file"), block) if isinstance(each, dict)]
    names = (each[key] for each in abouts for key in ("filename", "name", "title") if each.get(key))
    name, text = str(next(names, ""))[:_LONGEST_NAME], block.get("text")
    if block.get("type") == "text-plain" and isinstance(text, str):
        return Attached(name, len(text), text)
    held = [str(block.get("base64", "")), *(data for _, data in _held_in(block))]
    return Attached(name, max(map(len, held)) * 3 // 4)


def without(messages: Sequence[BaseMessage], kinds: Iterable[str]) -> list[BaseMessage]:
    """Return the messages with words in place of such blocks."""
    left_out = frozenset(kinds)

    def shown(block: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = _kind(block)
        told = f"[{_KIND_WORDS[kind]}, which you cannot be shown]" if kind in left_out else ""
        return {"type": "text", "text": told} if told else block

    return [_with_blocks(message, map(shown, _blocks(message))) for message in messages]


def _blocks(message: BaseMessage) -> Iterator[Mapping[str, Any]]:
    if isinstance(message.content, list):
        yield from (block for block in message.content if isinstance(block, dict))


def _with_blocks(message: BaseMessage, blocks: Iterator[Mapping[str, Any]]) -> BaseMessage:
    if not isinstance(message.content, list):
        return message
    content = [next(blocks) if isinstance(block, dict) else block for block in message.content]
    return message if content == message.content else message.model_copy(update={"content": content})


def _kind(block: Mapping[str, Any]) -> str:
    """Return what a block is, Google's `media` by its MIME type."""
    kind = str(block.get("type"))
    if kind == "media":
        kind = str(block.get("mime_type", "")).partition("/")[0]
        return _BLOCK_KINDS.get(kind, "files")
    return _BLOCK_KINDS.get(kind, "")


def _standard(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return other makers' and JavaScript's blocks, and plain text, in LangChain's form."""
    if block.get("type") == "text-plain" and isinstance(text := block.get("text"), str):
        return {"type": "text", "text": text}
    held = next(_held_in(block), None) if _kind(block) else None
    if held is None:
        return block
    mime, data = held
    others = {key: value for key, value in block.items() if key not in _HOLDING}
    kind = str(mime).partition("/")[0]
    if kind not in _BLOCK_KINDS and (kind := _kind(block).removesuffix("s")) == "file":  # OpenAI wants a name
        abouts = [each for each in (block.get("metadata"), block.get("file")) if isinstance(each, dict)]
        named = (str(each[key]) for each in abouts for key in ("filename", "name") if each.get(key))
        others = {"filename": next(named, "file"), **others}
    return {**others, "type": kind, "base64": data, "mime_type": mime}


def _held_in(block: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    """Yield MIME type and base64 of what a block holds."""
    for held in (*(each for name in _INNER if isinstance(each := block.get(name), dict)), block):
        for name in _DATA:
            if not isinstance(said := held.get(name), str):
                continue
            if address := _DATA_URL.match(said):
                yield address[1] or None, said[address.end() :]
            elif not re.match(r"[a-z][a-z0-9+.-]*:", said, re.IGNORECASE) and name not in _ADDRESSES:
                kind = f"audio/{held['format']}" if "format" in held else None
                yield next((each[key] for each in (held, block) for key in _MIME if key in each), kind), said
