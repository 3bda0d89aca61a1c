"""SQLite as it is opened: private files, write-ahead logs; error messages."""

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from base.errors import StorageError

BUSY_S = 30
"""Seconds to wait for another process's transaction."""

_RETRY_S = 0.01

_DISK_FULL = "the disk is full; free some space and try again"
_DAMAGED = "it is damaged or not a database; put back a copy, or move it away and do without what it held"
_TOO_MANY_FILES = "too many files are open at once; raise the limit (ulimit -n)"
_ELSEWHERE = "set TWOBRAIN_DATA_DIR to a directory that is yours"
_MEND = f"make it and its directory writable, or {_ELSEWHERE}"
_CLOSED = f"it cannot be written; {_MEND}"
_BUSY = f"another process has locked it for {BUSY_S} s; end that process or try again later"
_ERRNO: Mapping[int | None, str] = {
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: _DISK_FULL,
    errno.EMFILE: _TOO_MANY_FILES,
    errno.ENFILE: _TOO_MANY_FILES,
}
_ADVICE = {
    "SQLITE_FULL": _DISK_FULL,
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_READONLY": _CLOSED,
    "SQLITE_CANTOPEN": _CLOSED,
    "SQLITE_PERM": _CLOSED,
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
}


_CREATING = threading.Lock()


def create_private(path: Path) -> Path:
    """Have a file and its folder, private if new; return the path.

    One that is there is not opened: to close a database takes away all locks that this process has on it
    (https://sqlite.org/howtocorrupt.html, 2.2), and another process then deletes a log that is in use.

    Raises:
        OSError: it cannot be created.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _CREATING, suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    return path


def make_private(path: Path) -> None:
    """Narrow what an older or foreign hand left open to others."""
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if file.exists():
            file.chmod(0o600)


def configure(connection: sqlite3.Connection) -> None:
    """Have each commit synced to a write-ahead log, and locks waited for.

    To switch to that log SQLite itself does not wait for others.

    Raises:
        sqlite3.OperationalError: it took too long.
    """
    connection.execute(f"PRAGMA busy_timeout={BUSY_S * 1000}")
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            connection.execute("PRAGMA synchronous=FULL")
            return


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise a file's error as a StorageError; `what` names it."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{what} cannot be used: {why(error)}.") from error


def why(error: Exception) -> str:
    """Return a database error's meaning, and what to do."""
    cause: Any = getattr(error, "orig", None) or error  # as SQLAlchemy wraps it
    if isinstance(cause, FileExistsError | NotADirectoryError):
        return f"a file stands where its directory should be; {_ELSEWHERE}"
    if isinstance(cause, OSError):
        return _ERRNO.get(cause.errno, f"{cause.strerror}; {_MEND}")
    known = getattr(cause, "sqlite_errorname", None) or ""
    for name, advice in _ADVICE.items():
        if known.startswith(name):
            return advice
    return str(cause).rstrip(".")
