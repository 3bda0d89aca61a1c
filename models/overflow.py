"""Notice prompts that a server cut in silence, and what it takes.

Ollama cuts past OLLAMA_CONTEXT_LENGTH. What gives a server away is the count of tokens that it reports: it is
a window's size and clearly less than the text, or less than its words can take, or has not grown with it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from base.settings import ModelCard
from models.failures import UnusableReplyError
from models.providers import provider

_LEAST_PER_WORD = 2 / 3
"""Tokens that even a tokenizer takes which joins words."""
_SLACK_TOKENS = 16
"""Tokens by which what a server puts around messages may change."""
_LEAST_WINDOW = 1_000
"""Tokens; a lower count is no window's, but that of what a server did not have in its cache."""
_WINDOWS = frozenset(2**power for power in range(11, 21))
"""Tokens; few windows are others, and those are round numbers too."""
_CLEARLY_OVER = 1.25
_USUAL_CHARS = 4
"""Of a token, in most text."""
_FEW_CHARS = 3
"""Of a token, in denser text."""
_LEAST_ROOM = 4_000
"""Characters; a server that takes fewer is of no use here."""
_REMEMBERED_CALLS = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Prompt:
    messages: Sequence[BaseMessage]
    tokens: int


@dataclass(slots=True)
class _Server:
    room: int | None = None
    """Characters that its prompts may take; None: it never found one too long."""
    counts_all: bool = False
    """Whether it was seen to count also what it has in its cache."""
    read: tuple[_Prompt, ...] = ()
    """The latest that it read whole, one for each conversation."""


class Windows:
    """What each model's server took, while this process lives."""

    def __init__(self) -> None:
        self._servers: defaultdict[str, _Server] = defaultdict(_Server)

    def room(self, model: str) -> int | None:
        """Return the characters a prompt may take; None: none was too long."""
        return self._servers[model].room

    def narrowed(self, model: str, chars: int) -> int:
        """Remember a length that was too long; return the characters to try."""
        server = self._servers[model]
        room = min(chars // 2, server.room or chars)
        server.room = max(_LEAST_ROOM, room)
        return room

    def require_whole(
        self,
        model: str,
        card: ModelCard,
        messages: Sequence[BaseMessage],
        chars: int,
        usage: Mapping[str, Any] | None,
    ) -> None:
        """Check that a server read the whole prompt, by its token count.

        `chars` is about how many characters it is to take, with the tools; 0: unknown. `usage` is what the
        server reports; None: nothing.

        Raises:
            UnusableReplyError: it has not (`context_overflow`).
        """
        tokens = (usage or {}).get("input_tokens") or 0
        if not provider(card.provider).is_protocol or card.base_url is None or not tokens:
            return
        cached = ((usage or {}).get("input_token_details") or {}).get("cache_read") or 0
        server, prompt = self._servers[model], _Prompt(list(messages), tokens)
        begun = [each for each in server.read if prompt.messages[: len(each.messages)] == each.messages]
        before = max(begun, key=lambda each: len(each.messages), default=None)
        # One token for each byte is the most that the new part takes.
        if before and tokens > sum(len(m.text.encode()) for m in _new(prompt, before)) + _SLACK_TOKENS:
            server.counts_all = True
        if tokens >= _LEAST_WINDOW and _is_cut(server, prompt, before, cached, chars):
            server.room = min(tokens * _FEW_CHARS, server.room or tokens * _FEW_CHARS)
            raise UnusableReplyError(
                f"its server read {tokens:,} tokens of a longer prompt and left out the rest, as Ollama does "
                "past OLLAMA_CONTEXT_LENGTH",
                "context_overflow",
            )
        others = [each for each in server.read if each is not before]
        server.read = (*others[1 - _REMEMBERED_CALLS :], prompt)


def _new(prompt: _Prompt, before: _Prompt | None) -> Sequence[BaseMessage]:
    return prompt.messages[len(before.messages) if before else 0 :]


def _is_cut(server: _Server, prompt: _Prompt, before: _Prompt | None, cached: int, chars: int) -> bool:
    """Tell whether a count is less than the prompt takes.

    It may be that of its new part alone: some servers count tokens in their cache among the others, some
    apart, and some not at all.
    """
    tokens, most = prompt.tokens, prompt.tokens + cached
    counts_all = server.counts_all or cached > 0 or not server.read
    is_window = tokens in _WINDOWS or (counts_all and not (tokens % 1_000 and tokens % 1_024))
    chars = max(chars, sum(len(message.text) for message in prompt.messages))
    if is_window and chars > _CLEARLY_OVER * _USUAL_CHARS * most:
        return True
    words = sum(len(message.text.split()) for message in _new(prompt, before))
    least = (before.tokens if before else 0) + _LEAST_PER_WORD * words
    return (counts_all or is_window) and most + _SLACK_TOKENS < least
