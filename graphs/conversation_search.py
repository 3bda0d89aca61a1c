"""The search of conversations: by title, and by what was said."""

import asyncio
import re
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from langgraph.graph.state import CompiledStateGraph

from base.errors import DamagedThreadError
from base.texts import FILLERS, terms_of
from base.worker_threads import in_thread
from graphs.damage import damage_named
from graphs.transcript import Row, TranscriptEntry, said_in
from ledger.ledger import Ledger
from ledger.threads import ThreadOrigin, origins_of
from tools.declaration import FoundConversations, Passage, PastConversation

_SEARCHED_AT_ONCE = 4
_LONGEST_SEARCH_S = 20.0
"""For which a search reads conversations, the latest first, that are not at hand."""
_MOST_SEARCHED_CHARS = 30_000_000
"""Of conversations whose words are at hand; the one searched longest ago goes first."""
_MOST_WORDS = 50
"""Of those sought, the longest: each is looked for in every text."""
_MOST_FOUND = 6
_MOST_PASSAGES = 3
_PASSAGE_CHARS = 400
_CHARS_BEFORE = 80
"""Characters before what is looked for, at the least, where a passage begins."""


class ConversationSearch:
    """Finds threads by their titles and by what was said on them."""

    def __init__(self, ledger: Ledger, graph: CompiledStateGraph[Any, Any, Any, Any]) -> None:
        self._ledger = ledger
        self._graph = graph
        self._words = _at_hand.setdefault(ledger, _Words())

    async def holding(self, rows: Iterable[Row], sought: str) -> list[Row]:
        """Return the threads that hold each word that is sought."""
        listed, words = list(rows), _normalised(sought).split()
        texts = await self._texts(listed)
        return [row for row in listed if all(word in texts[row["thread"]] for word in words)]

    async def passage(self, row: Row, sought: str) -> str:
        """Return what was said around words that are sought; empty: nothing."""
        said, words = await self._said(row["thread"]), _normalised(sought).split()
        best = max(said, key=lambda each: _shared(words, _normalised(each.text)), default=None)
        return _around(best, words).text if best else ""

    async def search(self, user: str, query: str, *, besides: str = "") -> FoundConversations:
        """Find a user's conversations that share words, one left out.

        Those with most words come first, then the latest; without a query all are found. Raises StorageError.
        """
        rows = await self._ledger.threads(user=user)
        rows = [row for row in reversed(rows) if row["thread"] != besides and row["status"] != "pruning"]
        words = terms_of(query, sought=True)
        words = frozenset(sorted(words - FILLERS or words, key=lambda word: (len(word), word))[-_MOST_WORDS:])
        shared = {row["thread"]: 1 for row in rows}
        if query.strip():
            texts = await self._texts(rows, time.monotonic() + _LONGEST_SEARCH_S)
            shared = await in_thread(lambda: {each: _shared(words, text) for each, text in texts.items()})
        holding = [row for row in rows if shared.get(row["thread"])]
        best = sorted(holding, key=lambda row: -shared[row["thread"]])[:_MOST_FOUND]
        read = await asyncio.gather(*(self._said(row["thread"]) for row in best))
        origins = await self._ledger.access.read(origins_of, user, [row["thread"] for row in best])
        told = await in_thread(lambda: [_passages(said, words) for said in read])
        found = [
            PastConversation(row["thread"], _title(origin, said), row["updated_at"], passages)
            for row, said, passages in zip(best, read, told, strict=True)
            if said and (origin := origins.get(row["thread"]))  # it may have been deleted meanwhile
        ]
        return FoundConversations(found, len(holding) - len(best), len(rows) - len(shared))

    async def _texts(self, rows: Sequence[Row], until: float = float("inf")) -> dict[str, str]:
        """Return titles with what was said, normalised, as the time lasts."""
        gate, found = asyncio.Semaphore(_SEARCHED_AT_ONCE), {}

        async def read(row: Row) -> None:
            async with gate:
                if time.monotonic() < until:
                    said = await self._text_of(row)
                    found[row["thread"]] = f"{_normalised(row['title'] or '')}\n{said}"

        await asyncio.gather(*map(read, rows))
        return found

    async def _text_of(self, row: Row) -> str:
        """Return what was said on a thread, normalised for a search."""
        key = (row["thread"], row["updated_at"])
        if (words := self._words.get(key)) is None:
            words = _normalised("\n".join(each.text for each in await self._said(row["thread"])))
            self._words.put(key, words)
        return words

    async def _said(self, thread: str) -> list[TranscriptEntry]:
        """Return what was said on a thread; empty where it is damaged."""
        try:
            with damage_named(thread):
                return said_in((await self._graph.aget_state({"configurable": {"thread_id": thread}})).values)
        except DamagedThreadError:
            return []


class _Words:
    """A cache of what was said on threads, up to a size."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_thread: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._chars = 0

    def get(self, key: tuple[str, float]) -> str | None:
        """Return a thread's words; None: they are not at hand."""
        thread, at = key
        with self._lock:
            if self._by_thread.get(thread, (None,))[0] != at:
                return None
            self._by_thread.move_to_end(thread)
            return self._by_thread[thread][1]

    def put(self, key: tuple[str, float], words: str) -> None:
        """Have a thread's words at hand."""
        thread, at = key
        with self._lock:
            self._chars += len(words) - len(self._by_thread.pop(thread, (0.0, ""))[1])
            self._by_thread[thread] = (at, words)
            while self._chars > _MOST_SEARCHED_CHARS and len(self._by_thread) > 1:
                _, (_, gone) = self._by_thread.popitem(last=False)
                self._chars -= len(gone)


_at_hand: WeakKeyDictionary[Ledger, _Words] = WeakKeyDictionary()
"""By the ledger that lists the threads: on a server, each run has a graph of its own."""


def _normalised(text: str) -> str:
    """Return a text in the form of `base.texts.terms_of`."""
    return unicodedata.normalize("NFKC", text).casefold()


def _title(origin: ThreadOrigin, said: Sequence[TranscriptEntry]) -> str:
    """Return a title that is the person's own words.

    Empty: it may be a file's name, or another's words.
    """
    own = [each.text.strip() for each in said if each.by_person and not each.untrusted]
    return origin.title if origin.is_named or any(each.startswith(origin.title) for each in own) else ""


def _shared(words: Collection[str], text: str) -> int:
    """Return how many words are found; by itself, one counts twice."""
    within = [word for word in words if word in text]
    return len(within) + sum(bool(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)) for word in within)


def _passages(said: Sequence[TranscriptEntry], words: Collection[str]) -> list[Passage]:
    """Return where most words stand; the beginning, if none do."""
    shares = [_shared(words, _normalised(each.text)) for each in said]
    best = sorted(range(len(said)), key=lambda place: -shares[place])[:_MOST_PASSAGES]
    shown = [place for place in sorted(best) if shares[place]] or best[:1]
    return [_around(said[place], words) for place in shown]


def _around(said: TranscriptEntry, words: Collection[str]) -> Passage:
    """Return a passage from shortly before the first word of those sought."""
    text, lowered = said.text, said.text.casefold()
    first = min((place for word in words if (place := lowered.find(word)) >= 0), default=0)
    begins = max(0, min(first - _CHARS_BEFORE, len(text) - _PASSAGE_CHARS))
    shown = text[begins : begins + _PASSAGE_CHARS]
    ends = "…" if begins + _PASSAGE_CHARS < len(text) else ""
    return Passage(said.by_person, f"{'…' if begins else ''}{shown}{ends}", said.untrusted)
