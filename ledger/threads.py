"""The threads: status, other programs' chats, results needed, deletion."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, literal, or_, select, update

from ledger.owner import is_gone
from ledger.tables import (
    calls,
    chats,
    deliveries,
    matching,
    notices,
    parsed,
    received,
    rows_of,
    rules,
    schedule_runs,
    thread_titles,
    threads,
    undo_log,
    unknown_outcomes,
)
from storage.long_results import Needed, name_of
from storage.shared_tables import insert

PAGE = "page"
"""Where somebody is told who has no messenger."""
TITLE_CHARS = 80
"""Of the message that a thread began with."""


def touch(connection: Connection, row: Mapping[str, Any]) -> None:
    """Insert a thread or update its user's; another's stays as it is."""
    fresh = insert(connection.dialect, threads).values(**row, created_at=row["updated_at"])
    changes = {name: row[name] for name in ("status", "updated_at", "owner")}
    title = func.coalesce(fresh.excluded.title, threads.c.title)
    since = None
    if row["status"] == "waiting":
        since = func.coalesce(threads.c.waiting_since, fresh.excluded.waiting_since)
    changes |= {"title": title, "waiting_since": since}
    own = threads.c.user == fresh.excluded.user
    connection.execute(fresh.on_conflict_do_update(index_elements=["thread"], set_=changes, where=own))


def take_up(connection: Connection, thread: str, user: str, owner: str) -> None:
    """Note that an owner goes on with a user's turn."""
    now_running = {"status": "running", "owner": owner, "waiting_since": None}
    its = matching(threads, {"thread": thread, "user": user})
    connection.execute(update(threads).where(*its).values(now_running))


def listed(
    connection: Connection, filters: Mapping[str, Any], since: float | None = None
) -> list[dict[str, Any]]:
    """Return the threads that match; owner gone: interrupted.

    `since`: those alone that were touched then or later, or run.
    """
    others = [column for column in threads.c if column.name != "title"]
    title = func.coalesce(thread_titles.c.title, threads.c.title).label("title")
    named = threads.outerjoin(thread_titles, thread_titles.c.thread == threads.c.thread)
    found = select(*others, title).select_from(named).where(*matching(threads, filters))
    if since is not None:
        found = found.where(or_(threads.c.updated_at >= since, threads.c.status == "running"))
    query = found.order_by(threads.c.updated_at, threads.c.thread)
    return [_as_it_stands(connection, row) for row in rows_of(connection, query)]


Stamp = tuple[tuple[Any, ...], ...]
"""What a user has of threads, of what waits, of rules, and to be told on the page; compared alone."""


def stamps(connection: Connection, now: float) -> dict[str, Stamp]:
    """Return, by user, what differs once something of theirs has changed.

    With each turn that begins, waits or ends its thread's row changes, and so do its calls and its usage.
    """
    touched = select(threads.c.user, func.count(), func.max(threads.c.updated_at)).group_by(threads.c.user)
    named = select(threads.c.user, thread_titles).join(threads, threads.c.thread == thread_titles.c.thread)
    waits = select(threads.c.user, threads.c.thread, threads.c.waiting_since)
    waits = waits.where(threads.c.status == "waiting").order_by(threads.c.thread)
    agreed = select(rules.c.user, rules.c.id, rules.c.uses_left).order_by(rules.c.id)
    due = select(notices.c.user, func.count(), func.max(notices.c.at)).where(notices.c.at <= now)
    due = due.where(notices.c.place == PAGE, notices.c.kind != "question", notices.c.resolved_at.is_(None))
    found: dict[str, list[list[Any]]] = {}
    for place, query in enumerate(
        (touched, named.order_by(thread_titles.c.thread), waits, agreed, due.group_by(notices.c.user))
    ):
        for user, *its in connection.execute(query):
            found.setdefault(user, [[], [], [], []])[max(0, place - 1)].append(tuple(its))
    return {user: tuple(map(tuple, its)) for user, its in found.items()}


def rename(connection: Connection, thread: str, user: str, title: str) -> bool:
    """Call a user's thread by another title; False: they have none such."""
    its = matching(threads, {"thread": thread, "user": user})
    if connection.scalar(select(threads.c.thread).where(*its)) is None:
        return False
    row = insert(connection.dialect, thread_titles).values(thread=thread, title=title)
    connection.execute(row.on_conflict_do_update(index_elements=["thread"], set_={"title": title}))
    return True


class ThreadOrigin(NamedTuple):
    """Where something was said."""

    title: str
    channel: str
    """A messenger's name, or `schedule`; empty: the terminal, the page or another client."""
    is_named: bool = False
    """The title is one that its person gave it."""


def origins_of(connection: Connection, user: str, ids: Collection[str]) -> dict[str, ThreadOrigin]:
    """Return title and channel of those threads that are a user's."""
    title = func.coalesce(thread_titles.c.title, threads.c.title)
    named = threads.outerjoin(thread_titles, thread_titles.c.thread == threads.c.thread)
    query = (
        select(threads.c.thread, title, thread_titles.c.title.is_not(None))
        .select_from(named)
        .where(threads.c.thread.in_(ids))
    )
    theirs = connection.execute(query.where(threads.c.user == user, threads.c.status != "pruning"))
    planned = select(schedule_runs.c.thread, literal("schedule"))
    came = (select(received.c.thread, received.c.messenger), planned)
    found = [connection.execute(each.where(each.selected_columns[0].in_(ids))) for each in came]
    channels = {thread: channel for rows in found for thread, channel in rows}
    return {row[0]: ThreadOrigin(row[1] or "", channels.get(row[0], ""), bool(row[2])) for row in theirs}


def names(connection: Connection) -> set[str]:
    """Return the ids of all threads."""
    return set(connection.scalars(select(threads.c.thread)))


def forget(connection: Connection, thread: str, *, audit: bool) -> None:
    """Delete a thread's row, with `audit` its calls, too."""
    told = (threads, thread_titles, chats, received, deliveries, notices, undo_log)
    for table in (*told, unknown_outcomes, calls) if audit else told:
        connection.execute(delete(table).where(table.c.thread == thread))


def link_chat(connection: Connection, user: str, keys: Iterable[str], thread: str, now: float) -> None:
    """Note that a user's keys lead to a thread from now on."""
    for key in keys:
        row = insert(connection.dialect, chats).values(user=user, key=key, thread=thread, at=now)
        changes = {"thread": row.excluded.thread, "at": row.excluded.at}
        connection.execute(row.on_conflict_do_update(index_elements=["user", "key"], set_=changes))


def claim_chat(connection: Connection, user: str, key: str, thread: str, now: float) -> str:
    """Note a key unless it leads somewhere; return where it leads."""
    row = insert(connection.dialect, chats).values(user=user, key=key, thread=thread, at=now)
    connection.execute(row.on_conflict_do_nothing())
    return thread_of_chat(connection, user, key) or thread


def thread_of_chat(connection: Connection, user: str, key: str) -> str | None:
    """Return the thread that a user's key leads to; None: to none."""
    return connection.scalar(select(chats.c.thread).where(*matching(chats, {"user": user, "key": key})))


def needed_results(connection: Connection) -> Needed:
    """Return the long results that calls of the threads refer to."""
    columns = (calls.c.user, calls.c.tool, calls.c.args, calls.c.result_sha256)
    of_threads = select(*columns).where(calls.c.thread.in_(select(threads.c.thread)))
    return frozenset(
        name_of(row.user, handle)
        for row in connection.execute(of_threads)
        for handle in (row.result_sha256, _handle(row.args) if row.tool == "read_result" else None)
        if handle
    )


def _as_it_stands(connection: Connection, row: dict[str, Any]) -> dict[str, Any]:
    owner = row.pop("owner")
    gone = row["status"] == "running" and owner is not None and is_gone(connection, owner)
    return {**row, "status": "interrupted"} if gone else row


def _handle(args: str) -> str | None:
    found = parsed(args)
    handle = found.get("handle") if isinstance(found, dict) else None
    return handle.strip() if isinstance(handle, str) else None
