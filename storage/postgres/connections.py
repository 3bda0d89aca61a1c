"""Connections to Postgres for one event loop: of checkpoints and memories."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_dumps
from psycopg_pool import AsyncConnectionPool

from base.errors import StorageError
from base.texts import mended
from storage.postgres.lock_keys import key_of
from storage.postgres.postgres_database import (
    OUTAGE_S,
    conninfo,
    is_away,
    name_of,
    postgres_url,
    told,
)

P = ParamSpec("P")
T = TypeVar("T")

SAVER_CONNECTIONS = 4
"""Of a process, at most, to its checkpoints, and as many to its memories."""
_PAUSE_S = 0.25
_WAIT_S = 1.0
"""Seconds for a connection; short, since whoever waits asks again, and the pool tries less and less often."""
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""NUL in JSON, which Postgres takes in no text; nor does it halves of characters, or NaN."""


class Pool:
    """A few connections, and patience with a database that is away."""

    def __init__(self, database_url: str) -> None:
        url = postgres_url(database_url)
        self.name = name_of(url)
        self._options = {**conninfo(url), "autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        self.connections: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
            kwargs=self._options,
            min_size=0,
            max_size=SAVER_CONNECTIONS,
            timeout=_WAIT_S,
            reconnect_timeout=_WAIT_S,
            open=False,
            configure=_configure,
        )

    async def open(self) -> None:
        """Look that the database can be used.

        Raises:
            StorageError: it cannot.
        """
        try:
            await (await AsyncConnection.connect(**self._options)).close()
        except psycopg.Error as error:
            raise self.explained(error) from error
        await self.connections.open()

    async def patiently(self, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do work, again while the database is away.

        Raises:
            StorageError: it is away for longer than `OUTAGE_S`, or says no.
        """
        deadline = time.monotonic() + OUTAGE_S
        while True:
            try:
                return await work(*args, **kwargs)
            except psycopg.Error as error:
                if not is_away(error) or time.monotonic() > deadline:
                    raise self.explained(error) from error
            await asyncio.sleep(_PAUSE_S)

    async def set_up(self, table: str, versions: int, make: Callable[[], Awaitable[None]]) -> None:
        """Have tables brought up to date, by one process at a time.

        `table` has a row of each of its `versions`. Where all are there, no right to make tables is needed.
        """
        if await self._version(table) >= versions:
            return
        async with self.connections.connection() as holding:
            # Not waited for in the database: an index made beside other work waits for all statements.
            while not await _one(holding, f"SELECT pg_try_advisory_lock({key_of('setup')})"):  # noqa: ASYNC110 (another process's)
                await asyncio.sleep(_PAUSE_S)
            try:
                await make()
            except psycopg.Error as error:
                raise self.explained(error) from error
            finally:
                await holding.execute(f"SELECT pg_advisory_unlock({key_of('setup')})")

    def explained(self, error: psycopg.Error) -> StorageError:
        """Return an error as people are told it."""
        return told(self.name, error)

    async def _version(self, table: str) -> int:
        async with self.connections.connection() as connection:
            if await _one(connection, f"SELECT to_regclass('{table}')::text") is None:
                return 0
            return int(await _one(connection, f"SELECT count(*) FROM {table}"))  # noqa: S608 (our own names)


@asynccontextmanager
async def open_pool(database_url: str) -> AsyncIterator[Pool]:
    """Connect, for one event loop.

    Raises:
        StorageError: the database cannot be used.
    """
    pool = Pool(database_url)
    try:
        await pool.open()
        yield pool
    finally:
        await pool.connections.close()


async def _one(connection: AsyncConnection[DictRow], query: Any) -> Any:
    found = await (await connection.execute(query)).fetchone()
    return next(iter(found.values())) if found else None


async def _configure(connection: AsyncConnection[Any]) -> None:
    set_json_dumps(_dumps, connection)


def _dumps(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(json.loads(json.dumps(value), parse_constant=str), ensure_ascii=False)
    return _NUL.sub(r"\1\\ufffd", mended(text))
