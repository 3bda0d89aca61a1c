"""Remembered rules: what a person said may run unasked."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from ledger.tables import matching, parsed, rows_of, rules
from storage.shared_tables import insert


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
    """Delete a rule; False: the user (None: anybody) has none such."""
    its = matching(rules, {"id": rule_id, "user": user})
    return connection.execute(delete(rules).where(*its)).rowcount == 1


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
