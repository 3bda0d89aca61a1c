"""Changes of files: shown line by line, logged, and undone."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from hashlib import sha256
from typing import Any

from base.texts import count, visible
from tools.declaration import LARGEST_UNDO, WHY_NOT, Here, ToolFailure, Undo
from tools.files.encodings import Text, lines, read
from tools.files.folder import Folder, NothingThereError
from tools.files.workspace import Workspace

_PREVIEW_LINES = 30
_LINE_LENGTH = 200
_LARGEST_DIFF = 50_000
"""Characters on either side that are compared line by line; the time it takes grows with their square."""
_TOO_LARGE = f"It cannot be undone: what was there is larger than {LARGEST_UNDO:,} bytes"
_CHANGED = "{path!r} has been changed since, so it stays as it is."
_GONE = "There is no file {path!r} any more, so nothing of it can be undone."
_MADE_ANEW = "There is a file {path!r} again, so it stays as it is."


def held(old: Text | None, new: Text) -> list[str]:
    """Return how a file holds text, where unusual or changed."""
    was = str(old or new)
    if was == str(new):
        return [] if was == "UTF-8" else [f"Encoding: {was}"]
    why = f"; {old.label} lacks a character of it" if old and old.codec != new.codec else ""
    return [f"Encoding: {was} → {new}{why}"]


def all_of(sign: str, text: Text | None) -> list[str]:
    """Return a text's lines behind a sign."""
    return [_line_of(f"{sign}{line}", text.usual_end) for line in lines(text.text)] if text else []


def difference(old: Text, new: Text) -> list[str]:
    """Return the lines that differ, with one around them."""
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


def page(title: str, rows: list[str]) -> str:
    """Return a preview: its title, and the first rows."""
    more = [f"… and {len(rows) - _PREVIEW_LINES:,} more lines"] if len(rows) > _PREVIEW_LINES else []
    return "\n".join([title, *rows[:_PREVIEW_LINES], *more])


def log_undo(here: Here, folder: Folder, name: str, after: bytes | None) -> list[str]:
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


@dataclass(frozen=True, slots=True)
class _FileUndo:
    """How the change of a file is undone."""

    workspace: Callable[[Here], Workspace]

    def _found(self, here: Here, record: dict[str, Any]) -> bytes | None:
        """Return what there is where a call changed a file; None: nothing."""
        name = record["path"].rpartition("/")[2]
        with suppress(NothingThereError), self.workspace(here).parent(record["path"]) as (folder, _):
            if folder.path(name) == record["path"] and folder.look(name):
                data = folder.data(name, max(record["size"], LARGEST_UNDO))
                if data is None:
                    raise ToolFailure(_CHANGED.format(path=record["path"]))
                return data
        return None

    def _as_left(self, here: Here, record: dict[str, Any]) -> bytes | None:
        """Return what a call left of a file, unchanged since."""
        found = self._found(here, record)
        if (None if found is None else sha256(found).hexdigest()) != record["after"]:
            changed = _MADE_ANEW if record["after"] is None else _GONE if found is None else _CHANGED
            raise ToolFailure(changed.format(path=record["path"]))
        return found

    def preview(self, here: Here, record: dict[str, Any]) -> str:
        """Say what would be put back or deleted."""
        now, before = self._as_left(here, record), _before(record)
        where = f"{visible(record['path'])}{self.workspace(here).whose(record['path'])}"
        if before is None:
            return page(f"Delete {where}, which was not there before", all_of("-", read(now or b"")))
        title = f"Put back {where}, as it was before ({count(len(before), 'byte')})"
        old, new = read(now or b""), read(before)
        if now is None or not (old and new):
            return page(title, all_of("+", new))
        return page(title, [*held(old, new), *difference(old, new)])

    def run(self, here: Here, record: dict[str, Any]) -> str:
        """Put it back, or delete it."""
        self._as_left(here, record)
        before = _before(record)
        with self.workspace(here).parent(record["path"], create=True) as (folder, _):
            name = record["path"].rpartition("/")[2]
            if folder.path(name) != record["path"]:  # one that is named alike is another
                raise ToolFailure(_CHANGED.format(path=record["path"]))
            if before is None:
                folder.delete(name)
                return f"Deleted {visible(folder.path(name))}, which was not there before."
            folder.write(name, before, record["mode"])
            return f"Put back {visible(folder.path(name))} ({count(len(before), 'byte')})."

    def verify(self, here: Here, record: dict[str, Any]) -> bool | None:
        """Tell whether it was undone; None: nobody can tell."""
        return True if self._found(here, record) == _before(record) else None


def undo_in(workspace: Callable[[Here], Workspace]) -> Undo:
    """Return how changes of files are undone in a call's workspace."""
    undo = _FileUndo(workspace)
    return Undo(undo.preview, undo.run, undo.verify)
