"""`POST /hooks/NAME`: other programs' deliveries, taken and answered at once."""

import asyncio
import logging

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from base.errors import StorageError
from base.settings import Settings
from channels.hooks import BadBodyError, admitted, enter, read_hooks
from graphs.session import Orchestrator

_MOST_BYTES = 1_000_000
_READ_S = 10.0
"""Seconds in which a body has to be here."""
_RETRY_AFTER = {"Retry-After": "60"}
_CLOSE = {"Connection": "close"}
"""What was not read is not waited for."""
_OUTCOME_WORDS = {
    "entered": "accepted",
    "known": "known already: it is not done again",
    "paused": "not done: this hook is paused",
}

_log = logging.getLogger(__name__)
router = APIRouter()


@router.post("/hooks/{name}", status_code=202)
async def hook(request: Request, name: str) -> Response:
    """Take a delivery; see docs/hooks.md."""
    orchestrator: Orchestrator = request.app.state.orchestrator
    try:
        body = await _body(request)
        settings, ledger = orchestrator.settings, orchestrator.ledger
        delivery = await asyncio.to_thread(admitted, settings, name, request.headers, body, ledger.now())
        if delivery is None:
            return _refusal(401, "No hook of that name takes what this request shows of its secret.")
        became = await enter(ledger, settings, delivery)
    except BadBodyError as error:
        return _refusal(error.status, str(error))
    except TimeoutError:
        return _refusal(408, f"The body was not here in {_READ_S:g} s.", **_CLOSE)
    except StorageError as error:
        _log.error("a delivery to hook %r was not taken: %s", name, error)
        return _refusal(503, "It cannot be written down now. Send it again.", **_RETRY_AFTER)
    if became == "limited":
        return _refusal(429, "Too many came within a minute, or wait to be done.", **_RETRY_AFTER)
    return JSONResponse({"status": _OUTCOME_WORDS[became]}, 202)


def tell_of_hooks(settings: Settings) -> None:
    """Log which hooks nobody can call, and why."""
    for problem in read_hooks(settings)[1]:
        _log.error("no hook %s", problem)


async def _body(request: Request) -> bytes:
    """Return the body; one too large is refused before it is read.

    Raises:
        BadBodyError: it is too large.
        TimeoutError: it does not come.
    """
    said = request.headers.get("content-length", "")
    body = bytearray()
    async with asyncio.timeout(_READ_S):
        if not said.isdigit() or int(said) <= _MOST_BYTES:
            async for part in request.stream():
                body += part
                if len(body) > _MOST_BYTES:
                    break
            else:
                return bytes(body)
    raise BadBodyError(413, f"A body may have {_MOST_BYTES:,} bytes.")


def _refusal(status: int, why: str, **headers: str) -> Response:
    more = _CLOSE if status == 413 else {}  # noqa: PLR2004
    return JSONResponse({"detail": why}, status, headers={**headers, **more})
