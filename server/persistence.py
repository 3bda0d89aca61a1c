"""The server's conversations and memories, in the terminal's files; langgraph.json names them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from langgraph.store.base import BaseStore

from nodes.resources import open_steps, open_store, share, shared_resources
from storage.checkpoints.durable import DurableSaver


@asynccontextmanager
async def checkpoints() -> AsyncIterator[DurableSaver]:
    """Open the conversations, written together with the ledger.

    Raises:
        ConfigurationError: the settings are not as expected.
        StorageError: the data directory cannot be used.
    """
    res = await shared_resources()
    try:
        async with open_steps(res) as saver:
            share(replace(res, checkpoints=saver))
            yield saver
    finally:
        await res.close()


@asynccontextmanager
async def memories() -> AsyncIterator[BaseStore]:
    """Open what people asked to be remembered. Raises as `checkpoints`."""
    settings = (await shared_resources()).settings
    async with open_store(settings) as store:
        yield store
