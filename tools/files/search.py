"""Finding text in the files of the workspace, within bounds."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.declaration import ToolFailure
from tools.files.folder import Folder
from tools.files.workspace import Workspace

_MOST_HITS = 100
_MOST_FILES = 10_000
_HIT_LENGTH = 200
"""Characters of a line that a hit shows."""


def files_below(workspace: Workspace, path: str) -> Iterator[tuple[Folder, str]]:
    """Yield the file at a path, or every file below the folder there."""
    parts = workspace.place(path)
    if parts:
        with workspace.parent(path) as (folder, name):
            found = folder.look(name)
            if found and found.kind == "file":
                yield folder, name
                return
            folder.require(name, "folder")
    yield from ((folder, entry.name) for folder, entry in workspace.walk(parts))


@dataclass
class Search:
    """What a search for lines that contain `query`, in any case, has found so far."""

    query: str
    hits: list[str] = field(default_factory=list)
    files: int = 0
    skipped: int = 0

    @property
    def full(self) -> bool:
        """Tell whether there is more than a report can show, or too much to go through."""
        return len(self.hits) > _MOST_HITS or self.files >= _MOST_FILES

    def look_into(self, folder: Folder, name: str) -> None:
        """Search one file; one that cannot be read as text is counted as skipped."""
        self.files += 1
        try:
            lines = folder.text(name).splitlines()
        except ToolFailure:
            self.skipped += 1
            return
        self.hits += [
            f"{folder.path(name)}:{number}: {line.strip()[:_HIT_LENGTH]}"
            for number, line in enumerate(lines, 1)
            if self.query.casefold() in line.casefold()
        ]

    def report(self) -> str:
        """Return one line a hit, and what was left out."""
        lines = self.hits[:_MOST_HITS] or [
            f"No line contains {self.query!r} (files searched: {self.files:,})."
        ]
        if len(self.hits) > _MOST_HITS:
            lines.append(f"(Cut after {_MOST_HITS} hits. Search for something longer, or in one folder.)")
        if self.files >= _MOST_FILES:
            lines.append(f"(Stopped after {_MOST_FILES:,} files. Search in one folder.)")
        if self.skipped:
            lines.append(f"(Skipped as binary, too large or unreadable: {self.skipped:,}.)")
        return "\n".join(lines)
