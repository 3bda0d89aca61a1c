"""Chats of other programs: the thread that each is here."""

from collections.abc import Iterable

from sqlalchemy import Connection, select

from ledger.tables import chats, matching
from storage.shared_tables import insert


def link(connection: Connection, user: str, keys: Iterable[str], thread: str, now: float) -> None:
    """Note that a user's keys lead to a thread from now on."""
    for key in keys:
        row = insert(connection.dialect, chats).values(user=user, key=key, thread=thread, at=now)
        changes = {"thread": row.excluded.thread, "at": row.excluded.at}
        connection.execute(row.on_conflict_do_update(index_elements=["user", "key"], set_=changes))


def claim(connection: Connection, user: str, key: str, thread: str, now: float) -> str:
    """Note a key unless it leads somewhere; return where it leads."""
    row = insert(connection.dialect, chats).values(user=user, key=key, thread=thread, at=now)
    connection.execute(row.on_conflict_do_nothing())
    return thread_of(connection, user, key) or thread


def thread_of(connection: Connection, user: str, key: str) -> str | None:
    """Return the thread that a user's key leads to; None: to none."""
    return connection.scalar(select(chats.c.thread).where(*matching(chats, {"user": user, "key": key})))
