"""Notices: what waits for people or ended, and where they were told."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, update

from ledger.access import Access
from ledger.tables import matching, notices, rows_of, usage
from storage.shared_tables import insert


class TurnTime(NamedTuple):
    """When a thread's last turn called models."""

    turn: str
    began: float
    ended: float


class NoticeRows:
    """All notices; raises StorageError as the ledger does."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Note what people are to be told, unless it is noted."""
        await self._access.write("notices", _add, rows)

    async def open(self, **filters: Any) -> list[dict[str, Any]]:
        """Return what is not resolved, oldest first, by `user` or `place`."""
        its = matching(notices, filters)
        query = select(notices).where(*its, notices.c.resolved_at.is_(None)).order_by(notices.c.at)
        return await self._access.read(lambda connection: rows_of(connection, query))

    async def change(self, key: str, **values: Any) -> None:
        """Note when somebody was told, told again, or it was resolved."""
        changed = update(notices).where(notices.c.key == key).values(**values)
        await self._access.write("notices", lambda connection: connection.execute(changed))

    async def looked(self, name: str, now: float) -> float:
        """Return until when somebody looked for what ended; they begin now."""
        key = f"looked {name}"
        unset = dict.fromkeys(("user", "place", "kind", "thread", "subject"), "")
        await self.add([{**unset, "key": key, "at": now, "resolved_at": now}])
        query = select(notices.c.at).where(notices.c.key == key)
        return await self._access.read(lambda connection: connection.scalar(query) or now)

    async def last_turn(self, thread: str) -> TurnTime | None:
        """Return when a thread's last turn was; None: it called no model."""
        began = func.min(usage.c.at - func.coalesce(usage.c.duration_ms, 0) / 1_000.0)
        query = select(usage.c.turn, began, func.max(usage.c.at)).where(usage.c.thread == thread)
        last = query.group_by(usage.c.turn).order_by(func.max(usage.c.at).desc()).limit(1)
        row = await self._access.read(lambda connection: connection.execute(last).one_or_none())
        return TurnTime(*row) if row else None


def _add(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        connection.execute(insert(connection.dialect, notices).values(**row).on_conflict_do_nothing())
