"""Long results, kept once under the hash of their content, each person's in a folder of their own.

    artifacts/<person>/ab/<SHA-256 of the content>[-outside]

A handle is the beginning of such a name, as in git, and is looked up in the asker's folder alone: with
somebody else's handle there is nothing to find. Whether strangers wrote the content is part of the name,
so that no way of reading it can lose that.
"""

import asyncio
import errno
import hashlib
import os
import re
import tempfile
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from base.errors import StorageError

_HANDLE = re.compile(r"[0-9a-f]{20}(-outside)?")
HANDLE_DIGITS = 20
"""Hex digits; 80 bits, so that nobody's results share a handle by accident."""
_OUTSIDE = "-outside"
_PERSON_LENGTH = 32
_REMEMBERED = 8_000_000
"""Bytes of pieces read lately that are kept in memory: what is shown again each round is read once."""
_LONGEST_CHARACTER = 4
"""Bytes, in UTF-8."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A text that is stored; the same for the same text."""

    handle: str
    size: int
    """Bytes in UTF-8."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a stored text, in whole characters; positions are bytes, the end is exclusive."""

    text: str
    start: int
    end: int
    size: int
    """Of the whole text."""


def is_outside(handle: str) -> bool:
    """Tell whether strangers wrote what a handle stands for."""
    return handle.endswith(_OUTSIDE)


def person_folder(user: str) -> str:
    """Return the name of a person's folder: theirs may be any text, and a folder's may not."""
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:_PERSON_LENGTH]


class Artifacts:
    """A folder of stored results; opening it touches nothing.

    Every method may raise StorageError.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pieces = _Memory(_REMEMBERED)

    async def put(self, user: str, text: str, *, outside: bool) -> Kept:
        """Store a text for a person; it is on disk, under its final name, when this returns.

        Args:
            user: whose it is; nobody else can read it.
            text: what to keep.
            outside: strangers wrote it.
        """
        return await asyncio.to_thread(self._put, user, text, outside=outside)

    async def read(self, user: str, handle: str, start: int, count: int) -> Piece | None:
        """Return about `count` bytes from `start` on, rounded to whole characters.

        Returns:
            None where the person has nothing of that handle.
        """
        wanted = (user, handle, max(0, start), count)
        piece = self._pieces.get(wanted)
        if piece is None:
            piece = await asyncio.to_thread(self._read, *wanted)
            if piece is not None:
                self._pieces.add(wanted, piece)
        return piece

    def _put(self, user: str, text: str, *, outside: bool) -> Kept:
        content = text.encode("utf-8", "replace")
        digest = hashlib.sha256(content).hexdigest()
        mark = _OUTSIDE if outside else ""
        path = self._folder(user, digest) / f"{digest}{mark}"
        try:
            if not _is_there(path):
                _make_folders(self._root.parent, path.parent)
                _write_once(path, content)
        except OSError as error:
            raise _explained(self._root, error) from error
        return Kept(digest[:HANDLE_DIGITS] + mark, len(content), digest)

    def _read(self, user: str, handle: str, start: int, count: int) -> Piece | None:
        try:
            path = self._find(user, handle)
            if path is None:
                return None
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(start)
                return _piece(file.read(count + _LONGEST_CHARACTER), start, count, size)
        except OSError as error:
            raise _explained(self._root, error) from error

    def _find(self, user: str, handle: str) -> Path | None:
        if not _HANDLE.fullmatch(handle):
            return None
        digits = handle[:HANDLE_DIGITS]
        found = self._folder(user, digits).glob(f"{digits}*")
        return min((path for path in found if is_outside(path.name) == is_outside(handle)), default=None)

    def _folder(self, user: str, digest: str) -> Path:
        return self._root / person_folder(user) / digest[:2]


class _Memory:
    """The pieces used last, up to a size; for any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._pieces: OrderedDict[tuple[str, str, int, int], Piece] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[str, str, int, int]) -> Piece | None:
        with self._lock:
            if key in self._pieces:
                self._pieces.move_to_end(key)
            return self._pieces.get(key)

    def add(self, key: tuple[str, str, int, int], piece: Piece) -> None:
        with self._lock:
            if key not in self._pieces:
                self._size += piece.end - piece.start
            self._pieces[key] = piece
            while self._size > self._most:
                _, oldest = self._pieces.popitem(last=False)
                self._size -= oldest.end - oldest.start


def _is_there(path: Path) -> bool:
    """Mark a file as stored just now, so that nobody sweeps it; False where there is none."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _write_once(path: Path, content: bytes) -> None:
    """Write a file that is whole wherever it can be seen, and survives a power cut."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")  # for its owner alone
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    _sync_folder(path.parent)


def _make_folders(above: Path, lowest: Path) -> None:
    """Make what is missing between two folders for its owner alone, which `parents` would not."""
    above.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = above
    for part in lowest.relative_to(above).parts:
        folder /= part
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _piece(data: bytes, start: int, count: int, size: int) -> Piece:
    first, last = _boundary(data, 0), _boundary(data, count)
    return Piece(data[first:last].decode("utf-8", "replace"), start + first, start + last, size)


def _boundary(data: bytes, at: int) -> int:
    """Return the first position from `at` on where a character begins, or the end."""
    while at < len(data) and data[at] & 0xC0 == 0x80:  # noqa: PLR2004 (how UTF-8 marks what goes on)
        at += 1
    return min(at, len(data))


def _explained(root: Path, error: OSError) -> StorageError:
    advice = (
        f"{error.strerror}; make it writable for you, or set TWOBRAIN_DATA_DIR to a directory that is yours"
    )
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        advice = "the disk is full; free some space and try again"
    return StorageError(f"The stored results in {str(root)!r} cannot be used: {advice}.")
