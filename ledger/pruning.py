"""What may go: a thread's rows, and the long results that no thread left needs."""

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, delete, select

from base.errors import StorageError
from ledger.tables import calls, doubts, threads
from storage.long_results import HANDLE_DIGITS, person_folder
from storage.sqlite import why

Needed = frozenset[tuple[str, str]]
"""Folders of persons, each with the digits of a handle."""

_ASIDE = "."
"""Begins the name of a file that is not whole yet, or about to go."""


def forget(connection: Connection, thread: str, *, audit: bool) -> None:
    """Delete a thread's row, and its calls where the audit is to go too."""
    connection.execute(delete(threads).where(threads.c.thread == thread))
    if audit:
        connection.execute(delete(doubts).where(doubts.c.thread == thread))
        connection.execute(delete(calls).where(calls.c.thread == thread))


def needed_results(connection: Connection) -> Needed:
    """Return the long results that the calls of the threads there are gave or read."""
    columns = (calls.c.user, calls.c.tool, calls.c.args, calls.c.result_sha256)
    of_threads = select(*columns).where(calls.c.thread.in_(select(threads.c.thread)))
    return frozenset(
        (person_folder(row.user), digits[:HANDLE_DIGITS])
        for row in connection.execute(of_threads)
        for digits in (row.result_sha256, _handle(row.args) if row.tool == "read_result" else None)
        if digits
    )


def sweep(root: Path, needed: Collection[tuple[str, str]], before: float) -> int:
    """Delete the stored results that are not needed and were last stored before a time; return how many.

    One that is stored again meanwhile is left: whoever stores it marks it, and finds it gone or keeps it.

    Raises:
        StorageError: the folder cannot be used.
    """
    try:
        return sum(_gone(path, before) for path in _stored(root) if _key(path) not in needed)
    except OSError as error:
        raise StorageError(f"The stored results in {root} cannot be deleted: {why(error)}.") from error


def _handle(args: str) -> str | None:
    try:
        found = json.loads(args)
    except ValueError:
        return None
    handle = found.get("handle") if isinstance(found, dict) else None
    return handle.strip() if isinstance(handle, str) else None


def _stored(root: Path) -> Iterator[Path]:
    yield from list(root.glob("*/??/*"))


def _key(path: Path) -> tuple[str, str]:
    return path.parent.parent.name, path.name[:HANDLE_DIGITS]


def _gone(path: Path, before: float) -> bool:
    """Put the file aside, and delete it unless it was stored again just before."""
    if path.stat().st_mtime >= before:
        return False
    aside = path.with_name(f"{_ASIDE}{path.name.removeprefix(_ASIDE)}")
    path.rename(aside)
    if aside.stat().st_mtime >= before:
        aside.rename(path)
        return False
    aside.unlink()
    with suppress(OSError):  # others are in it
        path.parent.rmdir()
    return True
