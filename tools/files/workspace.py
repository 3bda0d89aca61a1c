"""The workspace: the one folder that file tools may touch.

Every component of a path is opened relative to the folder before it, from the root's own
descriptor, and links are never followed: a component that is swapped for a link between a check
and its use is refused by the system call that uses it.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from base.worker_threads import is_cancelled
from tools.declaration import ToolFailure
from tools.files.folder import FOLDER_FLAGS, Entry, Folder, Parts


@dataclass(frozen=True, slots=True)
class Workspace:
    """A root folder, made on first use; its methods raise ToolFailure."""

    root: Path
    real: Path | None = None
    """The root without links in its path; None: it is looked up when a path begins with a slash."""

    def place(self, path: str) -> Parts:
        """Return a path's components below the root; none for the root itself."""
        clean = ".." if "\0" in path else os.path.normpath(path or ".")
        for root in (self.root, self.real or self.root.resolve()) if clean.startswith("/") else ():
            with suppress(ValueError):
                clean = str(Path(clean).relative_to(root))
                break
        parts = tuple(part for part in clean.split("/") if part != ".")
        if clean.startswith("/") or parts[:1] in {("..",), ("~",)}:
            raise ToolFailure(
                f"{path!r} is outside the workspace. Give a path relative to it, such as notes.txt."
            )
        return parts

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
            for name in parts:
                folder = opened.enter_context(folder.below(folder.meant(name), create=create))
            yield folder

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
