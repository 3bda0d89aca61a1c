"""How much of a prompt each server takes: what was too long is not sent again, and a silent cut is found out.

Some servers leave out what is too long and say nothing, as Ollama does past OLLAMA_CONTEXT_LENGTH. What gives
them away is the count of tokens that they report. It is held against the least that the text can take: a
token holds no more than one piece of it, in nearly every tokenizer, whatever the language.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from base.settings import ModelCard
from models.failures import UnusableReplyError
from models.providers import provider

_PIECE = "[0-9]+|[A-Za-z\u00c0-\u2fff\ua000-\uffff]+|[\u3000-\u9fff]{1,3}"
"""A number, a word, or three signs of a script that writes no spaces; it takes 2 ms to compile."""
_LEAST_PER_PIECE, _USUAL_PER_PIECE = 2 / 3, 1.0
"""Tokens: those that even a tokenizer takes that joins words, and those of all the others."""
_SLACK = 16
"""Tokens by which what a server puts around messages may change."""
_TELLING = 200
"""Pieces; of fewer, a count says nothing about the tokenizer."""
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
_REMEMBERED = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Prompt:
    """A prompt that a server read."""

    messages: Sequence[BaseMessage]
    pieces: Sequence[int]
    """Of each message."""
    tokens: int
    """As reported."""


@dataclass(slots=True)
class _Server:
    """What is known of a model's server."""

    room: int | None = None
    """Characters that its prompts may take; None: it never found one too long."""
    per_piece: float = _LEAST_PER_PIECE
    """The least tokens that a piece takes, as far as its own counts have shown."""
    counts_all: bool = False
    """Whether it was seen to count also what it has in its cache."""
    read: tuple[_Prompt, ...] = ()
    """The latest that it read whole, one for each conversation."""


class Windows:
    """What each model's server was seen to take, for as long as this process lives."""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}

    def room(self, model: str) -> int | None:
        """Return the characters that a prompt may take; None where nothing was ever too long."""
        return self._server(model).room

    def narrowed(self, model: str, chars: int) -> int:
        """Remember that a prompt of so many characters was too long, and return how many to try."""
        server = self._server(model)
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
        """Check that a server has read the whole prompt, by the tokens that it reports.

        Args:
            model: its name in the registry.
            card: its card.
            messages: the prompt.
            chars: about how many characters that takes, with the tools; 0: unknown.
            usage: what the server reports; None: nothing.

        Raises:
            UnusableReplyError: it has not (`context_overflow`).
        """
        tokens = (usage or {}).get("input_tokens") or 0
        if not provider(card.provider).is_protocol or card.base_url is None or not tokens:
            return
        cached = ((usage or {}).get("input_token_details") or {}).get("cache_read") or 0
        server = self._server(model)
        found = _compared(server, messages, tokens, cached)
        if tokens >= _LEAST_WINDOW and _is_cut(server, found, chars):
            server.room = min(tokens * _FEW_CHARS, server.room or tokens * _FEW_CHARS)
            raise UnusableReplyError(
                f"its server read {tokens:,} tokens of a longer prompt and left out the rest, as Ollama does "
                "past OLLAMA_CONTEXT_LENGTH",
                "context_overflow",
            )
        _learn(server, found)

    def _server(self, model: str) -> _Server:
        return self._servers.setdefault(model, _Server())


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A prompt beside the one before it that it has most in common with."""

    prompt: _Prompt
    cached: int
    """Tokens, as reported, which some count among the others and some apart; 0: none, or nothing is said."""
    before: _Prompt | None
    """The one that it wholly continues; None: it continues none."""
    shared: int
    """How many messages it has in common with one; the others are new."""

    @property
    def pieces(self) -> int:
        """Of the whole prompt."""
        return sum(self.prompt.pieces)

    @property
    def new_pieces(self) -> int:
        """Of its new part."""
        return sum(self.prompt.pieces[self.shared :])

    @property
    def most_new_tokens(self) -> int:
        """The most that its new part takes: one for each byte."""
        return sum(len(message.text.encode()) for message in self.prompt.messages[self.shared :]) + _SLACK


def _compared(server: _Server, messages: Sequence[BaseMessage], tokens: int, cached: int) -> _Comparison:
    shared = 0
    before: _Prompt | None = None
    known: Sequence[int] = ()
    for prompt in server.read:
        length = _in_common(prompt.messages, messages)
        if length > shared:
            shared, before = length, (prompt if length == len(prompt.messages) else None)
            known = prompt.pieces[:length]
    pieces = [*known, *(len(re.findall(_PIECE, message.text)) for message in messages[shared:])]
    return _Comparison(_Prompt(messages, pieces, tokens), cached, before, shared)


def _in_common(one: Sequence[BaseMessage], other: Sequence[BaseMessage]) -> int:
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a is not b and a != b), min(len(one), len(other)))


def _is_cut(server: _Server, found: _Comparison, chars: int) -> bool:
    """Tell whether a count is less than what the prompt takes, and not that of its new part alone."""
    tokens = found.prompt.tokens
    most = tokens + found.cached
    is_window = _is_a_window(server, found)
    if is_window and chars / _USUAL_CHARS > _CLEARLY_OVER * most:
        return True
    least_new = server.per_piece * found.new_pieces
    least = max(server.per_piece * found.pieces, found.before.tokens + least_new if found.before else 0)
    counts_all = server.counts_all or found.cached > 0 or is_window
    return most + _SLACK < least and (counts_all or not least_new <= most <= found.most_new_tokens)


def _is_a_window(server: _Server, found: _Comparison) -> bool:
    """Tell whether a count is a number that windows are, and hardly that of a new part by accident."""
    tokens, before = found.prompt.tokens, found.before
    if tokens in _WINDOWS:
        return True
    is_no_accident = server.counts_all or not found.shared or (before is not None and before.tokens == tokens)
    return is_no_accident and not (tokens % 1_000 and tokens % 1_024)


def _learn(server: _Server, found: _Comparison) -> None:
    """Remember a prompt that was read whole, and what its count tells of the server and its tokenizer."""
    if before := found.before:
        grown = found.prompt.tokens - before.tokens
        if found.new_pieces >= _TELLING and grown > 0:
            server.per_piece = max(server.per_piece, min(_USUAL_PER_PIECE, grown / found.new_pieces))
        server.counts_all = server.counts_all or (grown >= 0 and found.prompt.tokens > found.most_new_tokens)
    others = [prompt for prompt in server.read if prompt is not found.before]
    server.read = (*others[1 - _REMEMBERED :], found.prompt)
