"""Rows of messengers: what came, what was sent, what is told.

What came is stored before it is acted on, and what is sent before it is sent: after a crash the rows say how
far it got.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from ledger.access import Access
from ledger.tables import deliveries, matching, messengers, notices, received, rows_of, usage
from ledger.threads import PAGE
from storage.shared_tables import insert

OPEN = ("waiting", "begun")
_STORED_S = 30 * 86_400.0
"""Seconds for which is known what was done with a message, and what was sent."""


class ChatPlace(NamedTuple):
    """Where a message is: a messenger's chat."""

    messenger: str
    chat: str


class Messages:
    """The messages of all messengers; raises StorageError as the ledger does."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def receive(
        self, messenger: str, rows: Sequence[Mapping[str, Any]], cursor: str, unknown_senders: int, now: float
    ) -> None:
        """Store what came, with how far it was read; repeatable."""
        count = {"name": messenger, "cursor": cursor, "unknown_senders": unknown_senders}
        await self._access.write(f"messenger {messenger}", _receive, rows, count, now)

    async def cursor(self, messenger: str) -> str | None:
        """Return how far a messenger was read; None: it never was."""
        return await self._access.read(
            lambda connection: connection.scalar(
                select(messengers.c.cursor).where(messengers.c.name == messenger)
            )
        )

    async def lanes(self, messenger: str) -> list[str]:
        """Return the lanes in which something is to be done."""
        query = select(received.c.lane).where(received.c.messenger == messenger, received.c.status.in_(OPEN))
        return await self._access.read(lambda connection: [*connection.scalars(query.distinct())])

    async def following(self, messenger: str, lane: str, limit: int) -> list[dict[str, Any]]:
        """Return what is to be done next in a lane."""
        its = received.c.messenger == messenger, received.c.lane == lane, received.c.status.in_(OPEN)
        query = select(received).where(*its).order_by(received.c.id).limit(limit)
        return await self._access.read(lambda connection: rows_of(connection, query))

    async def count(self, messenger: str, lane: str) -> int:
        """Return how much is to be done in a lane."""
        its = received.c.messenger == messenger, received.c.lane == lane, received.c.status.in_(OPEN)
        query = select(func.count()).select_from(received).where(*its)
        return await self._access.read(lambda connection: connection.scalar(query) or 0)

    async def is_behind_answer(self, row: Mapping[str, Any]) -> bool:
        """Tell whether an answer before a message is not done with."""
        its = matching(received, {"messenger": row["messenger"], "chat": row["chat"]})
        open_ = received.c.status.in_(OPEN), received.c.lane != row["chat"], received.c.id < row["id"]
        query = select(func.count()).select_from(received).where(*its, *open_)
        return bool(await self._access.read(lambda connection: connection.scalar(query)))

    async def change(self, ids: Sequence[int], **values: Any) -> None:
        """Note what is done with messages; what is done needs no content."""
        if values.get("status") == "done":
            values["content"] = ""
        changed = update(received).where(received.c.id.in_(ids)).values(**values)
        await self._access.write("messages", lambda connection: connection.execute(changed))

    async def drop(self, messenger: str, lane: str, before: int) -> int:
        """Leave undone what came before; return how much it is."""
        its = received.c.messenger == messenger, received.c.lane == lane, received.c.status == "waiting"
        dropped = update(received).where(*its, received.c.id < before).values(status="done", content="")
        return await self._access.write("messages", lambda connection: connection.execute(dropped).rowcount)

    async def chat_of(self, messenger: str, thread: str, user: str) -> str | None:
        """Return where a user last wrote in a thread; None: nowhere."""
        its = matching(received, {"messenger": messenger, "thread": thread, "user": user})
        said = select(received.c.chat).where(*its, received.c.lane == received.c.chat)
        query = said.order_by(received.c.id.desc()).limit(1)
        return await self._access.read(lambda connection: connection.scalar(query))

    async def told(self, messenger: str, thread: str, since: float) -> bool:
        """Tell whether anything of a thread was sent there since."""
        its = *matching(deliveries, {"messenger": messenger, "thread": thread}), deliveries.c.at >= since
        query = select(deliveries.c.id).where(*its).limit(1)
        return await self._access.read(lambda connection: connection.scalar(query) is not None)

    async def sent(self, place: ChatPlace, key: str) -> dict[int, dict[str, Any]]:
        """Return what was sent under a key, by part."""
        query = select(deliveries).where(*matching(deliveries, {**place._asdict(), "key": key}))
        rows = await self._access.read(lambda connection: rows_of(connection, query))
        return {row["part"]: row for row in rows}

    async def find(self, place: ChatPlace, message: str) -> dict[str, Any] | None:
        """Return what was sent as a message; None: not ours."""
        query = select(deliveries).where(*matching(deliveries, {**place._asdict(), "message": message}))
        return await self._access.read(lambda connection: next(iter(rows_of(connection, query)), None))

    async def is_sending(self, place: ChatPlace) -> bool:
        """Tell whether sending to a chat began and has not ended."""
        its = matching(deliveries, {**place._asdict(), "status": "sending"})
        query = select(func.count()).select_from(deliveries).where(*its)
        return bool(await self._access.read(lambda connection: connection.scalar(query)))

    async def question(self, place: ChatPlace, mark: str) -> dict[str, Any] | None:
        """Return a chat's question by its identity's begin; None: none."""
        its = *matching(deliveries, place._asdict()), deliveries.c.question.startswith(mark, autoescape=True)
        query = select(deliveries).where(*its).order_by(deliveries.c.id.desc()).limit(1)
        return await self._access.read(lambda connection: next(iter(rows_of(connection, query)), None))

    async def questions(self, messenger: str, **filters: Any) -> list[dict[str, Any]]:
        """Return the questions that are not marked answered, oldest first."""
        its = matching(deliveries, {"messenger": messenger, "status": "asked", **filters})
        query = select(deliveries).where(*its).order_by(deliveries.c.id)
        return await self._access.read(lambda connection: rows_of(connection, query))

    async def deliver(self, place: ChatPlace, key: str, part: int, now: float, **values: Any) -> int:
        """Note that something is about to be sent; return its number."""
        row = {**place._asdict(), "key": key, "part": part, "at": now, **values}
        return await self._access.write("deliveries", _deliver, row)

    async def delivered(self, number: int, **values: Any) -> None:
        """Note what became of what was sent."""
        changed = update(deliveries).where(deliveries.c.id == number).values(**values)
        await self._access.write("deliveries", lambda connection: connection.execute(changed))

    async def forget(self, place: ChatPlace, key: str) -> None:
        """Let something be sent again under its key."""
        gone = delete(deliveries).where(*matching(deliveries, {**place._asdict(), "key": key}))
        await self._access.write("deliveries", lambda connection: connection.execute(gone))


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

    async def change(self, key: str, **values: Any) -> None:
        """Note when somebody was told, told again, or it was resolved."""
        changed = update(notices).where(notices.c.key == key).values(**values)
        await self._access.write("notices", lambda connection: connection.execute(changed))

    async def unsent(self) -> list[dict[str, Any]]:
        """Return what is open, but for what the page shows by itself."""
        by_page = (notices.c.place == PAGE) & (notices.c.kind != "question")
        query = select(notices).where(~by_page, notices.c.resolved_at.is_(None)).order_by(notices.c.at)
        return await self._access.read(lambda connection: rows_of(connection, query))

    async def on_page(self, user: str, now: float) -> list[dict[str, Any]]:
        """Return what stands on a user's page, the latest first."""
        query = select(notices).where(*_on_page(user, now), notices.c.resolved_at.is_(None))
        query = query.order_by(notices.c.at.desc(), notices.c.key)
        return await self._access.read(lambda connection: rows_of(connection, query))

    async def tell(self, keys: Collection[str], now: float) -> int:
        """Note that somebody sees them now; return how many were new."""
        its = notices.c.key.in_(keys), notices.c.sent_at.is_(None), notices.c.resolved_at.is_(None)
        told = update(notices).where(*its).values(sent_at=now)
        return await self._access.write("notices", lambda connection: connection.execute(told).rowcount)

    async def dismiss(
        self, user: str, now: float, *, key: str | None = None, until: float | None = None
    ) -> bool:
        """Take one from a user's page, or all due until then.

        False: there is none such of theirs.
        """
        its = [*_on_page(user, now), notices.c.key == key if until is None else notices.c.at <= until]
        gone = {"resolved_at": func.coalesce(notices.c.resolved_at, now)}
        done = update(notices).where(*its).values(gone)
        return bool(await self._access.write("notices", lambda connection: connection.execute(done).rowcount))

    async def move(self, row: Mapping[str, Any], place: str, now: float) -> None:
        """Have somebody told elsewhere: where they should have been, they cannot be."""
        key = f"{row['key'].removesuffix(row['place'])}{place}"
        moved = {**row, "key": key, "place": place}
        await self._access.write("notices", _move, row["key"], moved, now)

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


def _receive(
    connection: Connection, rows: Sequence[Mapping[str, Any]], count: Mapping[str, Any], now: float
) -> None:
    for row in rows:
        fresh = insert(connection.dialect, received).values(**row, messenger=count["name"], at=now)
        connection.execute(fresh.on_conflict_do_nothing())
    place = insert(connection.dialect, messengers).values(**count)
    changes = {
        "cursor": place.excluded.cursor,
        "unknown_senders": messengers.c.unknown_senders + place.excluded.unknown_senders,
    }
    connection.execute(place.on_conflict_do_update(index_elements=["name"], set_=changes))
    old = received.c.status == "done", received.c.at < now - _STORED_S
    connection.execute(delete(received).where(*old))
    sent_long_ago = deliveries.c.status != "asked", deliveries.c.at < now - _STORED_S
    connection.execute(delete(deliveries).where(*sent_long_ago))


def _deliver(connection: Connection, row: Mapping[str, Any]) -> int:
    fresh = insert(connection.dialect, deliveries).values(**row)
    keys = ["messenger", "chat", "key", "part"]
    changes = {name: fresh.excluded[name] for name in row if name not in keys}
    connection.execute(fresh.on_conflict_do_update(index_elements=keys, set_=changes))
    its = matching(deliveries, {name: row[name] for name in keys})
    return int(connection.execute(select(deliveries.c.id).where(*its)).scalar_one())


def _on_page(user: str, now: float) -> Sequence[ColumnElement[bool]]:
    its = notices.c.user == user, notices.c.place == PAGE, notices.c.kind != "question"
    return *its, notices.c.at <= now


def _add(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        connection.execute(insert(connection.dialect, notices).values(**row).on_conflict_do_nothing())


def _move(connection: Connection, key: str, moved: Mapping[str, Any], now: float) -> None:
    its = notices.c.key == key, notices.c.resolved_at.is_(None)
    if connection.execute(update(notices).where(*its).values(resolved_at=now)).rowcount:
        _add(connection, [moved])
