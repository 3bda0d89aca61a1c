"""A folder for each person, and one that all share."""

import stat
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.files.workspace import folder_of
from tools.registry import open_registry
from tools.run import Ran, run_tool

NAMES = st.text(min_size=1, max_size=200)
ODD = [
    "a/b",
    "..",
    ".",
    "a\0b",
    "Alice",
    "ALICE",
    "é",
    "e\u0301",
    "shared",
    "x" * 200,
    "л" * 200,
    "a~b",
    "-",
    " ",
]


@pytest.fixture
def act(here) -> Callable[..., Any]:
    """Return a function that calls a tool for a user; several at once are several users' calls."""
    registry = open_registry(here.settings)

    async def called(user: str, name: str, **args: Any) -> Ran:
        tool = registry.get(name)
        assert tool is not None
        return await run_tool(tool, replace(here, user=user), tool.check(args))

    return called


@given(NAMES, NAMES)
def test_no_two_people_have_one_folder_and_none_has_a_path(one, other):
    mine, theirs = folder_of(one), folder_of(other)
    assert (mine.casefold() == theirs.casefold()) == (one == other)
    assert len(mine.encode()) < 255
    assert mine.isascii()
    assert not mine.startswith(".")
    assert "/" not in mine


@pytest.mark.parametrize("user", ODD)
async def test_whoever_asks_has_a_private_folder_of_their_own(user, act, root):
    await act(user, "write_file", path="notes/a.txt", content="mine")
    assert (root / ".people" / folder_of(user) / "notes" / "a.txt").read_text() == "mine"
    assert (await act(user, "list_files")).text == "notes/\nshared/"
    assert "a.txt" not in (await act("bob", "search_files", query="mine")).text
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root / ".people").rglob("*") if path.is_dir()} == {
        0o700
    }


async def test_what_one_shares_the_others_find_in_shared(act, root):
    await act("alice", "write_file", path="shared/list.txt", content="milk")
    assert (root / "shared" / "list.txt").read_text() == "milk"
    assert stat.S_IMODE((root / "shared").stat().st_mode) == 0o700
    for user in ("bob", "local"):
        assert (await act(user, "read_file", path="shared/list.txt")).text == "milk"
        assert "shared/list.txt:1: milk" in (await act(user, "search_files", query="milk")).text
    assert (await act("bob", "read_file", path=str(root / "shared" / "list.txt"))).text == "milk"
    await act("bob", "delete_file", path="shared/list.txt")
    assert (await act("alice", "list_files", path="shared")).text == "The folder 'shared' is empty."


@pytest.mark.parametrize("path", ["Shared/a.txt", "SHARED", "\u017fhared/a.txt"])
async def test_what_could_be_taken_for_the_shared_folder_is_refused(path, act):
    said = await act("alice", "write_file", path=path, content="x")
    assert "could be taken for the shared folder; write it 'shared'" in said.text


@pytest.mark.parametrize("name", ["write_file", "delete_file"])
async def test_the_shared_folder_itself_is_no_file(name, act):
    args = {"path": "shared", **({"content": "x"} if name == "write_file" else {})}
    assert "'shared' is a folder" in (await act("alice", name, **args)).text


async def test_local_has_the_workspace_as_it_always_was_and_nobody_elses_folder(act, root):
    await act("local", "write_file", path="notes.txt", content="hers")
    assert (root / "notes.txt").read_text() == "hers"
    assert (await act("local", "list_files")).text == "notes.txt (4 bytes)"
    await act("alice", "write_file", path="notes.txt", content="hers")
    assert (await act("local", "list_files")).text == "notes.txt (4 bytes)"
    assert (await act("local", "search_files", query="hers")).text == "notes.txt:1: hers"
    there = {
        (await act("local", name, **{"path": path, **more})).text.replace("'.People'", "'.people'")
        for path in (".people", ".People/alice", f"{root}/.people/alice/notes.txt", "./.people/nobody")
        for name, more in (("list_files", {}), ("read_file", {}), ("write_file", {"content": "x"}))
    }
    assert there == {"Tool error: There is no folder '.people'."}


WAYS_TO_BOB = (
    "../bob/diary.txt",
    "shared/../../bob/diary.txt",
    "shared/../.people/bob/diary.txt",
    ".people/bob/diary.txt",
    "bob/diary.txt",
    "{root}/.people/bob/diary.txt",
    "{root}/.people/alice/../bob/diary.txt",
    "{root}/shared/../.people/bob/diary.txt",
    "{root}/diary.txt",
    "link/diary.txt",
    "file-link",
    "shared/link/diary.txt",
    "shared/file-link",
)


@pytest.mark.parametrize("way", WAYS_TO_BOB)
async def test_by_no_path_or_link_does_one_reach_anothers_file_or_learn_of_it(way, act, root):
    await act("alice", "write_file", path="own.txt", content="x")
    await act("alice", "write_file", path="shared/own.txt", content="x")
    (root / ".people" / "bob").mkdir(mode=0o700)
    for folder in (root / ".people" / "alice", root / "shared"):
        (folder / "link").symlink_to(root / ".people" / "bob")
        (folder / "file-link").symlink_to(root / ".people" / "bob" / "diary.txt")
    path = way.format(root=root)
    tries = (("read_file", {}), ("list_files", {}), ("search_files", {"query": "e"}), ("delete_file", {}))

    async def told() -> list[str]:
        return [(await act("alice", name, **{"path": path, **more})).text for name, more in tries]

    without = await told()
    await act("bob", "write_file", path="diary.txt", content="secret")
    assert await told() == without
    await act("alice", "write_file", path=path, content="overwritten")
    assert (root / ".people" / "bob" / "diary.txt").read_text() == "secret"
    assert [path.name for path in (root / ".people" / "bob").iterdir()] == ["diary.txt"]


SWAPPED = {"alice": ".people/alice", "the shared folder": "shared", "all people": ".people"}


@pytest.mark.parametrize("swapped", SWAPPED)
async def test_a_folder_that_was_swapped_for_a_link_is_refused(swapped, act, root):
    aside = root.parent / "aside"
    (aside / "alice").mkdir(parents=True)
    (aside / "alice" / "diary.txt").write_text("secret")
    place = root / SWAPPED[swapped]
    place.parent.mkdir(parents=True)
    place.symlink_to(aside if swapped == "all people" else aside / "alice")
    path = "shared/diary.txt" if swapped == "the shared folder" else "diary.txt"
    assert "links are not followed" in (await act("alice", "read_file", path=path)).text
    assert "secret" not in (await act("alice", "search_files", query="secret")).text.replace("'secret'", "")
