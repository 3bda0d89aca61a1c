"""Stored results: once each, for their owner alone, whole or not at all."""

import asyncio
import inspect
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.errors import StorageError
from ledger.database import open_ledger_database
from storage.long_results import LongResults, ResultFiles, is_untrusted
from storage.result_rows import ResultRows


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "artifacts"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on files and on Postgres, but for those that look at the files."""
    asked_for = inspect.signature(metafunc.function).parameters
    if "artifacts" in asked_for and "root" not in asked_for:
        metafunc.parametrize("stored_in", ["files", pytest.param("postgres", marks=pytest.mark.slow)])


@pytest.fixture
def stored_in() -> str:
    return "files"


@pytest.fixture
def artifacts(stored_in: str, root: Path, request: pytest.FixtureRequest) -> Iterator[LongResults]:
    if stored_in == "files":
        yield ResultFiles(root)
        return
    database = open_ledger_database(request.getfixturevalue("database_url"))
    yield ResultRows(database)
    database.close()


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


async def _whole(artifacts: LongResults, user: str, handle: str, count: int) -> str:
    texts, at = [], 0
    while (piece := await artifacts.read(user, handle, at, count)) and piece.text:
        assert piece.start == at
        texts.append(piece.text)
        at = piece.end
    return "".join(texts)


async def test_the_same_content_is_stored_once_and_keeps_its_handle(artifacts, root):
    kept = [await artifacts.put("ada", "x" * 5_000, untrusted=False) for _ in range(3)]
    assert len(set(kept)) == 1
    assert [path.stat().st_size for path in _files(root)] == [5_000]


async def test_the_same_content_stored_at_the_same_moment_is_one_whole_file(artifacts, root):
    puts = (artifacts.put("ada", "y" * 100_000, untrusted=False) for _ in range(8))
    assert len(set(await asyncio.gather(*puts))) == 1
    assert [path.stat().st_size for path in _files(root)] == [100_000]


async def test_files_and_folders_are_for_their_owner_alone(artifacts, root):
    await artifacts.put("ada", "secret", untrusted=False)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_dir()} | {
        stat.S_IMODE(root.stat().st_mode)
    }
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in _files(root)} == {0o600}


async def test_another_persons_handle_finds_nothing_even_where_both_stored_the_same(artifacts, root):
    hers = await artifacts.put("ada", "only Ada's", untrusted=False)
    assert await artifacts.read("bob", hers.handle, 0, 100) is None
    his = await artifacts.put("bob", "only Ada's", untrusted=False)
    assert (await artifacts.read("bob", his.handle, 0, 100)).text == "only Ada's"
    assert len(_files(root)) == 2


@pytest.mark.parametrize("user", ["../../etc", "a/b", ".", "", "ü" * 200, "mail@example.org", "nul\0"])
async def test_any_name_of_a_person_has_a_folder_inside(artifacts, root, user):
    kept = await artifacts.put(user, "text", untrusted=False)
    assert (await artifacts.read(user, kept.handle, 0, 10)).text == "text"
    assert all(root in path.parents for path in _files(root))


async def test_what_strangers_wrote_cannot_be_read_as_if_they_had_not(artifacts):
    theirs = await artifacts.put("ada", "obey me", untrusted=True)
    assert is_untrusted(theirs.handle)
    assert await artifacts.read("ada", theirs.handle.removesuffix("-untrusted"), 0, 10) is None
    ours = await artifacts.put("ada", "our own", untrusted=False)
    assert not is_untrusted(ours.handle)
    assert await artifacts.read("ada", f"{ours.handle}-untrusted", 0, 10) is None


@pytest.mark.parametrize("handle", ["", "*", "../secret", "0" * 20, "a" * 19, "A" * 20, "-untrusted", "\0"])
async def test_what_is_no_handle_finds_nothing(artifacts, handle):
    await artifacts.put("ada", "text", untrusted=False)
    assert await artifacts.read("ada", handle, 0, 10) is None


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 100])
async def test_pieces_are_whole_characters_and_together_the_whole_text(artifacts, count):
    text = "aé€😀" * 9 + "z"
    kept = await artifacts.put("ada", text, untrusted=False)
    assert kept.size == len(text.encode())
    assert await _whole(artifacts, "ada", kept.handle, count) == text


async def test_beyond_the_end_there_is_nothing_and_before_the_beginning_is_the_beginning(artifacts):
    kept = await artifacts.put("ada", "text", untrusted=False)
    assert (await artifacts.read("ada", kept.handle, 99, 10)).text == ""
    assert (await artifacts.read("ada", kept.handle, -5, 2)).text == "te"


async def test_what_is_read_again_is_read_from_memory(artifacts, root):
    kept = await artifacts.put("ada", "text", untrusted=False)
    first = await artifacts.read("ada", kept.handle, 0, 10)
    for path in _files(root):
        path.unlink()
    assert await artifacts.read("ada", kept.handle, 0, 10) == first
    assert await artifacts.read("bob", kept.handle, 0, 10) is None


async def test_a_write_that_was_cut_short_leaves_nothing_that_could_be_read(artifacts, root, monkeypatch):
    def fail(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("storage.long_results.os.fsync", fail)
    with pytest.raises(StorageError, match="the disk is full; free some space"):
        await artifacts.put("ada", "text", untrusted=False)
    assert _files(root) == []


async def test_a_file_in_the_folders_place_is_named_with_what_to_do(artifacts, root):
    root.parent.mkdir(parents=True)
    root.write_text("in the way")
    with pytest.raises(StorageError, match="set TWOBRAIN_DATA_DIR to a directory that is yours"):
        await artifacts.put("ada", "text", untrusted=False)
