"""`GET /metrics`: counts in Prometheus's text form, and who reads them."""

import hmac
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from langgraph_sdk import Auth
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from starlette.types import ASGIApp, Receive, Scope, Send

from base.errors import TwobrainError
from ledger.counts import Counts
from ledger.ledger import Ledger
from ledger.usage import DOCTOR
from nodes.resources import Resources, shared_resources
from server.auth import authenticate

CONTENT_TYPE = CONTENT_TYPE_LATEST
_METRICS = "/metrics"
_OURS = "/twobrain/metrics"
"""Where they are served: an engine's own route of that name, which asks nobody, comes before ours."""
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers of what a proxy passes on: whoever it is for is not on this machine."""
_Row = Mapping[str, Any]
_BRAIN = ("brain", "backend", "model")
_TOKENS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cached_tokens": "cached",
    "reasoning_tokens": "reasoning",
}
"""Cached ones are among the input, reasoning among the output."""

_log = logging.getLogger(__name__)
router = APIRouter()


async def exposition(ledger: Ledger, *, by_user: bool) -> bytes:
    """Return our metrics, then the engine's and the process's.

    `by_user` names who used what today.

    Raises:
        StorageError: the ledger cannot be read.
    """
    found = await ledger.counts()
    return generate_latest(_Families(_families(found, ledger.now(), by_user=by_user))) + generate_latest(
        REGISTRY
    )


class _Families:
    """What `generate_latest` takes for a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(found: Counts, now: float, *, by_user: bool) -> Iterator[Metric]:
    yield from _models(found)
    yield from _tools(found)
    yield _counter("decisions", "Decisions on calls.", ("decision",), found.decisions, "calls")
    took = sum(row["seconds"] for row in (*found.model_calls, *found.tool_calls) if row.get("role") != DOCTOR)
    what = "Seconds that models and tools took in each turn, side by side or not."
    yield SummaryMetricFamily("twobrain_turn_seconds", what, count_value=found.turns, sum_value=took)
    waited = now - found.waiting_since if found.waiting_since else 0.0
    yield _gauge("approvals_waiting", "Calls that wait for a person's yes or no.", found.waiting)
    yield _gauge("approval_oldest_seconds", "How long the first of them has waited; 0: none waits.", waited)
    yield _gauge("calls_in_doubt", "Calls that were begun, and nobody knows how they ended.", found.in_doubt)
    rows = [{"channel": name, "messages": count} for name, count in found.unknown_senders.items()]
    what = "Messages from who may not use a messenger."
    yield _counter("channel_unknown_senders", what, ("channel",), rows, "messages")
    labels = ("user",) if by_user else ()
    for column, what in (("tokens", "Tokens"), ("cost_usd", "US dollars, where known,")):
        family = GaugeMetricFamily(f"twobrain_day_{column}", f"{what} used in this UTC day.", labels=labels)
        _fill(family, labels, found.day or [{"user": "", column: 0}], column)
        yield family


def _models(found: Counts) -> Iterator[Metric]:
    rows = [{**row, "brain": row["role"], "error": row["error"] or ""} for row in found.model_calls]
    labels = (*_BRAIN, "error")
    yield _counter("model_calls", "Model calls; error is empty where it answered.", labels, rows, "calls")
    yield _counter("model_seconds", "Seconds that models took.", labels, rows, "seconds")
    tokens = [{**row, "type": name, "tokens": row[key]} for row in rows for key, name in _TOKENS.items()]
    yield _counter("model_tokens", "Tokens, where they are known.", (*_BRAIN, "type"), tokens, "tokens")
    yield _counter("model_cost_usd", "US dollars, where prices are known.", _BRAIN, rows, "cost_usd")


def _tools(found: Counts) -> Iterator[Metric]:
    rows = [{**row, "tool": row["tool"] if row["began"] else ""} for row in found.tool_calls]
    labels = ("tool", "status")
    yield _counter("tool_calls", "Ended tool calls; tool is empty where none began.", labels, rows, "calls")
    yield _counter("tool_seconds", "Seconds that tools took.", labels, rows, "seconds")


def _counter(name: str, what: str, labels: Sequence[str], rows: Iterable[_Row], column: str) -> Metric:
    family = CounterMetricFamily(f"twobrain_{name}", what, labels=labels)
    _fill(family, labels, rows, column)
    return family


def _fill(
    family: CounterMetricFamily | GaugeMetricFamily, labels: Sequence[str], rows: Iterable[_Row], column: str
) -> None:
    """Add the sums of the rows whose labels are the same."""
    sums: dict[tuple[str, ...], float] = {}
    for row in rows:
        key = tuple(row[label] for label in labels)
        sums[key] = sums.get(key, 0) + row[column]
    for key, value in sums.items():
        family.add_metric(key, value)


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"twobrain_{name}", what, value=value)


class OurMetrics:
    """Leads /metrics to ours, whatever engine serves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, under the other path where it is for metrics."""
        root = scope.get("root_path", "")
        if scope["type"] == "http" and scope["path"].removeprefix(root) == _METRICS:
            scope = {**scope, "path": root + _OURS, "raw_path": (root + _OURS).encode()}
        await self._app(scope, receive, send)


@router.get(_OURS, include_in_schema=False)
async def metrics(request: Request, *, users: bool = False) -> Response:
    """Return counts as Prometheus reads them; `users=true` names who used what today.

    For an admin's token, or the one that `metrics_token_env` names; where no user has a token, for this
    machine alone.
    """
    try:
        res = await shared_resources()
        await _check_reader(request, res)
        return Response(await exposition(res.ledger, by_user=users), media_type=CONTENT_TYPE)
    except Auth.exceptions.HTTPException as refusal:
        return JSONResponse({"detail": refusal.detail}, refusal.status_code)
    except TwobrainError as error:
        _log.error("the metrics could not be read: %s", error)
        return JSONResponse({"detail": "The ledger cannot be read; the log says why."}, 503)


async def _check_reader(request: Request, res: Resources) -> None:
    """Let through who may read the metrics.

    Raises:
        HTTPException: 401, nobody that is known; 403, one who may not.
    """
    given = request.headers.get("authorization", "")
    if variable := res.settings.server.metrics_token_env:
        token = res.settings.secret(variable)
        if token and hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return
    user = await authenticate(request.headers)
    if user.get("is_authenticated", True):
        if "admin" not in user.get("permissions", ()):
            raise Auth.exceptions.HTTPException(
                403, "The metrics are of all users: only an admin may read them."
            )
    elif not _is_local(request):
        raise Auth.exceptions.HTTPException(
            403,
            "The metrics are read on this machine alone, or with the token that metrics_token_env names "
            "under [server] in twobrain.toml.",
        )


def _is_local(request: Request) -> bool:
    """Tell whether this machine sent a request; in doubt it did not."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    with suppress(ValueError):
        return ip_address(request.client.host).is_loopback
    return False
