"""Files in the workspace: listing, reading, searching, writing, deleting."""

import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from difflib import unified_diff
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from base.settings import Settings
from base.texts import count, visible
from base.worker_threads import is_cancelled
from tools.declaration import LARGEST_UNDO, WHY_NOT, Here, Kind, Tool, ToolFailure, Undo, Untrusted, tool
from tools.files.encodings import Text, lines, read, replacement
from tools.files.folder import Entry, Folder, NothingThereError, typed
from tools.files.workspace import PEOPLE, Workspace, parts_below

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
_TOO_LARGE = f"It cannot be undone: what was there is larger than {LARGEST_UNDO:,} bytes"
_CHANGED = "{path!r} has been changed since, so it stays as it is."
_GONE = "There is no file {path!r} any more, so nothing of it can be undone."
_MADE_ANEW = "There is a file {path!r} again, so it stays as it is."

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
        lines = [_line(entry) for entry in folder.contents(names[:_LISTED])]
        if not lines:
            return folder.holds()
    if len(names) > _LISTED:
        lines.append(f"… and {len(names) - _LISTED:,} more")
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
    return _page(title, [*_held(old, new), *(_difference(old, new) if old else _all_of("+", new))])


def _preview_delete(here: Here, path: str) -> str:
    with _workspace(here).parent(path) as (folder, name):
        size = folder.require(name, "file").size
        text = _readable(folder, name)
        where = f"{visible(folder.path(name))}{_workspace(here).whose(path)}"
        title = f"Delete {where} ({count(size, 'byte')})"
    return _page(title, [*_held(text, text), *_all_of("-", text)] if text else [])


def _readable(folder: Folder, name: str) -> Text | None:
    try:
        return folder.text(name)
    except ToolFailure:
        return None


def _held(old: Text | None, new: Text) -> list[str]:
    """Return how a file holds text, where unusual or changed."""
    was = str(old or new)
    if was == str(new):
        return [] if was == "UTF-8" else [f"Encoding: {was}"]
    why = f"; {old.label} lacks a character of it" if old and old.codec != new.codec else ""
    return [f"Encoding: {was} → {new}{why}"]


def _all_of(sign: str, text: Text | None) -> list[str]:
    return [_line_of(f"{sign}{line}", text.usual_end) for line in lines(text.text)] if text else []


def _difference(old: Text, new: Text) -> list[str]:
    if max(len(old.text), len(new.text)) > _LARGEST_DIFF:
        return ["(too long to show line by line)"] if old.text != new.text else []
    found = list(unified_diff(lines(old.text), lines(new.text), "now", "after", lineterm="", n=1))
    return found[:2] + [line if line[0] == "@" else _line_of(line, new.usual_end) for line in found[2:]]


def _line_of(line: str, usual_end: str) -> str:
    r"""Return a line with its end written out, as in `\x20\r\n`."""
    body = line[1:].rstrip("\r\n")
    end, text = line[1 + len(body) :], body.rstrip(" \t")
    shown = text + _escape(body[len(text) :])
    if len(shown) > _LINE_LENGTH:
        shown = f"{shown[:_LINE_LENGTH]}… ({count(len(shown) - _LINE_LENGTH, 'more character')})"
    no_end = "" if end else "\n\\ No newline at end of file"
    return f"{line[0]}{shown}{_escape(end) if end != usual_end else ''}{no_end}"


def _escape(blanks: str) -> str:
    return blanks.encode("unicode_escape").decode().replace(" ", r"\x20")


def _page(title: str, rows: list[str]) -> str:
    more = [f"… and {len(rows) - _MOST_LINES:,} more lines"] if len(rows) > _MOST_LINES else []
    return "\n".join([title, *rows[:_MOST_LINES], *more])


def _holds(here: Here, path: str, content: str) -> bool | None:
    """Tell whether a write took effect; None: nobody can tell."""
    with _workspace(here).parent(path) as (folder, name):
        found = folder.text(name)
        return True if replacement(found, content) == found else None


def _is_gone(here: Here, path: str) -> bool | None:
    """Tell whether a deletion took effect; None: nobody can tell."""
    with _workspace(here).parent(path) as (folder, name):
        return True if folder.look(name) is None else None


def _log_undo(here: Here, folder: Folder, name: str, after: bytes | None) -> list[str]:
    """Log what a file holds before it is changed.

    `after` is what it will hold, None: it will be gone. Returns why that cannot be undone, where it cannot.
    """
    entry, before, why = folder.look(name), None, None
    if entry:
        try:
            before = folder.data(name, LARGEST_UNDO)
            why = _TOO_LARGE if before is None else "It changed nothing" if before == after else None
        except ToolFailure as failure:
            why = f"It cannot be undone: {str(failure).rstrip('.')}"
    if why:
        here.log_undo({WHY_NOT: f"{why}."})
        return [why] if before is None else []
    here.log_undo(
        {
            "path": folder.path(name),
            "before": None if before is None else b64encode(before).decode(),
            "mode": entry.mode if entry else None,
            "after": None if after is None else sha256(after).hexdigest(),
            "size": len(after or b""),
        }
    )
    return []


def _before(record: dict[str, Any]) -> bytes | None:
    return None if record["before"] is None else b64decode(record["before"])


def _found(here: Here, record: dict[str, Any]) -> bytes | None:
    """Return what there is where a call changed a file; None: nothing."""
    name = record["path"].rpartition("/")[2]
    with suppress(NothingThereError), _workspace(here).parent(record["path"]) as (folder, _):
        if folder.path(name) == record["path"] and folder.look(name):
            data = folder.data(name, max(record["size"], LARGEST_UNDO))
            if data is None:
                raise ToolFailure(_CHANGED.format(path=record["path"]))
            return data
    return None


def _as_left(here: Here, record: dict[str, Any]) -> bytes | None:
    """Return what a call left of a file, unchanged since."""
    found = _found(here, record)
    if (None if found is None else sha256(found).hexdigest()) != record["after"]:
        changed = _MADE_ANEW if record["after"] is None else _GONE if found is None else _CHANGED
        raise ToolFailure(changed.format(path=record["path"]))
    return found


def _preview_undo(here: Here, record: dict[str, Any]) -> str:
    now, before = _as_left(here, record), _before(record)
    where = f"{visible(record['path'])}{_workspace(here).whose(record['path'])}"
    if before is None:
        return _page(f"Delete {where}, which was not there before", _all_of("-", read(now or b"")))
    title = f"Put back {where}, as it was before ({count(len(before), 'byte')})"
    old, new = read(now or b""), read(before)
    if now is None or not (old and new):
        return _page(title, _all_of("+", new))
    return _page(title, [*_held(old, new), *_difference(old, new)])


def _undo(here: Here, record: dict[str, Any]) -> str:
    _as_left(here, record)
    before = _before(record)
    with _workspace(here).parent(record["path"], create=True) as (folder, _):
        name = record["path"].rpartition("/")[2]
        if folder.path(name) != record["path"]:  # one that is named alike is another
            raise ToolFailure(_CHANGED.format(path=record["path"]))
        if before is None:
            folder.delete(name)
            return f"Deleted {visible(folder.path(name))}, which was not there before."
        folder.write(name, before, record["mode"])
        return f"Put back {visible(folder.path(name))} ({count(len(before), 'byte')})."


def _is_undone(here: Here, record: dict[str, Any]) -> bool | None:
    return True if _found(here, record) == _before(record) else None


_AS_BEFORE = Undo(_preview_undo, _undo, _is_undone)


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
        why_not = _log_undo(here, folder, name, new.data)
        folder.write(name, new.data)
        done = f"Wrote {count(len(new.text), 'character')} to {visible(folder.path(name))}"
    return " ".join(f"{each}." for each in (done, *_held(old, new), *why_not))


@tool(effect="write", preview=_preview_delete, verify=_is_gone, undo=_AS_BEFORE)
def delete_file(here: Here, path: FilePath) -> str:
    """Delete a file of the workspace."""
    with _workspace(here).parent(path) as (folder, name):
        size = folder.require(name, "file").size
        why_not = _log_undo(here, folder, name, None)
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
