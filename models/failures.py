"""Why a model call failed, in one vocabulary for all providers."""

import re
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import cast

import httpx
from langchain_core import exceptions as core

from base.errors import Cause, ModelError
from models.error_bodies import body_of, bounded, causes_of, codes_in, is_page, status_in, words_of

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
    402: "no_credit",
    403: "bad_key",
    408: "timeout",
    413: "context_overflow",
    429: "rate_limit",
}
"""HTTP status to cause, others by their class; see RFC 9110 and 6585."""

_BY_NAME: dict[str, Cause] = {"TimeoutException": "timeout", "TransportError": "connection"}
"""Of any httpx: a provider's package may bring a copy under a name of its own."""

_CORRECTED: frozenset[Cause] = frozenset({"bad_request", "bad_key", "rate_limit", "overload", "malformed"})
"""Causes that a provider's own words and codes may correct."""
_ODD: frozenset[Cause] = frozenset({"bad_request", "malformed"})
_FINER: tuple[tuple[frozenset[Cause], re.Pattern[str], Cause], ...] = (
    (
        _CORRECTED,
        re.compile(
            "insufficient_quota|exceeded_current_quota_error|billing_error|billing_hard_limit"
            "|[Ii]nsufficient (credits|balance|funds)|balance is too low|requires more credits"
        ),
        "no_credit",
    ),
    (
        _CORRECTED,
        re.compile(
            "content_filter|content_policy|ContentPolicyViolation|ResponsibleAIPolicyViolation|moderation"
            "|[Dd]ata_?[Ii]nspection_?[Ff]ailed|MODEL_ARMOR|PROHIBITED_CONTENT|flagged (as|by|for)"
            "|Content Exists Risk|considered high risk|new_sensitive|SensitiveContent|敏感"
            "|guardrail|[Tt]oxic message"
        ),
        "refusal",
    ),
    (
        _CORRECTED - {"bad_key", "rate_limit"},
        re.compile(
            "context_length_exceeded|exceed_context_size|ContextWindowExceeded|[Cc]ontext (length|size)"
            "|[Cc]ontext window|[Mm]aximum prompt length|prompt is too long"
            "|[Ii]nput (is too long|token count .* exceeds)"
        ),
        "context_overflow",
    ),
    (
        frozenset({"bad_request", "overload"}),
        re.compile(
            "tool_use_failed|output_parse_failed|[Ff]ailed to call a function|tool call validation failed"
            "|([Ff]ailed to parse|error parsing|[Cc]ould not parse) (the )?(tool|function|input|model)"
        ),
        "malformed",
    ),
    (
        _ODD,
        re.compile("API_KEY_INVALID|API key not valid|invalid_api_key|authentication_error|UNAUTHENTICATED"),
        "bad_key",
    ),
    (_ODD, re.compile("rate_limit|rate.limited|RESOURCE_EXHAUSTED|[Tt]oo many requests"), "rate_limit"),
    (
        frozenset({"malformed"}),
        re.compile("overloaded|api_error|server_error|UNAVAILABLE|INTERNAL"),
        "overload",
    ),
)
"""What a coarse cause is after all, by the provider's own words; the first that fits counts."""

_RETRY_INFO = re.compile(r"retryDelay\W+([\d.]+)s")
"""Gemini's seconds to wait, which it puts into the body."""

USED_UP = "its output tokens were used up"
"""Said of a reply that ended, at its limit, before a word came."""

_SENTENCES: dict[Cause, tuple[str, str]] = {
    "rate_limit": ("the provider's rate limit is reached", "Try again later."),
    "overload": ("the provider is overloaded or failed", "Try again later."),
    "timeout": ("it did not answer in time", "Try again, or give it a larger timeout_s."),
    "connection": (
        "it cannot be reached, or broke off",
        "Check the network; where that works, the provider is down: try again later.",
    ),
    "refusal": ("it refused the request", "Put the request in other words."),
    "bad_request": ("it rejected the request", "Check its card in twobrain.toml, or use another model."),
    "unsupported": ("it does not take what was sent", "Send it as text, or use a model that takes it."),
    "bad_key": ("it rejected the key", "Check the key, and what its account may use."),
    "no_credit": ("its account has no credit left", "Add credit with its provider, or use another model."),
    "context_overflow": (
        "the conversation is too long for it",
        "Begin a new one, or set context_window to what it really takes.",
    ),
    "malformed": ("its answer could not be read", "Try again; where it stays so, use another model."),
    "missing_key": ("its key or program is missing", "Set it, or use another model."),
    "cancelled": ("the call was cancelled", "Try again."),
}
"""What happened, and what to do."""
_NO_TOOLS = "Set tools = false on its card, or use another model."
_WHERE_SERVED = "Check its base_url, and that its server runs."
"""What to do about a connection where the card says at which address the model is."""
_NO_MODEL = re.compile(r"model\b.*\bnot (found|exist)|unknown model|no such model", re.IGNORECASE)
_NOT_THERE = {404, 405}
"""HTTP statuses of an address where no such API is, websites' among them."""

_A_WEB_PAGE = (
    "a web page came in place of its answer",
    "Check its base_url, and what stands between: a proxy, a firewall, a sign-in page.",
)
"""What happened, and what to do, where a website answers a request for an API."""
_NO_PAGES = {401, 408, 413, 429}
"""HTTP statuses that say what is wrong, whoever says so: Perplexity tells of a wrong key by a page."""
_SIGN_IN = 511
_PROXY = "Check the proxy that is set, in HTTPS_PROXY or ALL_PROXY."
_PROXY_STATUS = 407

_OURS_TO_TELL: frozenset[Cause] = frozenset({"malformed", "timeout", "connection"})
"""Causes of which only a client library has words, and of its own workings, where there is no body."""

_LACKS = re.compile(
    r"(not|n't) (currently )?(support|enabled|accept|a multi-?modal)|unsupported|only supported by"
    r"|found that support|supported values are|at most 0|missing data required for|text.only|unknown variant",
    re.IGNORECASE,
)
_NAMED = {
    "images": re.compile(r"image|vision|picture|multi-?modal", re.IGNORECASE),
    "audio": re.compile(r"audio|multi-?modal", re.IGNORECASE),
    "video": re.compile(r"video|multi-?modal", re.IGNORECASE),
    "files": re.compile(r"\bfiles?\b|pdf|document|multi-?modal", re.IGNORECASE),
}
"""How a server names what a model cannot take."""
_ONLY_TEXT = re.compile(
    r"unexpected item type|invalid type: sequence|untagged enum \w*Content|expected to be either"
    r"|content\W.*(must be|should be|expected) (a )?(valid )?(string|text)",
    re.IGNORECASE | re.DOTALL,
)
"""What a server says that reads contents as texts alone."""
_OF_THE_FILE = re.compile(
    r"format|mime|media.?type|too large|\bsize\b|base64|decode|corrupt|dimension|pixel|at most [1-9]",
    re.IGNORECASE,
)
"""What is wrong with one picture or file, not with all."""
_TOOLS = re.compile(
    r"support tool|(not|n't) support (native )?(tools?|function)\b|enable-auto-tool-choice"
    r"|(tools?|tool use|tool calling|function calling) (is|are) not (supported|enabled)",
    re.IGNORECASE,
)


class UnusableReplyError(Exception):
    """A reply is no answer; the text tells a person why.

    `words` are what its provider says of that.
    """

    def __init__(self, what: str, cause: Cause = "malformed", words: str = "") -> None:
        super().__init__(what)
        self.cause = cause
        self.words = words


class BlankReplyError(UnusableReplyError):
    """A reply came that ended well and holds nothing."""


def as_model_error(
    error: Exception,
    model: str,
    base_url: str | None = None,
    *,
    sent: Collection[str] = (),
    redact: Callable[[str], str] = str,
) -> ModelError:
    """Return the error as a ModelError that says what to do.

    Args:
        error: what a client raised, or reading its reply.
        model: its name in the registry.
        base_url: its card's; None: the provider's own address.
        sent: what the request held beside text that a model may not take, as `unsupported` names it.
        redact: takes secrets out of the provider's words.
    """
    if isinstance(error, ModelError):
        return error
    if unusable := next((one for one in causes_of(error) if isinstance(one, UnusableReplyError)), None):
        cause, what, to_do = unusable.cause, str(unusable), _SENTENCES[unusable.cause][1]
        said = unusable.words
    else:
        body = body_of(error)
        status, said = _status(error, body), words_of(body)
        cause = _cause(error, status, body)
        if lacking := _lacking(f"{said} {codes_in(body)}", sent) if cause in _CORRECTED else []:
            return unsupported(model, lacking, bounded(said, redact))
        if body is None and cause not in _OURS_TO_TELL:
            said = words_of(str(error))
        if is_page(body) and cause == "bad_request":
            what, to_do = _A_WEB_PAGE
        elif status == _PROXY_STATUS or any(type(each).__name__ == "ProxyError" for each in causes_of(error)):
            what, to_do = _SENTENCES[cause][0], _PROXY
        else:
            what, to_do = _SENTENCES[cause][0], _to_do(cause, status, said, base_url)
        said = said or (f"HTTP {status}" if status else "")
    if said := bounded(said, redact).rstrip("."):
        what = f"{what} ({said})"
    return ModelError(f"Model {model!r}: {what}. {to_do}", cause, _delay(error))


def unsupported(model: str, things: Collection[str], said: str = "") -> ModelError:
    """Return the error of a model that takes no such things.

    `things` are images, audio, video, files or tools, `said` the server's words; empty: it was not asked.
    """
    what = f"it takes no {' and no '.join(things)}" + (f" ({said.rstrip('.')})" if said else "")
    to_do = _NO_TOOLS if "tools" in things else _SENTENCES["unsupported"][1]
    return ModelError(f"Model {model!r}: {what}. {to_do}", "unsupported")


def happened(cause: str) -> str:
    """Return a cause in words, without what to do."""
    return _SENTENCES[cast("Cause", cause)][0]


def cause_of_status(status: int) -> Cause:
    """Return the cause that an HTTP status of 400 or more tells."""
    return _BY_STATUS.get(status, "overload" if status >= 500 else "bad_request")  # noqa: PLR2004 (HTTP's classes)


def _to_do(cause: Cause, status: int | None, said: str, base_url: str | None) -> str:
    if cause == "connection" and base_url:
        return _WHERE_SERVED
    if cause == "bad_request" and (status in _NOT_THERE or _NO_MODEL.search(said)):
        return "Check its model and its base_url." if base_url else "Check its model."
    return _SENTENCES[cause][1]


def _lacking(told: str, sent: Collection[str]) -> list[str]:
    """Return which of the things sent a server does not take."""
    if "tools" in sent and _TOOLS.search(told):
        return ["tools"]
    media = [thing for thing in sent if thing in _NAMED]
    if not media or _OF_THE_FILE.search(told):
        return []
    if _ONLY_TEXT.search(told):
        return media
    return [thing for thing in media if _NAMED[thing].search(told)] if _LACKS.search(told) else []


def _cause(error: BaseException, status: int | None, body: object) -> Cause:
    """Return the cause of a provider's exception, `malformed` where unknown."""
    is_below = status and status < 500 and status not in _NO_PAGES  # noqa: PLR2004 (HTTP's classes)
    if is_page(body) and (is_below or status == _SIGN_IN):
        return "bad_request"
    coarse = _coarse_cause_of(error, status)
    told = codes_in(body) or (str(error) if coarse != "malformed" else "")  # that is a client library's
    of_words = (cause for among, words, cause in _FINER if coarse in among and words.search(told))
    return next(of_words, "overload" if coarse == "malformed" and words_of(body) else coarse)


def _coarse_cause_of(error: BaseException, status: int | None) -> Cause:
    for kind, cause in _BY_TYPE:
        if isinstance(error, kind):
            return cause
    if status:
        return cause_of_status(status)
    named = (_BY_NAME[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _BY_NAME)
    return next(named, "connection" if "connect" in type(error).__name__.lower() else "malformed")


def _status(error: BaseException, body: object) -> int | None:
    """Return the HTTP status of an error or in its body."""
    for each in causes_of(error):
        for status in (getattr(each, "status_code", None), getattr(each, "code", None)):
            if isinstance(status, int) and status >= 400:  # noqa: PLR2004 (HTTP's classes)
                return status
    return status_in(body)


def _delay(error: BaseException) -> float | None:
    """Return the provider's seconds to wait; None where it names none."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    header = (getattr(response, "headers", None) or {}).get("retry-after", "")
    in_body = _RETRY_INFO.search(f"{error} {body_of(error)}")
    with suppress(ValueError):
        return max(0.0, float(header or (in_body[1] if in_body else "")))
    with suppress(ValueError):  # an HTTP date (RFC 9110, 10.2.3)
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    return None
