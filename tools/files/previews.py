"""Previews of file changes, for the person who confirms."""

from difflib import unified_diff

from base.texts import count
from tools.declaration import Here, ToolFailure
from tools.files.folder import Folder, NothingThereError
from tools.files.workspace import Workspace

_MOST_LINES = 30
_LINE_LENGTH = 200
_LARGEST_DIFF = 50_000
"""Characters on either side that are compared line by line; the time it takes grows with their square."""


def preview_write(here: Here, path: str, content: str) -> str:
    """Show what a write would change."""
    what = f"Write {count(len(content), 'character')} to {path}"
    try:
        with Workspace(here.settings.workspace).parent(path) as (folder, name):
            size = folder.require(name, "file").size
            old = _readable(folder, name)
    except NothingThereError:
        return _page(f"{what} (a new file)", [f"+{line}" for line in content.splitlines()])
    if old is None:
        return f"{what} (replaces {count(size, 'byte')} that cannot be shown)"
    if old == content:
        return f"{what} (changes nothing: it holds exactly that)"
    return _page(f"{what} (replaces {count(len(old), 'character')})", _difference(old, content))


def preview_delete(here: Here, path: str) -> str:
    """Show what a deletion would lose."""
    with Workspace(here.settings.workspace).parent(path) as (folder, name):
        size = folder.require(name, "file").size
        text = _readable(folder, name)
    return _page(f"Delete {path} ({count(size, 'byte')})", [f"-{line}" for line in (text or "").splitlines()])


def _readable(folder: Folder, name: str) -> str | None:
    try:
        return folder.text(name)
    except ToolFailure:
        return None


def _difference(old: str, new: str) -> list[str]:
    if max(len(old), len(new)) > _LARGEST_DIFF:
        return ["(too long to show line by line)"]
    lines = unified_diff(old.splitlines(), new.splitlines(), "now", "after", lineterm="", n=1)
    return list(lines) or ["(only line ends change)"]


def _page(title: str, lines: list[str]) -> str:
    shown = [line if len(line) <= _LINE_LENGTH else f"{line[:_LINE_LENGTH]}…" for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        shown.append(f"… and {len(lines) - _MOST_LINES:,} more lines")
    return "\n".join([title, *shown])
