"""Why a model call failed, in one closed vocabulary, whichever provider's exception it was."""

import asyncio
import re
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

BY_STATUS: dict[int, Cause] = {
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
"""HTTP status to cause; see RFC 9110 and 6585."""

_BY_NAME: dict[str, Cause] = {"TimeoutException": "timeout", "TransportError": "connection"}
"""Of any httpx: a provider's package may bring a copy under a name of its own."""

_FINER: dict[Cause, tuple[tuple[re.Pattern[str], Cause], ...]] = {
    "bad_request": (
        (re.compile("API_KEY_INVALID"), "bad_key"),  # Gemini's 400
        (
            re.compile(
                "context_length_exceeded|exceed_context_size|(maximum|available) context (length|size)"
                "|prompt is too long"
            ),
            "context_overflow",
        ),
    ),
    "malformed": (  # an error told in the body of a 200
        (re.compile("rate_limit_error|RESOURCE_EXHAUSTED"), "rate_limit"),
        (re.compile("overloaded_error|api_error|server_error|UNAVAILABLE|INTERNAL"), "overload"),
    ),
}
"""What a coarse cause is after all, by the provider's own words."""

_RETRY_INFO = re.compile(r"retryDelay\W+([\d.]+)s")
"""Gemini's seconds to wait, which it puts into the body."""

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
    coarse = _coarse_cause_of(error)
    told = " ".join(str(word) for word in (error, getattr(error, "code", ""), getattr(error, "type", "")))
    return next((finer for words, finer in _FINER.get(coarse, ()) if words.search(told)), coarse)


def _coarse_cause_of(error: BaseException) -> Cause:
    for kind, cause in _BY_TYPE:
        if isinstance(error, kind):
            return cause
    status = next((s for s in (getattr(error, "status_code", None), getattr(error, "code", None)) if s), None)
    if isinstance(status, int) and status >= 400:  # noqa: PLR2004 (HTTP's classes)
        return BY_STATUS.get(status, "overload" if status >= 500 else "bad_request")  # noqa: PLR2004 (as above)
    named = (_BY_NAME[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _BY_NAME)
    return next(named, "connection" if "connect" in type(error).__name__.lower() else "malformed")


def _delay(error: BaseException) -> float | None:
    """Return the seconds that the provider asks to wait, by header or body; None where it names none."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    headers: Any = getattr(response, "headers", None) or {}
    in_body = _RETRY_INFO.search(str(error))
    try:
        return max(0.0, float(headers.get("retry-after") or (in_body[1] if in_body else "")))
    except (TypeError, ValueError):
        return None
