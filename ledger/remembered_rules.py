"""Remembered rules: what a person said may run unasked."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, exists, or_, select, update

from ledger.tables import calls, declined_rules, matching, parsed, rows_of, rules
from storage.shared_tables import insert

BY_RULE = "rule"
"""The decision on record of a call that a rule let run."""
_ANSWERS = 1_000
"""Answers that are looked at."""


class Answers(NamedTuple):
    """What a user answered when asked about calls of one tool."""

    calls: list[dict[str, Any]]
    """The newest first. `args` None: they cannot be read; `tainted`: the thread had untrusted content."""
    declined: list[dict[str, str] | None]
    """Patterns of rules that are not to be offered now; None: they cannot be read."""


def add(connection: Connection, row: Mapping[str, Any]) -> None:
    """Insert a rule, unless there is one of its id."""
    connection.execute(insert(connection.dialect, rules).values(**row).on_conflict_do_nothing())


def use(connection: Connection, rule_id: str, user: str, now: float) -> bool:
    """Count one use of a rule; False: it has run out."""
    counted = update(rules).where(rules.c.id == rule_id, rules.c.user == user, *_valid(now))
    return connection.execute(counted.values(uses_left=rules.c.uses_left - 1)).rowcount == 1


def give_back(connection: Connection, rule_id: str, user: str) -> None:
    """Undo one use."""
    its = matching(rules, {"id": rule_id, "user": user})
    connection.execute(update(rules).where(*its).values(uses_left=rules.c.uses_left + 1))


def listed(connection: Connection, user: str | None, now: float | None) -> list[dict[str, Any]]:
    """Return rules, the oldest first; one that cannot be read is none.

    `user` None: everybody's; `now` None: those that have run out, too.
    """
    valid = [] if now is None else _valid(now)
    found = select(rules).where(*matching(rules, {"user": user}), *valid)
    rows = rows_of(connection, found.order_by(rules.c.created_at, rules.c.id))
    return [{**row, "where": where} for row in rows if (where := _read(row["where"])) is not None]


def revoke(connection: Connection, rule_id: str, user: str | None) -> bool:
    """Delete a rule; none like it is offered again.

    Returns:
        False: the user (None: anybody) has none such.
    """
    its = matching(rules, {"id": rule_id, "user": user})
    for row in rows_of(connection, select(rules.c.user, rules.c.tool, rules.c.where).where(*its)):
        decline(connection, {**row, "until": None})
    return connection.execute(delete(rules).where(*its)).rowcount == 1


def decline(connection: Connection, row: Mapping[str, Any]) -> None:
    """Record a rule that is not wanted."""
    connection.execute(insert(connection.dialect, declined_rules).values(**row))


def answers(connection: Connection, user: str, tool: str, since: float, now: float) -> Answers:
    """Return what a user answered about calls of a tool."""
    asked = (*matching(calls, {"user": user, "tool": tool}), calls.c.decided_at >= since)
    wanted = [calls.c[name] for name in ("thread", "turn", "args", "decision", "decided_by", "status")]
    before = calls.alias()
    earlier = (before.c.thread == calls.c.thread, before.c.user == user, before.c.id < calls.c.id)
    tainted = exists().where(*earlier, before.c.untrusted.is_(True)).label("tainted")
    query = select(*wanted, tainted).where(*asked, calls.c.decision != BY_RULE)
    newest = rows_of(connection, query.order_by(calls.c.decided_at.desc(), calls.c.id.desc()).limit(_ANSWERS))
    unwanted = select(declined_rules.c.where).where(
        *matching(declined_rules, {"user": user, "tool": tool}),
        or_(declined_rules.c.until.is_(None), declined_rules.c.until > now),
    )
    declined = [_read(where) for where in connection.scalars(unwanted)]
    return Answers([{**row, "args": parsed(row["args"])} for row in newest], declined)


def _read(where: str) -> dict[str, str] | None:
    """Return a rule's patterns; None: unreadable, so its calls ask."""
    found = parsed(where)
    fits = isinstance(found, dict) and all(isinstance(pattern, str) for pattern in found.values())
    return found if fits else None


def _valid(now: float) -> list[ColumnElement[bool]]:
    return [
        or_(rules.c.until.is_(None), rules.c.until > now),
        or_(rules.c.uses_left.is_(None), rules.c.uses_left > 0),
    ]
