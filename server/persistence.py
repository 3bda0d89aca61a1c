"""The server's conversations and memories, in the terminal's files; langgraph.json names them."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from langgraph.store.base import BaseStore

from ledger.ledger import Ledger
from nodes.resources import open_steps, open_store, share, shared_resources
from server.thread_list import ThreadList, opened
from storage.checkpoints.durable import DurableSaver

_DEVELOPMENT_SERVER = "langgraph_runtime_inmem.database"
"""The module in which LangGraph's development server keeps its list of threads."""


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
            _delete_from_ledger(saver, res.ledger)
            if server := sys.modules.get(_DEVELOPMENT_SERVER):
                opened[:] = [ThreadList(res, saver, server.GLOBAL_STORE)]
                await opened[0].restore()
            yield saver
    finally:
        opened.clear()
        await res.close()


@asynccontextmanager
async def memories() -> AsyncIterator[BaseStore]:
    """Open what people asked to be remembered. Raises as `checkpoints`."""
    settings = (await shared_resources()).settings
    async with open_store(settings) as store:
        yield store


def _delete_from_ledger(saver: DurableSaver, ledger: Ledger) -> None:
    """Have the ledger forget threads that are deleted, but for their calls."""
    delete = saver.adelete_thread

    async def deleted(thread_id: str) -> None:
        if row := await ledger.thread(thread_id):
            await ledger.touch(thread_id, user=row["user"], status="pruning")
        await delete(thread_id)
        await ledger.forget_thread(thread_id, audit=False)

    saver.adelete_thread = deleted  # type: ignore[method-assign]
