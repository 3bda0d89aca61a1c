"""The workspace: a folder for each person, and one that all share.

    TWOBRAIN_WORKSPACE/            of whoever is `local`
        shared/                    everybody's; in each person's folder it stands as shared/
        .people/alice/             alice's; there is no way into it but hers

Every component of a path is opened relative to the folder before it, from the root's own
descriptor, and links are never followed: a component that is swapped for a link between a check
and its use is refused by the system call that uses it.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from base.settings import LOCAL
from base.texts import visible
from base.worker_threads import is_cancelled
from tools.declaration import ToolFailure
from tools.files.folder import FOLDER_FLAGS, Entry, Folder, NothingThereError, Parts, typed

SHARED = "shared"
PEOPLE = ".people"
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""Names that are one folder's on every file system; others are told apart by their hash."""
_SLUG = 40
"""Characters of such a name that its folder shows."""


def folder_of(user: str) -> str:
    """Return the name of a person's folder.

    No two people have the same on any file system, whatever their names hold.
    """
    if _PLAIN.fullmatch(user):
        return user
    slug = re.sub(r"[^a-z0-9_-]+", "-", user.lower()).strip("-")[:_SLUG]
    return f"{slug}~{hashlib.sha256(user.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A person's folder, made on first use; its methods raise ToolFailure."""

    root: Path
    user: str
    closed: Path
    """The data directory, which stays shut where it lies below: whoever reads a database beside SQLite takes
    this process's locks on it away (https://sqlite.org/howtocorrupt.html, 2.2)."""

    @property
    def path(self) -> Path:
        """Return where their folder is."""
        return self.root.joinpath(*self._own)

    @property
    def _own(self) -> Parts:
        return (PEOPLE, folder_of(self.user)) if self.user != LOCAL else ()

    def place(self, path: str) -> Parts:
        """Return a path's components below their folder; none for itself."""
        own, parts = self._own, parts_below((self.root,), path)
        if path.startswith("/"):
            parts = parts_below((self.root.resolve(),), path) if parts is None else parts
            if own and parts:
                parts = parts[2:] if parts[:2] == own else parts if parts[0] == SHARED else None
        if parts is None or parts[:1] in {("..",), ("~",)}:
            raise ToolFailure(
                f"{path!r} is outside the workspace. Give a path relative to it, such as notes.txt."
            )
        first = caseless(parts[0]) if parts else ""
        if first == PEOPLE and not own:
            raise NothingThereError(f"There is no folder {parts[0]!r}.")
        if first == SHARED != parts[0] and own:
            raise ToolFailure(f"{parts[0]!r} could be taken for the shared folder; write it {SHARED!r}.")
        return parts

    def absolute(self, path: str) -> Path:
        """Return where a path is on this machine."""
        parts = self.place(path)
        return (self.root if parts[:1] == (SHARED,) else self.path).joinpath(*parts)

    def whose(self, path: str) -> str:
        """Say whose folder a path is in; empty: local's."""
        if self.user == LOCAL:
            return ""
        is_shared = self.place(path)[:1] == (SHARED,)
        return " in the shared folder" if is_shared else f" in {visible(self.user)}'s folder"

    @contextmanager
    def folder(self, parts: Parts, *, create: bool = False) -> Iterator[Folder]:
        """Open a folder, component by component."""
        try:
            for path in reversed((self.root, *self.root.parents)):
                if not path.exists():
                    path.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self.root, FOLDER_FLAGS)
        except OSError as error:
            raise ToolFailure(
                f"The workspace {str(self.root)!r} cannot be opened ({error.strerror}); "
                "TWOBRAIN_WORKSPACE names it."
            ) from None
        with ExitStack() as opened:
            opened.callback(os.close, handle)
            folder = Folder(handle, ())
            self._check_open(folder)
            for name in self._own:
                folder = opened.enter_context(folder.below(name, create=True))
            folder = Home(folder.handle, (), handle, is_root=not self._own)
            for name in parts:
                folder = opened.enter_context(folder.below(folder.meant(name), create=create))
                self._check_open(folder)
            yield folder

    def _check_open(self, folder: Folder) -> None:
        with suppress(OSError):
            if os.path.samestat(os.fstat(folder.handle), self.closed.stat()):
                raise ToolFailure(
                    f"The folder {str(self.closed)!r} holds what twobrain itself stores; no tool opens it."
                )

    @contextmanager
    def parent(self, path: str, *, create: bool = False) -> Iterator[tuple[Folder, str]]:
        """Open the folder of a path's last component; yield both."""
        parts = self.place(path)
        if not parts:
            raise ToolFailure(f"{path!r} is the workspace folder itself; name a file in it.")
        with self.folder(parts[:-1], create=create) as folder:
            yield folder, folder.meant(parts[-1])

    def walk(self, parts: Parts) -> Iterator[tuple[Folder, Entry]]:
        """Yield every file below a folder, with its own open folder.

        A folder that goes away or cannot be read meanwhile is passed over.
        """
        waiting = [parts]
        while waiting and not is_cancelled():
            here = waiting.pop()
            with suppress(ToolFailure), self.folder(here) as folder:
                found = folder.contents()
                waiting += [(*here, entry.name) for entry in reversed(found) if entry.kind == "folder"]
                yield from ((folder, entry) for entry in found if entry.kind == "file")


@dataclass(frozen=True, slots=True)
class Home(Folder):
    """A person's own folder, in which the shared one stands."""

    root: int
    """Handle of the folder that the shared one and all people's lie in."""
    is_root: bool
    """It is that folder itself."""

    @contextmanager
    def below(self, name: str, *, create: bool = False) -> Iterator[Folder]:
        """Open a folder in this one."""
        is_shared = name == SHARED and not self.is_root
        around = Folder(self.root if is_shared else self.handle, ())
        with around.below(name, create=create or is_shared) as folder:
            yield folder

    def look(self, name: str) -> Entry | None:
        """Describe a name; None where nothing bears it."""
        if not self.is_root and name == SHARED:
            return Entry(SHARED, "folder", 0, 0o700)
        return None if self.is_root and caseless(name) == PEOPLE else Folder.look(self, name)

    def names(self) -> list[str]:
        """Return the names in the folder, sorted."""
        hidden = PEOPLE if self.is_root else SHARED
        names = [name for name in Folder.names(self) if caseless(name) != hidden]
        return names if self.is_root else sorted([*names, SHARED])


def parts_below(roots: Iterable[Path], path: str) -> Parts | None:
    """Return a path's components below a folder; None: it is outside."""
    clean = ".." if "\0" in path else os.path.normpath(path or ".")
    for root in roots if clean.startswith("/") else ():
        with suppress(ValueError):
            clean = str(Path(clean).relative_to(root))
            break
    return None if clean.startswith("/") else tuple(part for part in clean.split("/") if part != ".")


def caseless(name: str) -> str:
    """Return a name as the most lenient file systems tell it apart."""
    return typed(name).casefold()
