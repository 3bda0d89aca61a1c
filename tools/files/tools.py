"""Files in the workspace: listing, reading, searching, writing, deleting."""

from collections.abc import Iterator
from difflib import unified_diff
from typing import Annotated

from base.texts import count
from tools.declaration import Here, ToolFailure, Untrusted, tool
from tools.files.folder import Entry, Folder, NothingThereError
from tools.files.workspace import Workspace

_LISTED = 500
_MOST_HITS = 100
_MOST_FILES = 10_000
_HIT_LENGTH = 200
"""Characters of a line that a hit shows."""
_MOST_LINES = 30
"""Of a preview."""
_LINE_LENGTH = 200
_LARGEST_DIFF = 50_000
"""Characters on either side that are compared line by line; the time it takes grows with their square."""

FilePath = Annotated[str, "path in the workspace, such as notes.txt"]
FolderPath = Annotated[str, "folder in the workspace; . is the whole of it"]


# Untrusted: whoever sends a file names it.
@tool(effect="read")
def list_files(here: Here, path: FolderPath = ".") -> str:
    """List what a folder of the workspace holds, with sizes; subfolders end in a slash."""
    workspace = Workspace(here.settings.workspace)
    with workspace.folder(workspace.place(path)) as folder:
        found = folder.contents()
        lines = [_line(entry) for entry in found[:_LISTED]]
        if not lines:
            return folder.holds()
    if len(found) > _LISTED:
        lines.append(f"… and {len(found) - _LISTED:,} more")
    return Untrusted("\n".join(lines))


def _line(entry: Entry) -> str:
    notes = {"file": f" ({count(entry.size, 'byte')})", "folder": "", "link": " (a link, not followed)"}
    return f"{entry}{notes.get(entry.kind, ' (not a file)')}"


@tool(effect="read", untrusted=True)
def read_file(here: Here, path: FilePath) -> str:
    """Read a text file of the workspace."""
    with Workspace(here.settings.workspace).parent(path) as (folder, name):
        return folder.text(name) or f"{path} is empty (0 bytes)."


@tool(effect="read", untrusted=True)
def search_files(
    here: Here,
    query: Annotated[str, "text to find, in upper or lower case"],
    path: Annotated[str, "folder or file in the workspace; . is the whole of it"] = ".",
) -> str:
    """Find the lines that contain a text, in the text files of a folder and its subfolders."""
    if not query.strip():
        raise ToolFailure("The query is empty; say what to search for.")
    hits: list[str] = []
    files = skipped = 0
    for folder, name in _files_below(Workspace(here.settings.workspace), path):
        if len(hits) > _MOST_HITS or files >= _MOST_FILES:
            break
        files += 1
        try:
            hits += _hits(folder, name, query)
        except ToolFailure:
            skipped += 1
    lines = hits[:_MOST_HITS] or [f"No line contains {query!r} (files searched: {files:,})."]
    if len(hits) > _MOST_HITS:
        lines.append(f"(Cut after {_MOST_HITS} hits. Search for something longer, or in one folder.)")
    if files >= _MOST_FILES:
        lines.append(f"(Stopped after {_MOST_FILES:,} files. Search in one folder.)")
    if skipped:
        lines.append(f"(Skipped as binary, too large or unreadable: {skipped:,}.)")
    return "\n".join(lines)


def _files_below(workspace: Workspace, path: str) -> Iterator[tuple[Folder, str]]:
    parts = workspace.place(path)
    if parts:
        with workspace.parent(path) as (folder, name):
            found = folder.look(name)
            if found and found.kind == "file":
                yield folder, name
                return
            folder.require(name, "folder")
    yield from ((folder, entry.name) for folder, entry in workspace.walk(parts))


def _hits(folder: Folder, name: str, query: str) -> list[str]:
    return [
        f"{folder.path(name)}:{number}: {line.strip()[:_HIT_LENGTH]}"
        for number, line in enumerate(folder.text(name).splitlines(), 1)
        if query.casefold() in line.casefold()
    ]


def _preview_write(here: Here, path: str, content: str) -> str:
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


def _preview_delete(here: Here, path: str) -> str:
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


def _holds(here: Here, path: str, content: str) -> bool | None:
    """Tell whether a write took effect; None: nobody can tell."""
    with Workspace(here.settings.workspace).parent(path) as (folder, name):
        return True if folder.text(name) == content else None


def _is_gone(here: Here, path: str) -> bool | None:
    """Tell whether a deletion took effect; None: nobody can tell."""
    with Workspace(here.settings.workspace).parent(path) as (folder, name):
        return True if folder.look(name) is None else None


# Neither is run again unasked: meanwhile somebody may have written what a second run would destroy.
@tool(effect="write", preview=_preview_write, verify=_holds)
def write_file(here: Here, path: FilePath, content: Annotated[str, "the whole new content"]) -> str:
    """Write a text file of the workspace, replacing the one there is; folders are made as needed."""
    with Workspace(here.settings.workspace).parent(path, create=True) as (folder, name):
        folder.write(name, content.encode())
    return f"Wrote {count(len(content), 'character')} to {path}."


@tool(effect="write", preview=_preview_delete, verify=_is_gone)
def delete_file(here: Here, path: FilePath) -> str:
    """Delete a file of the workspace for good."""
    with Workspace(here.settings.workspace).parent(path) as (folder, name):
        size = folder.require(name, "file").size
        folder.delete(name)
    return f"Deleted {path} ({count(size, 'byte')})."


TOOLS = (list_files, read_file, search_files, write_file, delete_file)
