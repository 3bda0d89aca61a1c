"""Counts for monitoring: model calls, tool calls, decisions, what waits."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Label, Table, func, select

from base.telemetry import set_gauge
from ledger.calls import FINAL, is_lost
from ledger.tables import calls, messengers, rows_of, threads, total, usage
from ledger.usage import BEGUN, DOCTOR


@dataclass(frozen=True, slots=True)
class Counts:
    """What all processes have recorded so far."""

    model_calls: list[dict[str, Any]]
    """By `role`, `backend`, `model` and `error` (None: it answered): calls, tokens, `cost_usd`, `seconds`."""
    tool_calls: list[dict[str, Any]]
    """By `tool`, `status` and whether it `began`: `calls` that have ended, `seconds`. What never began may
    bear any name that a model made up."""
    decisions: list[dict[str, Any]]
    """By `decision`: `calls`."""
    turns: int
    """Turns in which a model was asked."""
    waiting: int
    """Calls that wait for a person."""
    waiting_since: float | None
    """Seconds since the epoch, when the first thread that waits began to; None: none does."""
    in_doubt: int
    """Calls that were begun, whose outcome nobody knows."""
    unknown_senders: dict[str, int]
    """Messages that came from who may not use a messenger, by its name."""
    day: list[dict[str, Any]]
    """By `user`: `tokens` and `cost_usd` of the UTC day."""


def observe(found: Counts, now: float) -> None:
    """Tell OpenTelemetry how things stand; all processes tell the same."""
    set_gauge("approvals.waiting", "{call}", found.waiting)
    set_gauge("approvals.oldest", "s", now - found.waiting_since if found.waiting_since else 0.0)
    set_gauge("calls.in_doubt", "{call}", found.in_doubt)
    set_gauge("day.tokens", "{token}", sum(row["tokens"] for row in found.day))
    set_gauge("day.cost", "{USD}", sum(row["cost_usd"] for row in found.day))
    for row in found.decisions:
        set_gauge("decisions", "{call}", row["calls"], {"decision": row["decision"]})


def counted(connection: Connection, now: float) -> Counts:
    """Return the counts at a time, in seconds since the epoch."""
    running = connection.execute(select(calls).where(calls.c.status == "running"))
    waits = select(func.count()).where(calls.c.status == "waiting")
    waiting_since = select(func.min(threads.c.waiting_since)).where(threads.c.status == "waiting")
    turns = select(usage.c.thread, usage.c.turn).where(usage.c.role != DOCTOR).distinct().subquery()
    return Counts(
        model_calls=_model_calls(connection),
        tool_calls=_tool_calls(connection),
        decisions=_decisions(connection),
        turns=connection.scalar(select(func.count()).select_from(turns)) or 0,
        waiting=connection.scalar(waits) or 0,
        waiting_since=connection.scalar(waiting_since),
        in_doubt=sum(is_lost(connection, row, now) for row in running),
        unknown_senders={
            row["name"]: row["unknown_senders"] for row in rows_of(connection, select(messengers))
        },
        day=_day(connection, datetime.fromtimestamp(now, UTC).date().isoformat()),
    )


def _model_calls(connection: Connection) -> list[dict[str, Any]]:
    groups = [usage.c.role, usage.c.backend, usage.c.model, usage.c.error]
    summed = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd")
    sums = [func.coalesce(total(usage.c[name]), 0).label(name) for name in summed]
    query = select(*groups, func.count().label("calls"), *sums, _seconds(usage)).group_by(*groups)
    return rows_of(connection, query.where(func.coalesce(usage.c.error, "") != BEGUN))


def _tool_calls(connection: Connection) -> list[dict[str, Any]]:
    groups = [calls.c.tool, calls.c.status, calls.c.started_at.is_not(None).label("began")]
    query = select(*groups, func.count().label("calls"), _seconds(calls)).group_by(*groups)
    return rows_of(connection, query.where(calls.c.status.in_(FINAL)))


def _seconds(table: Table) -> Label[Any]:
    return (func.coalesce(total(table.c.duration_ms), 0) / 1_000.0).label("seconds")


def _decisions(connection: Connection) -> list[dict[str, Any]]:
    query = select(calls.c.decision, func.count().label("calls")).where(calls.c.decision.is_not(None))
    return rows_of(connection, query.group_by(calls.c.decision))


def _day(connection: Connection, day: str) -> list[dict[str, Any]]:
    tokens = func.coalesce(total(usage.c.counted_tokens), 0).label("tokens")
    cost = func.coalesce(total(usage.c.cost_usd), 0).label("cost_usd")
    query = select(usage.c.user, tokens, cost).where(usage.c.day == day)
    return rows_of(connection, query.group_by(usage.c.user))
