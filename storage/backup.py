"""Backups of a data directory, made while it is used, restored whole.

What a conversation says was done must be in the ledger of the same backup, else it would be done again. The
ledger is written first, so it is copied last of the two. What the ledger says was done must be there too: so
memories, long results and files are copied after it.
"""

import ctypes
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from base.data_dir import CHECKPOINTS, LEDGER, SERVER, SERVER_LOCK, THREAD_LOCKS
from base.errors import StorageError
from storage.sqlite import BUSY_S, create_private, explained, why
from storage.thread_lock import take_file

MANIFEST = "manifest.json"
"""Written last: a backup without it was cut short."""
DUMP = "database.dump"
"""Postgres's, where what is shared is there."""
_DATA = "data"
"""Where its copies lie."""
_LEFT_OUT = {THREAD_LOCKS, SERVER, SERVER_LOCK}
"""Locks, and what LangGraph's server pickles: to load that would run code of whoever wrote the backup."""
_BESIDE = ("-wal", "-shm", "-journal")
"""Files that SQLite puts beside a database; a copy of it is whole without them."""
_EXCHANGE = 2
"""Linux's RENAME_EXCHANGE."""
_HERE = -100
"""Linux's AT_FDCWD."""


def back_up(
    folder: Path, target: Path, about: Mapping[str, Any], dump: Callable[[Path], None] | None = None
) -> Iterator[str]:
    """Copy a data directory; yield each file's name before it is copied.

    `about` goes into the manifest. `dump` copies the database where all that is shared is in one; it goes
    first, so that the files that it names are there.

    Raises:
        StorageError: there is nothing to copy, the target is not empty, or either cannot be used.
    """
    folder, target = folder.resolve(), target.resolve()
    with explained(f"The backup {target}"):
        if not dump and not (folder / LEDGER).is_file():
            raise StorageError(f"There is nothing to back up in {folder}: it holds no {LEDGER}.")
        if target.is_relative_to(folder):
            raise StorageError(f"The backup cannot lie in what it is of: name a folder outside of {folder}.")
        if target.exists() and any(target.iterdir()):
            raise StorageError(f"The folder {target} is not empty. Name one that is new, or empty it.")
        _make(target / _DATA)
        target.chmod(0o700)
        files: dict[str, str] = {}
        if dump:
            yield DUMP
            dump(target / DUMP)
            about = {**about, "database": _digest(target / DUMP)}
        for name in _names(folder) if folder.is_dir() else ():
            yield name
            copy = _copy_database if _is_database(name) else _copy_file
            with suppress(FileNotFoundError):  # somebody has deleted it since
                files[name] = copy(folder / name, target / _DATA / name)
        made_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        told = json.dumps({**about, "made_at": made_at, "files": files}, indent=1)
        part = create_private(target / f"{MANIFEST}.part")
        part.write_text(told, encoding="utf-8")
        os.sync()
        part.rename(target / MANIFEST)


def manifest_of(source: Path) -> dict[str, Any]:
    """Return what a backup says of itself.

    Raises:
        StorageError: it is no whole backup.
    """
    try:
        found = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StorageError(
            f"{source} is no backup: it has no {MANIFEST}. One that was cut short has none; make it anew."
        ) from None
    except (OSError, ValueError) as error:
        raise StorageError(f"The backup {source} cannot be read: {error}.") from None
    if not isinstance(found, dict) or not isinstance(found.get("files"), dict):
        raise StorageError(f"The backup {source} is damaged: its {MANIFEST} is none.")
    return found


def restore(
    source: Path, folder: Path, *, force: bool = False, load: Callable[[Path], None] | None = None
) -> Path | None:
    """Put a backup in a data directory's place, in one step.

    A kill leaves the old or the new one.

    With `force` what was there is moved aside. `load` puts the database's copy back, in one step as well,
    before the files.

    Returns:
        Where that is now; None: nothing was there.

    Raises:
        StorageError: the backup is damaged, data are there, somebody uses them, or it cannot be written.
    """
    source, folder = source.resolve(), folder.resolve()
    manifest = manifest_of(source)
    files = manifest["files"]
    if bool(load) != ("database" in manifest):
        where = "SQLite's files" if load else "Postgres"
        raise StorageError(f"The backup {source} is of {where}: set TWOBRAIN_DATABASE_URL as it was there.")
    if load and _digest(source / DUMP) != manifest["database"]:
        raise StorageError(f"The backup {source} is damaged: its {DUMP!r} is not what was copied.")
    if _has_data(folder) and not force:
        raise StorageError(
            f"The data directory {folder} holds data. To put the backup in its place and keep it beside, say "
            "--force; else name another directory with TWOBRAIN_DATA_DIR."
        )
    with explained(f"The data directory {folder}"):
        _make(folder.parent)
        made = Path(tempfile.mkdtemp(prefix=f"{folder.name}.restoring-", dir=folder.parent))
        try:
            _fill(made, source, files)
            os.sync()
            _check_unused(folder)
            if load:
                load(source / DUMP)
            return _put_in_place(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _names(folder: Path) -> list[str]:
    """Return what is copied, by relative path, in order."""
    found = []
    for place, folders, files in os.walk(folder):
        if Path(place) == folder:
            folders[:] = [name for name in folders if name not in _LEFT_OUT]
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found += [str((Path(place) / name).relative_to(folder)) for name in (*files, *links)]
    databases = {name for name in found if _is_database(name)}
    beside = {f"{name}{ending}" for name in databases for ending in _BESIDE}
    first = [name for name in (CHECKPOINTS, LEDGER) if name in databases]
    others = sorted(set(found) - beside - _LEFT_OUT - set(first), key=lambda name: name not in databases)
    return [*first, *others]


def _is_database(name: str) -> bool:
    return "/" not in name and name.endswith(".db")


def _copy_file(path: Path, target: Path) -> str:
    """Copy a file or a link, private; return its digest.

    Raises:
        FileNotFoundError: it is gone, or neither.
    """
    _make(target.parent)
    if path.is_symlink():
        target.symlink_to(path.readlink())
        return f"link:{path.readlink()}"
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise FileNotFoundError(errno.ENOENT, "no file", str(path))
    with path.open("rb") as old, create_private(target).open("wb") as new:
        shutil.copyfileobj(old, new)
    target.chmod(0o600 | mode & 0o100)
    return _digest(target)


def _copy_database(path: Path, target: Path) -> str:
    """Copy a database as it stands, while others write; return its digest."""
    with (
        closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_S)) as old,
        closing(sqlite3.connect(create_private(target), isolation_level=None)) as new,
    ):
        old.backup(new)
        new.execute("PRAGMA journal_mode=DELETE")  # one file, and no other beside it
        if (found := new.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise StorageError(f"The database {path} is damaged ({found}): see `twobrain doctor` first.")
    return _digest(target)


def _make(folder: Path) -> None:
    """Make a folder and those above it, all for their owner alone."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_data(folder: Path) -> bool:
    return folder.is_file() or any(path.is_file() or path.is_symlink() for path in folder.rglob("*"))


def _fill(made: Path, source: Path, files: Mapping[str, Any]) -> None:
    """Copy a backup, and check that it is as it was made."""
    for name, digest in files.items():
        path = Path(name)
        if path.is_absolute() or ".." in path.parts or (made / path).parent.resolve() != made / path.parent:
            raise StorageError(
                f"The backup {source} is damaged: it names {name!r}, which lies outside of it."
            )
        try:
            copied = _copy_file(source / _DATA / name, made / name)
        except FileNotFoundError:
            raise StorageError(f"The backup {source} is damaged: its {name!r} is missing.") from None
        if copied != digest:
            raise StorageError(f"The backup {source} is damaged: its {name!r} is not what was copied.")


def _check_unused(folder: Path) -> None:
    """Check that no other process has a data directory's databases open."""
    lock = folder / SERVER_LOCK
    if lock.exists():
        held = take_file(lock, "restore")
        if held is None:
            raise StorageError(
                f"A server uses the data directory {folder} ({lock.read_text()}). End it first."
            )
        os.close(held)
    for path in sorted(folder.glob("*.db")):
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as database:
            try:
                database.execute("PRAGMA journal_mode=DELETE")  # refused while another has it open
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    continue  # damaged: who restores may have come for that
                raise StorageError(
                    f"Another process uses {path}: a chat, a turn, a server. End it first."
                ) from None
            except sqlite3.DatabaseError:
                continue


def _put_in_place(made: Path, folder: Path) -> Path | None:
    """Give a new directory an old one's name; return the old one's."""
    try:
        if not folder.exists() or not any(folder.iterdir()):
            made.rename(folder)
            return None
        prefix = f"{folder.name}.before-{time.strftime('%Y%m%d-%H%M%S')}-"
        aside = made.rename(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
        if not _exchange(aside, folder):
            aside.rename(made)
            folder.rename(aside)
            made.rename(folder)
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM}:
            raise
        raise StorageError(
            f"The data directory {folder} cannot be replaced as a whole: {why(error)}. Where it is a mounted "
            "volume, name a folder within that with TWOBRAIN_DATA_DIR."
        ) from None
    return aside


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories in one step; False: this system cannot."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)
