"""Files in the workspace: listing, reading, searching, writing, deleting."""

from typing import Annotated

from base.texts import count
from tools.declaration import Here, ToolFailure, tool
from tools.files.folder import Entry
from tools.files.previews import preview_delete, preview_write
from tools.files.search import Search, files_below
from tools.files.workspace import Workspace

_LISTED = 500

FilePath = Annotated[str, "path in the workspace, such as notes.txt"]
FolderPath = Annotated[str, "folder in the workspace; . is the whole of it"]


@tool(effect="read")
def list_files(here: Here, path: FolderPath = ".") -> str:
    """List what a folder of the workspace holds, with sizes; subfolders end in a slash."""
    workspace = Workspace(here.settings.workspace)
    with workspace.folder(workspace.place(path)) as folder:
        entries = folder.entries()
        lines = [_line(entry) for entry in entries[:_LISTED]] or [folder.holds()]
    if len(entries) > _LISTED:
        lines.append(f"… and {len(entries) - _LISTED:,} more")
    return "\n".join(lines)


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
    search = Search(query)
    for folder, name in files_below(Workspace(here.settings.workspace), path):
        if search.full:
            break
        search.look_into(folder, name)
    return search.report()


def _holds(here: Here, path: str, content: str) -> bool | None:
    """Tell whether a file is as a write would leave it; of another content nobody knows whose it is."""
    with Workspace(here.settings.workspace).parent(path) as (folder, name):
        return True if folder.text(name) == content else None


def _is_gone(here: Here, path: str) -> bool | None:
    """Tell whether there is no such file; one that is there may have been made anew since."""
    with Workspace(here.settings.workspace).parent(path) as (folder, name):
        return True if folder.look(name) is None else None


# Neither is run again unasked: meanwhile somebody may have written what a second run would destroy.
@tool(effect="write", preview=preview_write, verify=_holds)
def write_file(here: Here, path: FilePath, content: Annotated[str, "the whole new content"]) -> str:
    """Write a text file of the workspace, replacing the one there is; folders are made as needed."""
    with Workspace(here.settings.workspace).parent(path, create=True) as (folder, name):
        folder.write(name, content.encode())
    return f"Wrote {count(len(content), 'character')} to {path}."


@tool(effect="write", preview=preview_delete, verify=_is_gone)
def delete_file(here: Here, path: FilePath) -> str:
    """Delete a file of the workspace for good."""
    with Workspace(here.settings.workspace).parent(path) as (folder, name):
        size = folder.require(name, "file").size
        folder.delete(name)
    return f"Deleted {path} ({count(size, 'byte')})."


TOOLS = (list_files, read_file, search_files, write_file, delete_file)
