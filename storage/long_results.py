"""Long results, stored once for each person by their hash.

    artifacts/<person>/ab/<SHA-256 of the content>[-untrusted]

A handle is the beginning of such a name, as in git, and is looked up in the asker's folder alone: with
somebody else's handle there is nothing to find. Whether the content is untrusted is part of the name,
so that no way of reading it can lose that.
"""

import asyncio
import hashlib
import os
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from storage.sqlite import explained

Needed = frozenset[tuple[str, str]]
"""Folders of persons, each with the digits of a handle; see `name_of`."""

_UNTRUSTED = "-untrusted"
_HANDLE = re.compile(rf"[0-9a-f]{{20}}({_UNTRUSTED})?")
_HANDLE_DIGITS = 20
"""Hex digits; 80 bits, so that nobody's results share a handle by accident."""
_ASIDE = "."
"""Begins the name of a file that is not whole yet, or about to go."""
_PERSON_LENGTH = 32
_CACHED_PIECES = 500
"""Pieces in memory, each of 16 KB at the most as models are shown them: a turn of 15 rounds shows its long
results again in each, some 100 reads, which take 30 ms longer from the disk."""
LONGEST_CHARACTER = 4
"""Bytes, in UTF-8."""


@dataclass(frozen=True, slots=True)
class LongResult:
    """A stored text; the same for the same text."""

    handle: str
    size: int
    """Bytes in UTF-8."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a stored text; positions are bytes, the end exclusive."""

    text: str
    start: int
    end: int
    size: int
    """Of the whole text."""


def is_untrusted(handle: str) -> bool:
    """Tell whether a handle stands for untrusted content."""
    return handle.endswith(_UNTRUSTED)


def name_of(user: str, handle: str) -> tuple[str, str]:
    """Return a person's folder and a handle's, or a hash's, digits."""
    person = hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()  # a name may be any text
    return person[:_PERSON_LENGTH], handle[:_HANDLE_DIGITS]


def is_handle(text: str) -> bool:
    """Tell whether a text can be a handle."""
    return _HANDLE.fullmatch(text) is not None


def content_of(text: str, *, untrusted: bool) -> tuple[bytes, LongResult]:
    """Return a text's bytes, and what they are known by."""
    content = text.encode("utf-8", "replace")
    digest = hashlib.sha256(content).hexdigest()
    handle = digest[:_HANDLE_DIGITS] + (_UNTRUSTED if untrusted else "")
    return content, LongResult(handle, len(content), digest)


def piece_of(data: bytes, start: int, count: int, size: int) -> Piece:
    """Return whole characters of bytes read from `start` on."""
    first, last = _boundary(data, 0), _boundary(data, count)
    return Piece(data[first:last].decode("utf-8", "replace"), start + first, start + last, size)


class LongResults(ABC):
    """The results stored, wherever that is.

    Every method may raise StorageError.
    """

    def __init__(self) -> None:
        self._cached = lru_cache(_CACHED_PIECES)(self._read)

    async def put(self, user: str, text: str, *, untrusted: bool) -> LongResult:
        """Store a text, on disk on return; that person alone reads it."""
        return await asyncio.to_thread(self._put, user, text, untrusted=untrusted)

    async def read(self, user: str, handle: str, start: int, count: int) -> Piece | None:
        """Return about `count` bytes from `start` on, rounded to whole characters.

        Returns:
            None where the person has nothing of that handle.
        """
        try:
            return await asyncio.to_thread(self._cached, user, handle, max(0, start), count)
        except LookupError:  # raised, so that it is looked for again
            return None

    async def sweep(self, needed: Collection[tuple[str, str]], before: float) -> int:
        """Delete results not needed and stored before a time; return how many.

        `needed` is named by `name_of`; `before` is in seconds since the epoch. One that is stored again
        meanwhile is left: whoever stores it marks it, and finds it gone or there.
        """
        return await asyncio.to_thread(self._sweep, needed, before)

    @abstractmethod
    def _put(self, user: str, text: str, *, untrusted: bool) -> LongResult:
        """Store a text; blocks."""

    @abstractmethod
    def _read(self, user: str, handle: str, start: int, count: int) -> Piece:
        """Return a piece; blocks. LookupError: there is nothing of that handle."""

    @abstractmethod
    def _sweep(self, needed: Collection[tuple[str, str]], before: float) -> int:
        """Delete what is not needed, and return how many; blocks."""


class ResultFiles(LongResults):
    """A folder of stored results; opening it touches nothing."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._what = f"The stored results in {str(root)!r}"

    def _put(self, user: str, text: str, *, untrusted: bool) -> LongResult:
        content, result = content_of(text, untrusted=untrusted)
        digest = result.sha256
        path = self._folder(user, digest) / f"{digest}{_UNTRUSTED if untrusted else ''}"
        with explained(self._what):
            try:
                os.utime(path)  # it is stored just now
            except FileNotFoundError:
                _make_folders(self._root.parent, path.parent)
                _write_once(path, content)
        return result

    def _read(self, user: str, handle: str, start: int, count: int) -> Piece:
        with explained(self._what):
            path = self._find(user, handle)
            if path is None:
                raise LookupError(handle)
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(start)
                data = file.read(count + LONGEST_CHARACTER)
        return piece_of(data, start, count, size)

    def _sweep(self, needed: Collection[tuple[str, str]], before: float) -> int:
        with explained(self._what):
            return sum(
                _deleted(path, before)
                for path in list(self._root.glob("*/??/*"))
                if (path.parents[1].name, path.name[:_HANDLE_DIGITS]) not in needed
            )

    def _find(self, user: str, handle: str) -> Path | None:
        if not is_handle(handle):
            return None
        digits = handle[:_HANDLE_DIGITS]
        found = self._folder(user, digits).glob(f"{digits}*")
        return min((path for path in found if is_untrusted(path.name) == is_untrusted(handle)), default=None)

    def _folder(self, user: str, digest: str) -> Path:
        return self._root / name_of(user, digest)[0] / digest[:2]


def _deleted(path: Path, before: float) -> bool:
    """Delete a file, unless it was stored again just before."""
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


def _write_once(path: Path, content: bytes) -> None:
    """Write a file atomically, so that it survives a power cut."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_ASIDE)  # for its owner alone
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
    """Make the missing folders private, which `parents` would not."""
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


def _boundary(data: bytes, at: int) -> int:
    """Return the first position from `at` where a character begins."""
    while at < len(data) and data[at] & 0xC0 == 0x80:  # noqa: PLR2004 (how UTF-8 marks what goes on)
        at += 1
    return min(at, len(data))
