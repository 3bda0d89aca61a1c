"""What the server offers beside LangGraph's own; langgraph.json names it.

Its middleware stands in front of every route, the engine's too.
"""

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware

from base.errors import TwobrainError
from base.run_context import RunFilter
from base.telemetry_export import begin_export, end_export, exports_metrics
from channels.service import channels_served
from graphs.session import shared_orchestrator
from ledger.counts import observe
from nodes.resources import shared_resources
from server.completions.endpoints import router as completions
from server.engine_check import check_engine
from server.hook_endpoint import router as hooks
from server.hook_endpoint import tell_of_hooks
from server.metrics import OurMetrics
from server.metrics import router as metrics
from server.origins import CORS, OriginCheck
from server.page.page import open_page
from server.page.sign_in import PageHeaders
from server.page.site import add_page
from server.thread_list import SavedFirst

_CHECK_S = 3.0
"""Seconds in which the storage has to answer."""
_FRESH_S = 1.0
_WATCHED_S = 30.0

_log = logging.getLogger(__name__)


class Readiness:
    """Whether turns can run, looked at once a second: anybody may ask."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._checked_at = -_FRESH_S
        self._problem: str | None = None

    async def problem(self) -> str | None:
        """Return what keeps turns from running, in a sentence; None: nothing."""
        async with self._lock:
            if time.monotonic() - self._checked_at >= _FRESH_S:
                self._problem = await _problem()
                self._checked_at = time.monotonic()
            return self._problem


_readiness = Readiness()


@asynccontextmanager
async def _observed(_app: FastAPI) -> AsyncIterator[None]:
    """Send spans where the environment says; name runs in the log.

    Raises:
        ConfigurationError: the engine would let everybody in.
    """
    check_engine()
    if problem := begin_export():
        _log.warning("%s", problem)
    for handler in logging.getLogger().handlers:
        handler.addFilter(RunFilter())
    watching = asyncio.create_task(_watch()) if exports_metrics() else None
    async with shared_orchestrator() as orchestrator:
        app.state.orchestrator = orchestrator
        await asyncio.to_thread(tell_of_hooks, orchestrator.settings)
        page = open_page(await shared_resources(), orchestrator)
        async with page as app.state.page, channels_served(orchestrator):
            yield
    if watching:
        watching.cancel()
    await asyncio.to_thread(end_export)


async def _watch() -> None:
    """Tell OpenTelemetry now and then how things stand."""
    while True:
        with suppress(TwobrainError):  # the ledger cannot be read now
            ledger = (await shared_resources()).ledger
            observe(await ledger.counts(), ledger.now())
        await asyncio.sleep(_WATCHED_S)


app = FastAPI(
    title="twobrain",
    lifespan=_observed,
    redoc_url=None,
    middleware=[
        Middleware(PageHeaders),
        Middleware(OriginCheck),
        CORS,
        Middleware(OurMetrics),
        Middleware(SavedFirst),
    ],
    # What it would tell of requests has threads and whole errors in it.
    telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
)
app.include_router(completions)
app.include_router(hooks)
app.include_router(metrics)
add_page(app)


@app.get("/ready")
async def ready() -> Response:
    """Tell whether turns can run: ledger, conversations and disk answer."""
    problem = await _readiness.problem()
    if problem is None:
        return JSONResponse({"ready": True})
    return JSONResponse({"ready": False, "detail": problem}, 503)


async def _problem() -> str | None:
    what = "The settings or the ledger cannot be opened"
    try:
        async with asyncio.timeout(_CHECK_S):
            res = await shared_resources()
            what = "The data directory cannot be written"
            if not res.settings.database_url:
                await asyncio.to_thread(_write, res.settings.data_dir)
            what = "The ledger does not answer"
            await res.ledger.thread("")
            await res.ledger.settled()
            what = "The conversations cannot be read"
            if res.checkpoints:
                await res.checkpoints.aget_tuple({"configurable": {"thread_id": "ready"}})
    except Exception as error:  # whatever a database throws; its words may name what is nobody's business
        _log.error("not ready: %s (%s: %s)", what, type(error).__name__, error)
        return f"{what}; the server's log says why."
    return None


def _write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"ready")
        file.flush()
        os.fsync(file.fileno())
