"""An open folder, used through its descriptor; links are never followed."""

import os
import secrets
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from base.texts import count, visible
from tools.declaration import ToolFailure, Untrusted
from tools.files.encodings import Text, read

Parts = tuple[str, ...]
Kind = Literal["file", "folder", "link", "special"]

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a named pipe would wait for its other end.
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
_SHOWN_NAMES = 20
_LARGEST_READ = 1_000_000
"""Bytes of a file that is read."""
_TYPED = str.maketrans(
    dict.fromkeys("\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))), " ")
    | dict(zip("\u2018\u2019\u201c\u201d\u2010\u2011", "''\"\"--", strict=True))
)
"""Blanks, quotation marks and hyphens that programs put where a person types the plain one."""


class NothingThereError(ToolFailure):
    """There is no file or folder of that name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a folder, and what it stands for."""

    name: str
    kind: Kind
    size: int
    """Bytes."""
    mode: int
    """Permission bits."""

    def __str__(self) -> str:
        name = visible(self.name)
        return f"{name}/" if self.kind == "folder" else name


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder of the workspace; its methods raise ToolFailure."""

    handle: int
    parts: Parts

    def path(self, name: str) -> str:
        """Return the path of a name in it, from the workspace's root."""
        return "/".join((*self.parts, name))

    @contextmanager
    def below(self, name: str, *, create: bool = False) -> Iterator["Folder"]:
        """Open a folder in this one."""
        with said(self.path(name)):
            if create:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=self.handle)
            self.require(name, "folder")
            handle = os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=self.handle)
        try:
            yield Folder(handle, (*self.parts, name))
        finally:
            os.close(handle)

    def look(self, name: str) -> Entry | None:
        """Describe a name; None where nothing bears it."""
        with said(self.path(name)):
            try:
                status = os.stat(name, dir_fd=self.handle, follow_symlinks=False)
            except FileNotFoundError:
                return None
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "special")
        return Entry(name, kind, status.st_size, stat.S_IMODE(status.st_mode))

    def require(self, name: str, kind: Kind) -> Entry:
        """Describe a name of that kind; refuse anything else."""
        found = self.look(name)
        if found and found.kind == kind:
            return found
        path = repr(self.path(name))
        match found.kind if found else None:
            case None:
                raise NothingThereError(Untrusted(f"There is no {kind} {path}. {self.holds()}"))
            case "link":
                raise ToolFailure(f"{path} is a link; links are not followed.")
            case "folder":
                with self.below(name) as folder:
                    raise ToolFailure(Untrusted(f"{path} is a folder, not a {kind}. {folder.holds()}"))
            case "file":
                raise ToolFailure(f"{path} is a file, not a {kind}.")
        raise ToolFailure(f"{path} is a device, pipe or socket, not a {kind}.")

    def meant(self, name: str) -> str:
        """Return the name, else the only one there typed alike."""
        alike = [] if self.look(name) else [each for each in self.names() if typed(each) == typed(name)]
        if len(alike) > 1:
            each = ", ".join(map(ascii, alike))
            raise ToolFailure(Untrusted(f"{self.path(name)!r} may be any of {each}. Give one as it is here."))
        return alike[0] if alike else name

    def names(self) -> list[str]:
        """Return the names in the folder, sorted."""
        with said("/".join(self.parts) or "."):
            return sorted(os.listdir(self.handle))  # noqa: PTH208 (a descriptor, not a path)

    def contents(self, names: Sequence[str] | None = None) -> list[Entry]:
        """Describe names in the folder; None: all of them."""
        names = self.names() if names is None else names
        return [entry for name in names if (entry := self.look(name))]

    def holds(self) -> str:
        """Say what the folder holds, the first names of it."""
        where = f"The folder {'/'.join(self.parts)!r}" if self.parts else "The workspace"
        names = self.names()
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        first = ", ".join(map(str, self.contents(names[:_SHOWN_NAMES])))
        return f"{where} holds: {first}{more}." if names else f"{where} is empty."

    def data(self, name: str, most: int) -> bytes | None:
        """Return what a file holds; None: more than so many bytes."""
        size = self.require(name, "file").size
        with said(self.path(name)), os.fdopen(os.open(name, _READ_FLAGS, dir_fd=self.handle), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ToolFailure(f"{self.path(name)!r} changed while it was opened.")
            data = file.read(most + 1) if size <= most else None
        return None if data is None or len(data) > most else data

    def text(self, name: str) -> Text:
        """Return what a text file holds; one too large is refused unread."""
        size, data = self.require(name, "file").size, self.data(name, _LARGEST_READ)
        if data is None:
            limit = f"{count(size, 'byte')}, and {_LARGEST_READ:,} is the most"
            raise ToolFailure(f"{self.path(name)!r} is too large to read: {limit}.")
        if found := read(data):
            return found
        raise ToolFailure(f"{self.path(name)!r} is binary, not text ({count(size, 'byte')}).")

    def write(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """Put a file in place at once; `mode` is a new one's."""
        mode = self.require(name, "file").mode if self.look(name) else mode
        temporary = f".twobrain-{secrets.token_hex(8)}.tmp"
        with said(self.path(name)):
            try:
                with os.fdopen(os.open(temporary, _NEW_FLAGS, 0o600, dir_fd=self.handle), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fchmod(file.fileno(), mode)
                    os.fsync(file.fileno())
                os.replace(temporary, name, src_dir_fd=self.handle, dst_dir_fd=self.handle)
            except OSError:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=self.handle)
                raise
            os.fsync(self.handle)

    def delete(self, name: str) -> None:
        """Remove a file."""
        self.require(name, "file")
        with said(self.path(name)):
            os.unlink(name, dir_fd=self.handle)
            os.fsync(self.handle)


def typed(text: str) -> str:
    """Return a text as a person types it: composed, with plain blanks."""
    return text if text.isascii() else unicodedata.normalize("NFC", text.translate(_TYPED))


@contextmanager
def said(path: str) -> Iterator[None]:
    """Turn the system's refusals into ToolFailure."""
    try:
        yield
    except OSError as error:
        raise ToolFailure(f"{path!r}: {(error.strerror or str(error)).lower()}.") from None
