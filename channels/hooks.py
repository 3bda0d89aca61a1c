"""Hooks: what other programs send starts a task of a person's.

A sender shows that it knows the hook's secret: by sending it, or by a signature as GitHub, Stripe or Standard
Webhooks make one. What a request shows has to hold, all of it.
"""

import hmac
import json
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

import webencodings  # type: ignore[import-untyped]
from pydantic import Field

from base.errors import ConfigurationError
from base.settings import LOCAL, Card, Settings
from base.texts import is_blank, visible
from base.worker_threads import in_thread
from ledger.ledger import Ledger
from schedules.triggers import Entered, Event, Triggers, by_event

_TOLERANCE_S = 300.0
"""How old a signature may be that says when it was made, as Stripe and Standard Webhooks have it."""
_SAME_DELIVERY_S = 60.0
"""Seconds in which a body that comes again without an id is the same delivery."""
_LEAST_SECRET = 16
"""Characters of a secret; of fewer, it might be guessed."""
_MOST_FIELDS = 1_000
_LONGEST_KIND = 100
_RESERVED_CHARS = 1_000
"""Characters of a message that are left for what stands around a body."""
_TEXT_TYPES = ("application/json", "application/x-www-form-urlencoded", "application/xml")
_NO_BODY = "(It brought no body.)"

Headers = Mapping[str, str]
"""By their names in small letters."""


class HookCard(Card):
    """The `[hooks.NAME]` table."""

    user: str = LOCAL
    """Whose turns it starts."""
    task: str = Field(min_length=1, max_length=4_000)
    """What the assistant is asked; what came is beside it as a file of others."""
    secret_env: str
    """Name of the environment variable with its secret, of 16 characters at least."""
    to: str = ""
    """Where results go, as `twobrain schedule add --to` has it."""
    quiet: bool = False
    """True: an answer that there is nothing to report goes nowhere."""
    per_minute: int = Field(default=30, ge=1, le=1_000)
    """Deliveries that are taken in a minute, by all processes together."""
    max_cost_usd: float | None = Field(default=None, gt=0)
    """US dollars of each turn."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook that may be called."""

    name: str
    card: HookCard
    secret: str


@dataclass(frozen=True, slots=True)
class HookDelivery:
    """A request whose sender knows the secret."""

    hook: Hook
    headers: Headers
    body: bytes
    ident: str
    """Its sender's own for it; empty: there is none."""


class BadBodyError(Exception):
    """A body that no model could read: HTTP's status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def read_hooks(settings: Settings) -> tuple[list[Hook], list[str]]:
    """Return the hooks that may be called, and why others may not."""
    hooks, problems = [], []
    for name in settings.hooks:
        try:
            hooks.append(_read_hook(settings, name))
        except ConfigurationError as error:
            problems.append(f"{visible(name)}: {error}")
    return hooks, problems


def _read_hook(settings: Settings, name: str) -> Hook:
    card = settings.read_table(("hooks", name), HookCard) or HookCard.model_validate({})
    secret = settings.secret(card.secret_env) or ""
    if len(secret) < _LEAST_SECRET:
        raise ConfigurationError(f"{card.secret_env} has to hold a secret of {_LEAST_SECRET} characters.")
    settings.user(card.user)
    return Hook(name, card, secret)


def admitted(settings: Settings, name: str, headers: Headers, body: bytes, now: float) -> HookDelivery | None:
    """Return a delivery whose sender is known to know the secret.

    None: it does not, or there is no such hook, which takes as long.
    """
    found = next((each for each in read_hooks(settings)[0] if each.name == name), None)
    secret = found.secret if found else secrets.token_urlsafe()
    shown = [prove(headers, body, secret, now) for header, prove in _PROOFS.items() if header in headers]
    if found is None or not shown or None in shown:
        return None
    return HookDelivery(found, headers, body, next(filter(None, shown), ""))


async def enter(ledger: Ledger, settings: Settings, delivery: HookDelivery) -> Entered:
    """Have a hook's task done for a delivery, once.

    Raises:
        BadBodyError: its body is none that a model could read.
        StorageError: it cannot be written down.
    """
    hook, card = delivery.hook, delivery.hook.card
    choices = {"max_cost_usd": card.max_cost_usd} if card.max_cost_usd else {}
    options: dict[str, Any] = {"place": card.to, "is_quiet": card.quiet, "choices": choices}
    schedule = by_event(f"hook {hook.name}", card.user, card.task, ledger.now(), **options)
    text = await in_thread(partial(text_of, delivery.headers, delivery.body))
    most = max(0, settings.limits.max_message_chars - len(card.task) - _RESERVED_CHARS)
    if len(text) > most:
        text = f"{text[:most]}\n(… {len(text) - most:,} more characters were left out.)"
    key = delivery.ident or f"body {sha256(delivery.body).hexdigest()}"
    event = Event(key, f"{visible(hook.name)}.txt", text)
    within = None if delivery.ident else _SAME_DELIVERY_S
    return await Triggers(ledger).enter(schedule, event, within_s=within, per_minute=card.per_minute)


def text_of(headers: Headers, body: bytes) -> str:
    """Return what a body says, below what it is said to be.

    Raises:
        BadBodyError: it is packed, binary, or not what it is said to be.
    """
    kind, _, rest = headers.get("content-type", "text/plain").partition(";")
    kind = kind.strip().lower()
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise BadBodyError(415, "Send the body as it is, not packed.")
    is_json = kind == "application/json" or kind.endswith("+json")
    if not is_json and kind not in _TEXT_TYPES and not kind.startswith("text/"):
        raise BadBodyError(415, "Send JSON, a form (application/x-www-form-urlencoded) or text.")
    text = _decoded(body, rest)
    if is_json and body:
        _check_json(text)
    elif kind.endswith("urlencoded"):
        text = _fields(text)
    about = {"Content-Type": kind, "X-GitHub-Event": headers.get("x-github-event", "")}
    told = "".join(f"{name}: {visible(said)[:_LONGEST_KIND]}\n" for name, said in about.items() if said)
    return f"{told}\n{_NO_BODY if is_blank(text) else text}"


def _decoded(body: bytes, parameters: str) -> str:
    named = [each.partition("=")[2] for each in parameters.split(";") if "charset=" in each.lower()]
    encoding = webencodings.lookup(named[0].strip(' "') if named else "utf-8")
    with suppress(UnicodeDecodeError):
        text: str = encoding.codec_info.decode(body, "strict")[0] if encoding else "\0"
        if "\0" not in text:
            return text
    raise BadBodyError(415, "The body is binary, or in another encoding than it says.")


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise BadBodyError(400, "The body is no JSON, though its Content-Type says so.") from None


def _fields(text: str) -> str:
    try:
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise BadBodyError(400, f"A form may have {_MOST_FIELDS:,} fields.") from None
    text = "\n".join(f"{visible(name)}: {value}" for name, value in fields)
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _signature(secret: bytes, signed: bytes) -> bytes:
    return hmac.digest(secret, signed, "sha256")


def _is_fresh(said: str, now: float) -> bool:
    return said.isascii() and said.isdigit() and len(said) < 16 and abs(now - int(said)) <= _TOLERANCE_S  # noqa: PLR2004


def _by_token(headers: Headers, _body: bytes, secret: str, _now: float) -> str | None:
    scheme, _, token = headers["authorization"].partition(" ")
    if scheme.lower() != "bearer" or not _same(token.strip(), secret):
        return None
    ident = headers.get("idempotency-key")
    return f"key {ident}" if ident else ""


def _by_github(headers: Headers, body: bytes, secret: str, _now: float) -> str | None:
    expected = f"sha256={_signature(secret.encode(), body).hex()}"
    if not _same(headers["x-hub-signature-256"], expected):
        return None
    ident = headers.get("x-github-delivery")
    return f"github {ident}" if ident else ""


def _by_stripe(headers: Headers, body: bytes, secret: str, now: float) -> str | None:
    parts = [part.strip().partition("=")[::2] for part in headers["stripe-signature"].split(",")]
    at = next((value for name, value in parts if name == "t"), "")
    expected = _signature(secret.encode(), f"{at}.".encode() + body).hex()
    holds = [_same(value, expected) for name, value in parts if name == "v1"]
    if not any(holds) or not _is_fresh(at, now):
        return None
    told = None
    with suppress(ValueError, RecursionError):
        told = json.loads(body)
    ident = told.get("id") if isinstance(told, dict) else None
    return f"stripe {ident}" if isinstance(ident, str) and ident else ""


def _by_standard(name: str) -> "Callable[[Headers, bytes, str, float], str | None]":
    def prove(headers: Headers, body: bytes, secret: str, now: float) -> str | None:
        ident, at = headers.get(f"{name}-id", ""), headers.get(f"{name}-timestamp", "")
        signed = f"{ident}.{at}.".encode() + body
        expected = b64encode(_signature(_standard_key(secret), signed)).decode()
        holds = [_same(each, f"v1,{expected}") for each in headers[f"{name}-signature"].split()]
        return f"standard {ident}" if any(holds) and ident and _is_fresh(at, now) else None

    return prove


def _standard_key(secret: str) -> bytes:
    """Return the key that a secret is, or is base64 of."""
    with suppress(ValueError):
        return b64decode(secret.removeprefix("whsec_"), validate=True)
    return secret.encode()


_PROOFS: Mapping[str, Callable[[Headers, bytes, str, float], str | None]] = {
    "authorization": _by_token,
    "x-hub-signature-256": _by_github,
    "stripe-signature": _by_stripe,
    "webhook-signature": _by_standard("webhook"),
    "svix-signature": _by_standard("svix"),
}
"""By the header that brings it: what shows that a sender knows the secret, and its id for a delivery.

None: it does not. An id that no signature covers is as trusted as whoever can send a signed body again."""
PROOF_HEADERS = frozenset(_PROOFS)
"""None of them can a website send that did not ask before."""
