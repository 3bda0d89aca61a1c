"""The locks of the threads whose turns are under way; with a process that ends, its locks are gone."""

import hashlib
import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

if os.name == "posix":
    import fcntl


class Locks(Protocol):
    """Locks of a folder; each instance is another holder. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when the first lock is needed."""

    def take(self, thread_id: str) -> Any:
        """Return the lock of a thread, without waiting; None where another holds it."""

    def let_go(self, held: Any) -> None:
        """Let go of a lock."""

    def is_held(self, thread_id: str) -> bool:
        """Tell whether another holds a thread's lock."""

    def holder(self, thread_id: str) -> int | None:
        """Return the process that took a thread's lock last; None: it is not known."""


class Ranges:
    """A byte of one file for each thread: to create a file takes longer than all else that begins a turn.

    For Linux, where such a lock belongs to whoever opened the file. Elsewhere it belongs to the process,
    which would lose all of them when anything in it closes the file.
    """

    _SLOTS = 256
    """Places for who holds what; two threads that share one overwrite each other, and are told apart."""
    _SLOT = struct.Struct("=qq")
    """A thread's place among the locks, and a process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "locks"
        self._file: int | None = None
        self._users: Counter[int] = Counter()
        """By open file; the last one closes it."""

    def take(self, thread_id: str) -> tuple[int, int] | None:
        """Return the open file and the thread's place in it; None where another holds that."""
        place = _place(thread_id)
        with self._using() as file:
            try:
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, _range(fcntl.F_WRLCK, place))
            except BlockingIOError:
                return None
            with suppress(OSError):  # the disk is full: the lock holds all the same
                os.pwrite(file, self._SLOT.pack(place, os.getpid()), self._slot(place))
            self._users[file] += 1
            return file, place

    def let_go(self, held: tuple[int, int]) -> None:
        """Let go of a place."""
        file, place = held
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _range(fcntl.F_UNLCK, place))
        self._leave(file)

    def is_held(self, thread_id: str) -> bool:
        """Tell whether another holds it."""
        asked = _range(fcntl.F_WRLCK, _place(thread_id))
        with self._using() as file:
            found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked)
        return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)

    def holder(self, thread_id: str) -> int | None:
        """Return the process that wrote itself in last."""
        place = _place(thread_id)
        with self._using() as file:
            found = os.pread(file, self._SLOT.size, self._slot(place))
        if len(found) < self._SLOT.size:
            return None
        whose, process = self._SLOT.unpack(found)
        return process if whose == place else None

    @contextmanager
    def _using(self) -> Iterator[int]:
        """Have the file open: the one that others hold here, unless it was taken away."""
        if self._file is None or not os.fstat(self._file).st_nlink:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        file = self._file
        self._users[file] += 1
        try:
            yield file
        finally:
            self._leave(file)

    def _leave(self, file: int) -> None:
        self._users[file] -= 1
        if not self._users[file]:
            del self._users[file]
            os.close(file)
            self._file = None if self._file == file else self._file

    def _slot(self, place: int) -> int:
        return place % self._SLOTS * self._SLOT.size


_FLOCK = struct.Struct("@hhqqi4x")
"""The kernel's `struct flock`: type, whence, start, length, process."""


def _range(kind: int, place: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0)


def _place(thread_id: str) -> int:
    """Return a thread's own place: 62 bits, for the kernel knows no further ones than 63."""
    return int.from_bytes(_digest(thread_id).digest()[:8], "big") >> 2


def _digest(thread_id: str) -> Any:
    return hashlib.sha256(thread_id.encode("utf-8", "surrogatepass"))


class Files:
    """A file for each thread whose turn is under way. On Windows, nothing is locked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, thread_id: str) -> tuple[Path, int] | None:
        """Return the thread's file and its descriptor; None where another holds it."""
        path = self._path(thread_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            if _lock(descriptor) and _is_at(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
                return path, descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def let_go(self, held: tuple[Path, int]) -> None:
        """Take the file away while it is still locked; whoever opened it meanwhile opens the next one.

        One that cannot be taken away is in nobody's way: it is not locked any more.
        """
        path, descriptor = held
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)

    def is_held(self, thread_id: str) -> bool:
        """Tell whether another holds it."""
        try:
            descriptor = os.open(self._path(thread_id), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not _lock(descriptor)
        finally:
            os.close(descriptor)

    def holder(self, thread_id: str) -> int | None:
        """Return the process that wrote itself in last."""
        try:
            return int(self._path(thread_id).read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _path(self, thread_id: str) -> Path:
        name: str = _digest(thread_id).hexdigest()
        return self._folder / name


def _lock(descriptor: int) -> bool:
    if os.name != "posix":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether the file is still in its place: whoever held it before takes it away."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


BEST: type[Locks] = Ranges if os.name == "posix" and hasattr(fcntl, "F_OFD_SETLK") else Files
"""Of this system."""
