import os
import stat

import pytest

from tools.registry import open_registry
from tools.run import run_tool


async def test_the_workspace_is_made_private_on_first_use_and_not_before(call, root):
    assert not root.parent.exists()
    assert (await call("list_files")).text == "The workspace is empty."
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE(root.parent.stat().st_mode) == 0o700


async def test_a_file_is_written_listed_read_found_and_deleted(call, root):
    outcome = await call("write_file", path="notes.txt", content="buy milk")
    assert (outcome.status, outcome.text) == ("executed", "Wrote 8 characters to notes.txt.")
    assert (root / "notes.txt").read_text() == "buy milk"
    assert (await call("list_files")).text == "notes.txt (8 bytes)"
    assert (await call("read_file", path="notes.txt")).text == "buy milk"
    assert (await call("search_files", query="MILK")).text == "notes.txt:1: buy milk"
    assert (await call("delete_file", path="notes.txt")).text == "Deleted notes.txt (8 bytes)."
    assert list(root.iterdir()) == []


async def test_a_new_file_is_private_and_a_replaced_one_keeps_its_permissions(call, root):
    await call("write_file", path="a.txt", content="1")
    assert stat.S_IMODE((root / "a.txt").stat().st_mode) == 0o600
    (root / "a.txt").chmod(0o644)
    await call("write_file", path="a.txt", content="2")
    assert stat.S_IMODE((root / "a.txt").stat().st_mode) == 0o644


async def test_writing_makes_the_folders_above(call, root):
    assert (await call("write_file", path="a/b/c.txt", content="é")).text == "Wrote 1 character to a/b/c.txt."
    assert (root / "a/b/c.txt").read_text() == "é"
    assert (await call("list_files", path="a")).text == "b/"


async def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_rubbish(call, root, monkeypatch):
    await call("write_file", path="a.txt", content="old")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    outcome = await call("write_file", path="a.txt", content="new")
    assert outcome.text == "Tool error: 'a.txt': no space left on device."
    assert [(path.name, path.read_text()) for path in root.iterdir()] == [("a.txt", "old")]


async def test_an_empty_file_is_said_to_be_empty(call):
    await call("write_file", path="a.txt", content="")
    assert (await call("read_file", path="a.txt")).text == "a.txt is empty (0 bytes)."


async def test_an_absolute_path_in_the_workspace_is_fine(call, root):
    await call("write_file", path=str(root / "a.txt"), content="x")
    assert (await call("read_file", path=str(root / "b" / ".." / "a.txt"))).text == "x"
    assert (await call("list_files", path=str(root))).text == "a.txt (1 byte)"


async def test_a_workspace_that_is_reached_through_a_link_works(call, root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    root.parent.mkdir()
    root.symlink_to(tmp_path / "elsewhere")
    await call("write_file", path="a.txt", content="x")
    assert (await call("read_file", path=str(tmp_path / "elsewhere" / "a.txt"))).text == "x"


@pytest.mark.parametrize("name", ["read_file", "delete_file"])
async def test_what_is_missing_is_answered_with_what_there_is(call, name):
    await call("write_file", path="notes.txt", content="x")
    await call("write_file", path="old/list.txt", content="x")
    assert (await call(name, path="note.txt")).text == (
        "Tool error: There is no file 'note.txt'. The workspace holds: notes.txt, old/."
    )
    assert (await call(name, path="old/x")).text == (
        "Tool error: There is no file 'old/x'. The folder 'old' holds: list.txt."
    )
    assert (await call(name, path="new/x")).text == (
        "Tool error: There is no folder 'new'. The workspace holds: notes.txt, old/."
    )
    assert (await call(name, path="old")).text == (
        "Tool error: 'old' is a folder, not a file. The folder 'old' holds: list.txt."
    )
    assert (await call(name, path="notes.txt/x")).text == "Tool error: 'notes.txt' is a file, not a folder."
    assert "is the workspace folder itself" in (await call(name, path=".")).text


@pytest.mark.parametrize("name", ["list_files", "search_files"])
async def test_a_missing_folder_is_answered_with_what_there_is(call, name):
    await call("write_file", path="a.txt", content="x")
    args = {"query": "x"} if name == "search_files" else {}
    outcome = await call(name, path="b", **args)
    assert outcome.text == "Tool error: There is no folder 'b'. The workspace holds: a.txt."


async def test_a_file_is_not_listed_as_a_folder_and_a_folder_not_overwritten(call, root):
    await call("write_file", path="a/b.txt", content="x")
    assert (await call("list_files", path="a/b.txt")).text == "Tool error: 'a/b.txt' is a file, not a folder."
    outcome = await call("write_file", path="a", content="y")
    assert outcome.text == "Tool error: 'a' is a folder, not a file. The folder 'a' holds: b.txt."
    assert (root / "a/b.txt").read_text() == "x"


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\0\0", b"\xff\xfe\0\xd8\0\xd8", b"\xef\xbb\xbf\xff", b"a\x01\xe9"]
)
async def test_a_binary_file_is_named_as_such(call, root, data):
    await call("list_files")
    (root / "a.bin").write_bytes(data)
    outcome = await call("read_file", path="a.bin")
    assert outcome.text == f"Tool error: 'a.bin' is binary, not text ({len(data)} bytes)."


async def test_a_huge_file_is_refused_with_its_size_and_without_being_read(call, root):
    await call("list_files")
    with (root / "huge.txt").open("wb") as file:
        file.truncate(8 << 40)
    outcome = await call("read_file", path="huge.txt")
    assert outcome.text == (
        "Tool error: 'huge.txt' is too large to read: 8,796,093,022,208 bytes, and 1,000,000 is the most."
    )
    assert "Skipped as binary, too large or unreadable: 1" in (await call("search_files", query="x")).text


async def test_a_named_pipe_is_refused_instead_of_waited_for(call, root):
    await call("list_files")
    os.mkfifo(root / "pipe")
    outcome = await call("read_file", path="pipe")
    assert outcome.text == "Tool error: 'pipe' is a device, pipe or socket, not a file."


async def test_an_unreadable_file_is_a_result_in_words(call, root, monkeypatch):
    await call("write_file", path="a.txt", content="x")
    open_ = os.open

    def refuse(path, *args, **kwargs):
        if path == "a.txt":
            raise PermissionError(13, "Permission denied")
        return open_(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    assert (await call("read_file", path="a.txt")).text == "Tool error: 'a.txt': permission denied."


async def test_a_name_that_is_too_long_is_a_result_in_words(call):
    for name, more in (("read_file", {}), ("write_file", {"content": "x"}), ("delete_file", {})):
        outcome = await call(name, path="n" * 300, **more)
        assert outcome.status == "failed"
        assert outcome.text.endswith("file name too long.")


async def test_a_workspace_that_cannot_be_made_names_the_variable(call, root):
    root.parent.parent.mkdir(exist_ok=True)
    root.parent.write_text("in the way")
    outcome = await call("list_files")
    assert outcome.status == "failed"
    assert "TWOBRAIN_WORKSPACE" in outcome.text


async def test_a_long_listing_is_cut_and_says_so(call, root):
    await call("list_files")
    for number in range(503):
        (root / f"{number:04}").touch()
    lines = (await call("list_files")).text.splitlines()
    assert (len(lines), lines[-1]) == (501, "… and 3 more")
    assert "0019 and 483 more." in (await call("read_file", path="x")).text


async def test_names_that_are_not_utf8_do_not_break_the_listing(call, root):
    await call("list_files")
    os.close(os.open(os.fsencode(root) + b"/caf\xe9", os.O_CREAT))
    assert (await call("list_files")).text == r"caf\udce9 (0 bytes)"


async def test_search_goes_through_subfolders_in_order_and_skips_what_is_no_text(call, root):
    for path in ("b.txt", "a/z.txt", "a/b/c.txt"):
        await call("write_file", path=path, content="first\n  Straße and MILK \n")
    (root / "a.bin").write_bytes(b"milk\0")
    assert (await call("search_files", query="STRASSE and milk")).text.splitlines() == [
        "b.txt:2: Straße and MILK",
        "a/z.txt:2: Straße and MILK",
        "a/b/c.txt:2: Straße and MILK",
        "(Skipped as binary, too large or unreadable: 1.)",
    ]
    assert (await call("search_files", query="milk", path="a/b")).text.splitlines() == [
        "a/b/c.txt:2: Straße and MILK"
    ]
    assert (await call("search_files", query="milk", path="b.txt")).text == "b.txt:2: Straße and MILK"


async def test_search_takes_its_query_as_text_and_not_as_a_pattern(call):
    await call("write_file", path="a.txt", content="a+b\naab")
    assert (await call("search_files", query="a+b")).text == "a.txt:1: a+b"
    assert (await call("search_files", query=".*")).text == "No line contains '.*' (files searched: 1)."
    assert "query is empty" in (await call("search_files", query=" ")).text


async def test_search_stops_at_a_hundred_hits_and_says_so(call):
    await call("write_file", path="a.txt", content="milk\n" * 101)
    lines = (await call("search_files", query="milk")).text.splitlines()
    assert lines[99:] == [
        "a.txt:100: milk",
        "(Cut after 100 hits. Search for something longer, or in one folder.)",
    ]
    await call("write_file", path="a.txt", content="milk\n" * 100)
    assert len((await call("search_files", query="milk")).text.splitlines()) == 100


async def test_the_preview_of_a_new_file_shows_its_content_and_makes_nothing(preview, root):
    assert await preview("write_file", path="a/notes.txt", content="buy\nmilk") == (
        "Write 8 characters to a/notes.txt (a new file)\n+buy\n+milk\n\\ No newline at end of file"
    )
    assert list(root.iterdir()) == []


async def test_the_preview_of_a_replacement_shows_what_changes(call, preview):
    await call("write_file", path="a.txt", content="one\ntwo\nthree\n")
    assert await preview("write_file", path="a.txt", content="one\n2\nthree\n") == (
        "Write 12 characters to a.txt (replaces 14 characters)\n"
        "--- now\n+++ after\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three"
    )
    assert await preview("write_file", path="a.txt", content="one\ntwo\nthree\n") == (
        "Write 14 characters to a.txt (changes nothing: it holds exactly that)"
    )
    assert (await preview("write_file", path="a.txt", content="one\ntwo\nthree")).endswith(
        "\n two\n-three\n+three\n\\ No newline at end of file"
    )


async def test_a_long_preview_is_cut_and_says_so(call, preview):
    lines = (await preview("write_file", path="a.txt", content="x\n" * 100)).splitlines()
    assert (len(lines), lines[-1]) == (32, "… and 70 more lines")
    assert len(await preview("write_file", path="a.txt", content="x" * 9999)) < 300
    await call("write_file", path="a.txt", content="x" * 60_000)
    assert (await preview("write_file", path="a.txt", content="y")).endswith(
        "(too long to show line by line)"
    )


async def test_the_preview_of_a_deletion_shows_what_is_lost(call, preview, root):
    await call("write_file", path="a.txt", content="buy\nmilk")
    assert await preview("delete_file", path="a.txt") == (
        "Delete a.txt (8 bytes)\n-buy\n-milk\n\\ No newline at end of file"
    )
    (root / "a.bin").write_bytes(b"\0\1")
    assert await preview("delete_file", path="a.bin") == "Delete a.bin (2 bytes)"
    assert await preview("write_file", path="a.bin", content="x") == (
        "Write 1 character to a.bin (replaces 2 bytes that cannot be shown)\n+x\n\\ No newline at end of file"
    )


async def test_a_preview_of_what_cannot_be_done_says_so(preview):
    assert await preview("delete_file", path="a.txt") == (
        "This will fail: There is no file 'a.txt'. The workspace is empty."
    )
    assert (await preview("write_file", path="../a.txt", content="x")).startswith(
        "This will fail: '../a.txt'"
    )


async def test_a_write_of_unknown_outcome_is_known_only_by_just_its_content(here, root):
    write = open_registry(here.settings).get("write_file")
    args = {"path": "a/b.txt", "content": "milk\n"}
    assert not write.idempotent
    assert await write.verify(here, args) is None
    await run_tool(write, here, args)
    assert await write.verify(here, args) is True
    (root / "a" / "b.txt").write_text("milk and honey")
    assert await write.verify(here, args) is None
    assert await write.verify(here, {"path": "../out.txt", "content": "milk"}) is None


async def test_a_deletion_of_unknown_outcome_is_known_by_the_file_being_gone(here, root):
    delete = open_registry(here.settings).get("delete_file")
    root.mkdir(parents=True)
    (root / "a.txt").write_text("x")
    assert not delete.idempotent
    assert await delete.verify(here, {"path": "a.txt"}) is None
    await run_tool(delete, here, {"path": "a.txt"})
    assert await delete.verify(here, {"path": "a.txt"}) is True
    assert await delete.verify(here, {"path": "gone/a.txt"}) is None, "the folder is not there to ask"


async def test_a_line_break_in_a_name_begins_no_line_of_a_list(call, preview, root):
    root.mkdir(parents=True, exist_ok=True)
    odd = "a.txt\nb.txt (9 bytes)\u2028c\x1b[2J"
    (root / odd).write_text("milk")
    shown = r"a.txt\nb.txt (9 bytes)\u2028c\x1b[2J"
    assert (await call("list_files")).text == f"{shown} (4 bytes)"
    assert (await call("search_files", query="milk")).text == f"{shown}:1: milk"
    assert (await preview("delete_file", path=odd)).splitlines()[0] == f"Delete {shown} (4 bytes)"
    assert (await call("delete_file", path=odd)).text == f"Deleted {shown} (4 bytes)."
