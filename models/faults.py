"""Why a model call failed, in one closed vocabulary, whichever provider's exception it was."""

import asyncio
from typing import Any

import httpx
from langchain_core import exceptions as core

from errors import Cause, ModelError

RETRIED: frozenset[Cause] = frozenset({"rate_limit", "overload", "timeout", "connection", "malformed"})
"""Causes that another try of the same request may cure."""

_BY_TYPE: tuple[tuple[type[BaseException], Cause], ...] = (
    (core.ContextOverflowError, "context_overflow"),
    (core.ModelAuthenticationError, "bad_key"),
    (core.ModelPermissionDeniedError, "bad_key"),
    (core.ModelRateLimitError, "rate_limit"),
    (core.ModelTimeoutError, "timeout"),
    (core.ModelConnectionError, "connection"),
    (core.ModelAPIError, "overload"),
    (core.ModelInvalidRequestError, "bad_request"),
    (core.ModelNotFoundError, "bad_request"),
    (TimeoutError, "timeout"),
    (asyncio.TimeoutError, "timeout"),
    (httpx.TimeoutException, "timeout"),
    (httpx.HTTPError, "connection"),
    (ConnectionError, "connection"),
    (OSError, "connection"),
)

_BY_STATUS: dict[int, Cause] = {
    400: "bad_request",
    401: "bad_key",
    402: "bad_key",
    403: "bad_key",
    404: "bad_request",
    408: "timeout",
    413: "context_overflow",
    422: "bad_request",
    429: "rate_limit",
}

_WORDS: dict[Cause, str] = {
    "rate_limit": "the provider's rate limit is reached",
    "overload": "the provider is overloaded or failed",
    "timeout": "it did not answer in time",
    "connection": "it cannot be reached",
    "refusal": "it refused the request",
    "bad_request": "it rejected the request",
    "bad_key": "it rejected the key",
    "context_overflow": "the conversation is too long for it",
    "malformed": "its answer could not be read",
    "missing_key": "its key or program is missing",
    "cancelled": "the call was cancelled",
}


def as_model_error(error: Exception, model: str) -> ModelError:
    """Return the error as a ModelError that names the model, the cause and the provider's own words."""
    if isinstance(error, ModelError):
        return error
    cause = cause_of(error)
    detail = " ".join(str(error).split())[:300] or type(error).__name__
    return ModelError(f"Model {model!r}: {_WORDS[cause]} ({detail}).", cause, _delay(error))


def cause_of(error: BaseException) -> Cause:
    """Return the typed cause of a provider's exception; what is not understood is `malformed`."""
    for kind, cause in _BY_TYPE:
        if isinstance(error, kind):
            return cause
    status = next((s for s in (getattr(error, "status_code", None), getattr(error, "code", None)) if s), None)
    if isinstance(status, int):
        return _BY_STATUS.get(status, "overload" if status >= 500 else "bad_request")  # noqa: PLR2004 (HTTP's classes)
    return "connection" if "connect" in type(error).__name__.lower() else "malformed"


def _delay(error: BaseException) -> float | None:
    """Return the seconds that the provider's Retry-After header asks for, None where it names none."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    headers: Any = getattr(response, "headers", None) or {}
    try:
        return max(0.0, float(headers.get("retry-after")))
    except (TypeError, ValueError):
        return None
