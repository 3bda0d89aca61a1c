"""A store that finds memories by the vectors of their texts.

It is apart from storage.memories because its base class takes long to import: it is loaded only where an
embedding model is configured and somebody remembers or recalls.

A text is stored at once and gets its vector when somebody next searches, so that nothing is lost while the
embedding model is away, and what was stored without one, or by another model, is caught up with by itself.
The model is asked outside the queue for the database: whoever waits for it holds up nobody else.

Vectors are compared here, one by one, in the database's own thread (1,000 of 1,536 numbers in about 30 ms):
the store's own way needs an SQLite that loads extensions, and many a Python has none.
"""

import asyncio
from abc import abstractmethod
from array import array
from collections.abc import Sequence
from math import hypot
from operator import mul
from typing import Any, Protocol

import aiosqlite
from langgraph.store.base import BaseStore, SearchItem
from langgraph.store.sqlite.aio import AsyncSqliteStore

_TEXTS_AT_ONCE = 100
"""Texts of one request: as many as every provider takes."""
_MOST_CAUGHT_UP = 500
"""Texts that one search waits for."""

_TABLE = """
    CREATE TABLE IF NOT EXISTS vectors (
        prefix text NOT NULL, key text NOT NULL, model text NOT NULL, vector blob NOT NULL,
        PRIMARY KEY (prefix, key),
        FOREIGN KEY (prefix, key) REFERENCES store (prefix, key) ON DELETE CASCADE)
"""
_WITHOUT = """
    SELECT key, json_extract(value, '$.text') FROM store AS s
    WHERE prefix = ? AND json_type(value, '$.text') = 'text' AND NOT EXISTS (
        SELECT 1 FROM vectors AS m WHERE m.prefix = s.prefix AND m.key = s.key AND m.model = ?)
    ORDER BY updated_at DESC LIMIT ?
"""
_ADD_VECTOR = """
    INSERT OR REPLACE INTO vectors (prefix, key, model, vector)
    SELECT prefix, key, ?, ? FROM store WHERE prefix = ? AND key = ? AND json_extract(value, '$.text') = ?
"""
_NEAREST = """
    SELECT key, nearness(vector, ?) AS near FROM vectors WHERE prefix = ? AND model = ?
    ORDER BY near DESC LIMIT ? OFFSET ?
"""


class TextEmbedder(Protocol):
    """Turns texts into vectors."""

    @property
    def name(self) -> str:
        """Name of the model: vectors of one name are comparable."""

    async def of_query(self, text: str) -> list[float]:
        """Return the vector of what is looked for."""

    async def of_texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vector of each text that may be found."""


class MeaningSearch(BaseStore):
    """The search by meaning, in a store that keeps vectors."""

    _embedder: TextEmbedder

    async def asearch(
        self,
        namespace_prefix: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        limit: int = 10,
        offset: int = 0,
        **options: Any,
    ) -> list[SearchItem]:
        """Search by meaning where there is a query; raises clients' errors, too."""
        if not query:
            return await super().asearch(namespace_prefix, limit=limit, offset=offset, **options)
        wanted = await self._embedder.of_query(query)
        prefix, model = ".".join(namespace_prefix), f"{self._embedder.name}/{len(wanted)}"
        await self._catch_up(prefix, model)
        nearest = await self._nearest(_packed(wanted), prefix, model, limit, offset)
        found = await asyncio.gather(*(self.aget(namespace_prefix, key) for key in nearest))
        return [SearchItem(**item.dict(), score=nearest[item.key]) for item in found if item]

    async def _catch_up(self, prefix: str, model: str) -> None:
        """Embed each text that has no vector by this model, latest first."""
        without = await self._without(prefix, model, _MOST_CAUGHT_UP)
        for start in range(0, len(without), _TEXTS_AT_ONCE):
            some = without[start : start + _TEXTS_AT_ONCE]
            vectors = await self._embedder.of_texts([text for _, text in some])
            found = [
                (model, _packed(vector), prefix, key, text)
                for (key, text), vector in zip(some, vectors, strict=True)
            ]
            await self._add_vectors(found)

    @abstractmethod
    async def _without(self, prefix: str, model: str, limit: int) -> list[tuple[str, str]]:
        """Return keys and texts without a model's vector, latest first."""

    @abstractmethod
    async def _add_vectors(self, rows: Sequence[tuple[str, bytes, str, str, str]]) -> None:
        """Store vectors of texts that are still there.

        Each row is model, vector, prefix, key and text.
        """

    @abstractmethod
    async def _nearest(
        self, wanted: bytes, prefix: str, model: str, limit: int, offset: int
    ) -> dict[str, float]:
        """Return the nearest keys and their nearness, the nearest first."""


class VectorStore(MeaningSearch, AsyncSqliteStore):
    """A store of texts with their vectors, in SQLite."""

    def __init__(self, connection: aiosqlite.Connection, embedder: TextEmbedder) -> None:
        super().__init__(connection)
        self._embedder = embedder

    async def setup(self) -> None:
        """Make the tables."""
        await super().setup()
        await self.conn.execute(_TABLE)
        await self.conn.create_function("nearness", 2, nearness, deterministic=True)

    async def _without(self, prefix: str, model: str, limit: int) -> list[tuple[str, str]]:
        async with self._cursor(transaction=False) as cursor:
            await cursor.execute(_WITHOUT, (prefix, model, limit))
            return [(key, text) for key, text in await cursor.fetchall()]

    async def _add_vectors(self, rows: Sequence[tuple[str, bytes, str, str, str]]) -> None:
        async with self._cursor() as cursor:
            await cursor.executemany(_ADD_VECTOR, rows)

    async def _nearest(
        self, wanted: bytes, prefix: str, model: str, limit: int, offset: int
    ) -> dict[str, float]:
        async with self._cursor(transaction=False) as cursor:
            await cursor.execute(_NEAREST, (wanted, prefix, model, limit, offset))
            return {str(key): float(near) for key, near in await cursor.fetchall()}


def _packed(vector: Sequence[float]) -> bytes:
    """Return a vector of length 1, in bytes."""
    length = hypot(*vector) or 1.0
    return array("f", [number / length for number in vector]).tobytes()


def nearness(one: bytes, other: bytes) -> float:
    """Return the cosine between two vectors: 1 for the same direction."""
    first, second = array("f"), array("f")
    first.frombytes(one)
    second.frombytes(other)
    return float(sum(map(mul, first, second)))
