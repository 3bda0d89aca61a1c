"""Thoughts that a model writes into its text, between tags."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from langchain_core.messages import AIMessage

WRITTEN = "written"
"""Key in `AIMessage.additional_kwargs`: the content as the model wrote it, where thoughts were in it."""

_TAGS = {
    "<think>": "</think>",  # DeepSeek R1, Qwen, GLM, MiniMax, and most that gateways merge
    "<thinking>": "</thinking>",  # Claude, where it was told to
    "<thought>": "</thought>",  # Gemini at its OpenAI-compatible address, EXAONE
    "<reasoning>": "</reasoning>",
    "<reason>": "</reason>",
    "<seed:think>": "</seed:think>",
    "[think]": "[/think]",  # Magistral
    "◁think▷": "◁/think▷",  # Kimi
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|start_thinking|>": "<|end_thinking|>",  # Command A
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",  # gpt-oss
    "<|channel>thought": "<channel|>",  # Gemma
    "<unused94>thought": "<unused95>",  # MedGemma
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    '<details type="reasoning"': "</details>",  # Open WebUI
}
"""In lower case; they are read in any."""
_ENDS = [end for end in _TAGS.values() if end != "</details>"]
"""Of these none stands in a text but behind thoughts."""
_FENCE = re.compile("`{3,}|~{3,}")
"""What begins and ends a block of code; it ends with at least as many as it began with."""
_FENCE_LINE = re.compile(rf"^[ \t]*(?:{_FENCE.pattern})", re.MULTILINE)
_LONGEST = max(map(len, [*_TAGS, *_ENDS]))
_FIRST = {"", "`", "~", *(tag[0] for tag in (*_TAGS, *_ENDS))}
_STEP_CHARS = 256
"""Characters that are looked at together: each line and tag costs a copy of them."""


def _any(tags: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tags)), re.IGNORECASE)


_BEGIN, _END = _any(_TAGS), _any(_ENDS)


class Words:
    """Takes a text as it comes, and gives it without thoughts.

    A thought begins with a line, and not in a block of code: what tells of tags is an answer. One that
    never ends is a thought to the end.
    """

    def __init__(self, *, begins_within: bool = False) -> None:
        """`begins_within`: the text may lack its first tag, which the prompt had."""
        self._end: re.Pattern[str] | None = _END if begins_within else None
        self._unsure: list[str] | None = [] if begins_within else None
        self._held = ""
        self._begins_line, self._is_first, self._trims = True, True, False
        self._fence = ""

    def take(self, piece: str) -> str:
        """Return the words that are certain once a piece more has come."""
        said: list[str] = []
        for at in range(0, len(piece), _STEP_CHARS):
            if self._unsure is not None:
                self._unsure.append(piece[at : at + _STEP_CHARS])
            self._held += piece[at : at + _STEP_CHARS]
            while self._held and self._decides(said):
                pass
        return "".join(said)

    def rest(self) -> str:
        """Return the last words, when the text has ended."""
        if self._unsure is not None:
            return without_thoughts("".join(self._unsure))
        if self._end:
            return ""
        return self._held.lstrip() if self._trims else self._held

    def _decides(self, said: list[str]) -> bool:
        """Decide on the beginning of what is held; False: it cannot."""
        if self._end:
            return self._passes_end(self._end)
        if self._begins_line:
            line = self._held.lstrip()
            if found := self._tag_at(line):
                said.append("" if self._is_first else self._held[: -len(line)])
                self._held, self._trims = line[found.end() :], True
                return True
            if _is_begun(line) and len(self._held) < _STEP_CHARS:
                return False
            self._held = line if self._trims else self._held
            self._notes_fence()
            if not line:
                said.append(self._held)
                self._held = ""
                return False
        words, newline, self._held = self._held.partition("\n")
        said.append(words + newline)
        self._begins_line, self._is_first, self._trims = bool(newline), False, False
        return True

    def _notes_fence(self) -> None:
        """Note whether a block of code begins or ends with this line."""
        if not (found := _FENCE.match(self._held.lstrip(" \t"))):
            return
        if not self._fence:
            self._fence = found[0]
        elif found[0].startswith(self._fence):
            self._fence = ""

    def _passes_end(self, end: re.Pattern[str]) -> bool:
        found = end.search(self._held)
        self._held = self._held[found.end() :] if found else self._held[-_LONGEST:]
        if found:
            self._end = self._unsure = None
            self._begins_line = self._trims = True
        return bool(found)

    def _tag_at(self, line: str) -> re.Match[str] | None:
        """Return the tag that begins a line, and note a thought."""
        if self._fence:
            return None
        if found := _BEGIN.match(line):
            self._end = _any([_TAGS[found[0].lower()]])
        return found or (_END.match(line) if self._is_first else None)


def _is_begun(line: str) -> bool:
    """Tell whether a line may become a tag or a fence."""
    if line[:1] not in _FIRST or "\n" in line:
        return False
    begun = line.lower()
    return not begun.strip(begun[:1] if begun[:1] in {"`", "~"} else None) or any(
        tag.startswith(begun) for tag in (*_TAGS, *_ENDS)
    )


def without_thoughts(text: str) -> str:
    """Return a whole text's words."""
    words = Words()
    said = words.take(text) + words.rest()
    end = _end_without_begin(said)
    return said[end:].lstrip() if end else said


def hide(message: AIMessage) -> None:
    """Take the thoughts from a message's text, and note what was written."""
    words = with_texts(message.content, without_thoughts)
    if words != message.content:
        message.additional_kwargs.setdefault(WRITTEN, message.content)
        message.content = words


def with_texts(content: Any, change: Callable[[str], str]) -> Any:
    """Return a message's content with each of its texts changed."""
    if isinstance(content, str):
        return change(content)
    return [
        {**block, "text": change(block["text"])}
        if isinstance(block, dict) and isinstance(block.get("text"), str)
        else block
        for block in content
    ]


def lacks_begin(text: str) -> bool:
    """Tell whether a text begins within thoughts, without their first tag."""
    return _end_without_begin(text) > 0


def _end_without_begin(text: str) -> int:
    """Return where thoughts end that nothing began; 0: nowhere.

    What stands in backticks or a block of code is told, and ends nothing.
    """
    begun = _BEGIN.search(text)
    ticks = at = fences = 0
    for end in _END.finditer(text, 0, begun.start() if begun else len(text)):
        _, newline, line = text[at : end.start()].rpartition("\n")
        ticks = line.count("`") + (0 if newline else ticks)
        fences += sum(1 for _ in _FENCE_LINE.finditer(text, at, end.start()))
        at = end.start()
        if ticks % 2 == 0 and fences % 2 == 0:
            return end.end()
    return 0
