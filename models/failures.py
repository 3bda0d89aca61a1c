"""Why a model call failed, in one vocabulary for all providers."""

import re
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime

import httpx
from langchain_core import exceptions as core

from base.errors import Cause, ModelError

RETRIED: frozenset[Cause] = frozenset({"rate_limit", "overload", "timeout", "connection", "malformed"})
"""Causes that another try of the same request may cure."""

_BY_TYPE: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Cause], ...] = (
    (core.ContextOverflowError, "context_overflow"),
    ((core.ModelAuthenticationError, core.ModelPermissionDeniedError), "bad_key"),
    (core.ModelRateLimitError, "rate_limit"),
    (core.ModelTimeoutError, "timeout"),
    (core.ModelConnectionError, "connection"),
    (core.ModelAPIError, "overload"),
    ((core.ModelInvalidRequestError, core.ModelNotFoundError), "bad_request"),
    ((TimeoutError, httpx.TimeoutException), "timeout"),
    ((httpx.HTTPError, OSError), "connection"),
)

_BY_STATUS: dict[int, Cause] = {
    401: "bad_key",
    402: "bad_key",
    403: "bad_key",
    408: "timeout",
    413: "context_overflow",
    429: "rate_limit",
}
"""HTTP status to cause, others by their class; see RFC 9110 and 6585."""

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

_WORDS: dict[Cause, tuple[str, str]] = {
    "rate_limit": ("the provider's rate limit is reached", "Try again later."),
    "overload": ("the provider is overloaded or failed", "Try again later."),
    "timeout": ("it did not answer in time", "Try again, or give it a larger timeout_s."),
    "connection": (
        "it cannot be reached, or broke off",
        "Check the network; where that works, the provider is down: try again later.",
    ),
    "refusal": ("it refused the request", "Put the request in other words."),
    "bad_request": ("it rejected the request", "Check its model."),
    "bad_key": ("it rejected the key", "Check the key, and what its account may use."),
    "context_overflow": (
        "the conversation is too long for it",
        "Begin a new one, or set context_window to what it really takes.",
    ),
    "malformed": ("its answer could not be read", "Try again; where it stays so, use another model."),
    "missing_key": ("its key or program is missing", "Set it, or use another model."),
    "cancelled": ("the call was cancelled", "Try again."),
}
"""What happened, and what to do."""
_WHERE_SERVED: dict[Cause, str] = {
    "connection": "Check its base_url, and that its server runs.",
    "bad_request": "Check its model and its base_url.",
}
"""What to do instead where the card says at which address the model is."""

_OURS_TO_TELL: frozenset[Cause] = frozenset({"malformed", "timeout", "connection"})
"""Causes of which only a client library has words, and of its own workings."""
_SAID = re.compile(r"""["']message["']: *(?:"((?:[^"\\]|\\.)+)"|'((?:[^'\\]|\\.)+)')""")
"""A provider's own words within the body of its error."""
_PREAMBLE = re.compile(r"^Error code: \d+ - ")
_MOST_SAID = 300
"""Characters of a provider's own words."""


class UnusableReplyError(Exception):
    """A reply is no answer; the text tells a person why."""

    def __init__(self, what: str, cause: Cause = "malformed") -> None:
        super().__init__(what)
        self.cause = cause


class BlankReplyError(UnusableReplyError):
    """A reply came that ended well and holds nothing."""


def as_model_error(error: Exception, model: str, base_url: str | None = None) -> ModelError:
    """Return the error as a ModelError that says what to do.

    `model` is its name in the registry, `base_url` its card's; None: the provider's own address.
    """
    if isinstance(error, ModelError):
        return error
    if isinstance(error, UnusableReplyError):
        return ModelError(f"Model {model!r}: {error}. {_WORDS[error.cause][1]}", error.cause)
    cause = cause_of(error)
    what, to_do = _WORDS[cause]
    to_do = _WHERE_SERVED.get(cause, to_do) if base_url else to_do
    said = _said(error, cause)
    told = f"{what} ({said})" if said else what
    return ModelError(f"Model {model!r}: {told}. {to_do}", cause, _delay(error))


def _said(error: Exception, cause: Cause) -> str:
    """Return the provider's words without JSON or page, empty where none."""
    text = " ".join(str(error).split())
    if found := _SAID.search(text):
        return (found[1] or found[2]).rstrip(".")[:_MOST_SAID]
    if cause in _OURS_TO_TELL:
        return ""
    return re.split(r"[{<]", _PREAMBLE.sub("", text))[0].strip().rstrip(".")[:_MOST_SAID]


def cause_of(error: BaseException) -> Cause:
    """Return the cause of a provider's exception, `malformed` where unknown."""
    coarse = _coarse_cause_of(error)
    told = " ".join(str(word) for word in (error, getattr(error, "code", ""), getattr(error, "type", "")))
    return next((finer for words, finer in _FINER.get(coarse, ()) if words.search(told)), coarse)


def cause_of_status(status: int) -> Cause:
    """Return the cause that an HTTP status of 400 or more tells."""
    return _BY_STATUS.get(status, "overload" if status >= 500 else "bad_request")  # noqa: PLR2004 (HTTP's classes)


def _coarse_cause_of(error: BaseException) -> Cause:
    for kind, cause in _BY_TYPE:
        if isinstance(error, kind):
            return cause
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    if isinstance(status, int) and status >= 400:  # noqa: PLR2004 (HTTP's classes)
        return cause_of_status(status)
    named = (_BY_NAME[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _BY_NAME)
    return next(named, "connection" if "connect" in type(error).__name__.lower() else "malformed")


def _delay(error: BaseException) -> float | None:
    """Return the provider's seconds to wait; None where it names none."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    header = (getattr(response, "headers", None) or {}).get("retry-after", "")
    in_body = _RETRY_INFO.search(str(error))
    with suppress(ValueError):
        return max(0.0, float(header or (in_body[1] if in_body else "")))
    with suppress(ValueError):  # an HTTP date (RFC 9110, 10.2.3)
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    return None
