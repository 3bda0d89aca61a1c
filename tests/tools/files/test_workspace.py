"""Nothing that a model writes as a path leads out of the workspace."""

import os
from dataclasses import replace

import pytest
from blockbuster import blockbuster_ctx

from base.settings import LOCAL

SECRET = "the outside secret"
CALLS = [
    ("read_file", {}),
    ("write_file", {"content": "taken over"}),
    ("delete_file", {}),
    ("search_files", {"query": "secret"}),
    ("list_files", {}),
]
each_use = pytest.mark.parametrize("use", CALLS, ids=[name for name, _ in CALLS])


@pytest.fixture
def outside(tmp_path, root):
    """Return a folder next to the workspace, with a secret in it."""
    root.mkdir(parents=True)
    folder = tmp_path / "data" / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text(SECRET)
    return folder


def assert_untouched(outside):
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"secret.txt": SECRET}


@each_use
@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside/secret.txt",
        "a/../../outside/secret.txt",
        "./.././outside/secret.txt",
        "/etc/passwd",
        "//etc/passwd",
        "{root}/../outside/secret.txt",
        "{root}side/secret.txt",
        "{outside}/secret.txt",
        "~/secret.txt",
        "~",
        "a\0b",
        "/",
    ],
)
async def test_a_path_that_leads_outside_is_refused(call, root, outside, use, path):
    name, args = use
    outcome = await call(name, path=path.format(root=root, outside=outside), **args)
    assert outcome.status == "failed"
    assert "is outside the workspace" in outcome.text
    assert SECRET not in outcome.text
    assert_untouched(outside)


@each_use
@pytest.mark.parametrize("target", ["secret.txt", "missing.txt"])
async def test_a_link_to_a_file_is_not_followed(call, root, outside, use, target):
    name, args = use
    (root / "link").symlink_to(outside / target)
    outcome = await call(name, path="link", **args)
    assert outcome.status == "failed"
    assert outcome.text == "Tool error: 'link' is a link; links are not followed."
    assert_untouched(outside)


@each_use
async def test_a_link_to_a_folder_is_not_followed(call, root, outside, use):
    name, args = use
    (root / "link").symlink_to(outside)
    for path in ("link/secret.txt", "link"):
        outcome = await call(name, path=path, **args)
        assert outcome.text == "Tool error: 'link' is a link; links are not followed."
    assert_untouched(outside)


async def test_a_link_is_listed_as_one_and_left_out_of_a_search(call, root, outside):
    (root / "link").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret.txt")
    assert (await call("list_files")).text == "file (a link, not followed)\nlink (a link, not followed)"
    assert (await call("search_files", query="secret")).text.startswith("No line contains 'secret'")


@each_use
async def test_a_folder_swapped_for_a_link_just_before_it_is_opened_is_refused(
    call, root, outside, monkeypatch, use
):
    name, args = use
    (root / "folder").mkdir()
    (root / "folder" / "secret.txt").write_text("inside")
    open_ = os.open

    def swap(path, *more, **kwargs):
        if path == "folder" and not (root / "folder").is_symlink():
            (root / "folder").rename(root / "moved")
            (root / "folder").symlink_to(outside)
        return open_(path, *more, **kwargs)

    monkeypatch.setattr(os, "open", swap)
    path = "folder" if name in {"list_files", "search_files"} else "folder/secret.txt"
    outcome = await call(name, path=path, **args)
    assert (root / "folder").is_symlink()
    assert "secret.txt" not in outcome.text.replace(repr(path), "")
    assert SECRET not in outcome.text
    assert (root / "moved" / "secret.txt").read_text() == "inside"
    assert_untouched(outside)


async def test_a_file_swapped_for_a_link_just_before_it_is_read_is_refused(call, root, outside, monkeypatch):
    (root / "a.txt").write_text("inside")
    open_ = os.open

    def swap(path, *more, **kwargs):
        if path == "a.txt":
            (root / "a.txt").unlink()
            (root / "a.txt").symlink_to(outside / "secret.txt")
        return open_(path, *more, **kwargs)

    monkeypatch.setattr(os, "open", swap)
    outcome = await call("read_file", path="a.txt")
    assert outcome.status == "failed"
    assert SECRET not in outcome.text


async def test_a_file_swapped_for_a_link_just_before_it_is_replaced_leaves_the_target_alone(
    call, root, outside, monkeypatch
):
    (root / "a.txt").write_text("inside")
    replace = os.replace

    def swap(*names, **kwargs):
        (root / "a.txt").unlink()
        (root / "a.txt").symlink_to(outside / "secret.txt")
        replace(*names, **kwargs)

    monkeypatch.setattr(os, "replace", swap)
    await call("write_file", path="a.txt", content="mine")
    assert not (root / "a.txt").is_symlink()
    assert (root / "a.txt").read_text() == "mine"
    assert_untouched(outside)


async def test_no_call_leaves_a_descriptor_open(call, root, outside):
    (root / "a").mkdir()
    (root / "a" / "b.txt").write_text("x")
    (root / "link").symlink_to(outside)
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 (a count of descriptors)
    for name, args in CALLS:
        for path in ("a", "a/b.txt", "link/x", "missing/x", "..", "."):
            await call(name, path=path, **args)
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208 (a count of descriptors)


@each_use
async def test_file_tools_never_block_the_event_loop(call, preview, root, outside, use):
    name, args = use
    path = "." if name in {"list_files", "search_files"} else "a.txt"
    (root / "a.txt").write_text("x")
    with blockbuster_ctx():
        shown = await preview(name, path=path, **args)
        assert (shown is not None) == (name in {"write_file", "delete_file"})
        assert (await call(name, path=path, **args)).status == "executed"


@each_use
@pytest.mark.parametrize("folder", [".", "deep/er"])
async def test_what_twobrain_stores_stays_shut_where_it_lies_in_the_workspace(
    household, call_in, tmp_path, use, folder
):
    name, args = use
    data = tmp_path / "home" / folder / "data"
    data.mkdir(parents=True)
    (data / "ledger.db").write_text(SECRET)
    (tmp_path / "home" / "notes.txt").write_text("no secret at all")
    here = household("", TWOBRAIN_WORKSPACE=str(tmp_path / "home"), TWOBRAIN_DATA_DIR=str(data))
    here = replace(here, user=LOCAL)
    told = await call_in(here, name, **args, path=f"{folder}/data" + ("/ledger.db" if "file" in name else ""))
    assert told.status == "failed"
    assert "holds what twobrain itself stores" in told.text
    assert (data / "ledger.db").read_text() == SECRET
    if name == "search_files":
        assert SECRET not in (await call_in(here, name, **args, path=".")).text


async def test_a_workspace_that_is_the_data_directory_stays_shut(household, call_in, tmp_path):
    place = str(tmp_path / "home")
    here = replace(household("", TWOBRAIN_WORKSPACE=place, TWOBRAIN_DATA_DIR=place), user=LOCAL)
    (tmp_path / "home").mkdir()
    assert "holds what twobrain itself stores" in (await call_in(here, "list_files", path=".")).text
