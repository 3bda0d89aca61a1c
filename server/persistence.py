"""The server's conversations and memories, in the terminal's files; langgraph.json names them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from langgraph.store.base import BaseStore

from base.data_dir import CHECKPOINTS, MEMORIES
from models.catalog import open_embedder
from nodes.resources import share, shared_resources
from storage.checkpoints.saver import Checkpoints, open_checkpoints
from storage.memories import open_memories


@asynccontextmanager
async def checkpoints() -> AsyncIterator[Checkpoints]:
    """Open the conversations, written together with the ledger.

    Raises:
        ConfigurationError: the settings are not as expected.
        StorageError: the data directory cannot be used.
    """
    res = await shared_resources()
    try:
        async with open_checkpoints(res.settings.data_dir / CHECKPOINTS, writer=res.ledger.writer) as saver:
            share(replace(res, checkpoints=saver))
            yield saver
    finally:
        await res.close()


@asynccontextmanager
async def memories() -> AsyncIterator[BaseStore]:
    """Open what people asked to be remembered. Raises as `checkpoints`."""
    settings = (await shared_resources()).settings
    async with open_memories(settings.data_dir / MEMORIES, open_embedder(settings)) as store:
        yield store
