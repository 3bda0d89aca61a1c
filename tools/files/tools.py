"""Files in the workspace: listing, reading, searching, writing, deleting."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from base.settings import Settings
from base.texts import count, visible
from base.worker_threads import is_cancelled
from tools.declaration import Here, Kind, Tool, ToolFailure, Untrusted, tool
from tools.files.encodings import Text, lines, replacement
from tools.files.file_changes import all_of, difference, held, log_undo, page, undo_in
from tools.files.folder import Entry, Folder, NothingThereError, typed
from tools.files.workspace import PEOPLE, Workspace, parts_below

_MOST_LISTED = 500
_MOST_HITS = 100
_MOST_FILES = 10_000
_HIT_LENGTH = 200
"""Characters of a line that a hit shows."""

FilePath = Annotated[str, "path in the workspace, such as notes.txt"]
FolderPath = Annotated[str, "folder in the workspace; . is the whole of it"]


def _workspace(here: Here) -> Workspace:
    return Workspace(here.settings.workspace, here.user, here.settings.data_dir)


# Untrusted: whoever sends a file names it.
@tool(effect="read")
def list_files(here: Here, path: FolderPath = ".") -> str:
    """List what a folder of the workspace holds, with sizes; subfolders end in a slash."""
    workspace = _workspace(here)
    with workspace.folder(workspace.place(path)) as folder:
        names = folder.names()
        lines = [_line(entry) for entry in folder.contents(names[:_MOST_LISTED])]
        if not lines:
            return folder.holds()
    if len(names) > _MOST_LISTED:
        lines.append(f"… and {len(names) - _MOST_LISTED:,} more")
    return Untrusted("\n".join(lines))


def _line(entry: Entry) -> str:
    notes = {"file": f" ({count(entry.size, 'byte')})", "folder": "", "link": " (a link, not followed)"}
    return f"{entry}{notes.get(entry.kind, ' (not a file)')}"


@tool(effect="read", untrusted=True)
def read_file(here: Here, path: FilePath) -> str:
    """Read a text file of the workspace."""
    with _workspace(here).parent(path) as (folder, name):
        found = folder.text(name)
        return found.text or f"{visible(folder.path(name))} is empty ({count(len(found.data), 'byte')})."


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
    for folder, name in _files_below(_workspace(here), path):
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
    yield from ((folder, entry.name) for folder, entry in workspace.walk(parts) if not is_cancelled())


def _hits(folder: Folder, name: str, query: str) -> list[str]:
    wanted, text = typed(query).casefold(), folder.text(name).text
    if wanted not in typed(text).casefold():
        return []
    return [
        f"{visible(folder.path(name))}:{number}: {' '.join(line.strip().splitlines())[:_HIT_LENGTH]}"
        for number, line in enumerate(lines(text), 1)
        if wanted in typed(line).casefold()
    ]


def _preview_write(here: Here, path: str, content: str) -> str:
    where, old, how = path, None, "a new file"
    with suppress(NothingThereError), _workspace(here).parent(path) as (folder, name):
        where = folder.path(name)
        size = folder.require(name, "file").size
        old = _readable(folder, name)
        replaced = count(len(old.text), "character") if old else f"{count(size, 'byte')} that cannot be shown"
        how = f"replaces {replaced}"
    new = replacement(old, content)
    if old == new:
        how = "changes nothing: it holds exactly that"
    where = f"{visible(where)}{_workspace(here).whose(path)}"
    title = f"Write {count(len(new.text), 'character')} to {where} ({how})"
    return page(title, [*held(old, new), *(difference(old, new) if old else all_of("+", new))])


def _preview_delete(here: Here, path: str) -> str:
    with _workspace(here).parent(path) as (folder, name):
        size = folder.require(name, "file").size
        text = _readable(folder, name)
        where = f"{visible(folder.path(name))}{_workspace(here).whose(path)}"
        title = f"Delete {where} ({count(size, 'byte')})"
    return page(title, [*held(text, text), *all_of("-", text)] if text else [])


def _readable(folder: Folder, name: str) -> Text | None:
    try:
        return folder.text(name)
    except ToolFailure:
        return None


def _holds(here: Here, path: str, content: str) -> bool | None:
    """Tell whether a write took effect; None: nobody can tell."""
    with _workspace(here).parent(path) as (folder, name):
        found = folder.text(name)
        return True if replacement(found, content) == found else None


def _is_gone(here: Here, path: str) -> bool | None:
    """Tell whether a deletion took effect; None: nobody can tell."""
    with _workspace(here).parent(path) as (folder, name):
        return True if folder.look(name) is None else None


_AS_BEFORE = undo_in(_workspace)


# Neither is run again unasked: meanwhile somebody may have written what a second run would destroy.
@tool(
    effect="write",
    preview=_preview_write,
    verify=_holds,
    undo=_AS_BEFORE,
    kind=Kind("Writing {path}", {"path": "folder"}),
)
def write_file(here: Here, path: FilePath, content: Annotated[str, "the whole new content"]) -> str:
    """Write a text file of the workspace, replacing the one there is; folders are made as needed."""
    with _workspace(here).parent(path, create=True) as (folder, name):
        old = _readable(folder, name)
        new = replacement(old, content)
        why_not = log_undo(here, folder, name, new.data)
        folder.write(name, new.data)
        done = f"Wrote {count(len(new.text), 'character')} to {visible(folder.path(name))}"
    return " ".join(f"{each}." for each in (done, *held(old, new), *why_not))


@tool(effect="write", preview=_preview_delete, verify=_is_gone, undo=_AS_BEFORE)
def delete_file(here: Here, path: FilePath) -> str:
    """Delete a file of the workspace."""
    with _workspace(here).parent(path) as (folder, name):
        size = folder.require(name, "file").size
        why_not = log_undo(here, folder, name, None)
        folder.delete(name)
        done = f"Deleted {visible(folder.path(name))} ({count(size, 'byte')})"
    return " ".join(f"{each}." for each in (done, *why_not))


TOOLS = (list_files, read_file, search_files, write_file, delete_file)


def tools(settings: Settings) -> tuple[Tool, ...]:
    """Return the family, which knows paths of this workspace."""
    root = settings.workspace
    roots = (root, Path(os.path.realpath(root)))
    canonical = partial(_canonical, roots, _folds_case(root))
    return tuple(replace(each, canonical=canonical, location=_location) for each in TOOLS)


def _location(settings: Settings, user: str, args: dict[str, Any]) -> Path:
    return Workspace(settings.workspace, user, settings.data_dir).absolute(args.get("path", "."))


def _canonical(roots: tuple[Path, ...], folds_case: bool, args: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with a path as its person writes it.

    Of a whole path to a person's folder, what comes after: nobody else can use it.
    """
    given = args["path"]
    parts = parts_below(roots, given)
    if parts is None or parts[:1] in {("..",), ("~",)}:
        raise ValueError(f"{given!r} is outside the workspace.")
    is_whole = given.startswith("/") and parts[:1] == (PEOPLE,)
    path = "/".join(parts[2:] if is_whole else parts) or "."
    return {**args, "path": typed(path.casefold() if folds_case else path)}


def _folds_case(root: Path) -> bool:
    """Tell whether names that differ in case alone are one file's."""
    there = next(path for path in (root, *root.parents) if path.exists())
    other = Path(str(there).swapcase())
    with suppress(OSError):
        return other != there and other.samefile(there)
    return False
