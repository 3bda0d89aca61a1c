import asyncio
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from base.errors import StorageError
from base.settings import load_settings
from graphs.session import open_orchestrator
from nodes.context import Context
from storage.memories import open_memories

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TWOBRAIN_DATA_DIR": str(tmp_path / "data"), "HOME": str(tmp_path)})


async def test_what_is_remembered_in_one_conversation_is_recalled_in_another_after_a_restart(settings):
    async with open_orchestrator(settings) as orchestrator:
        await orchestrator.ask("remember that the bin goes out on Monday")
    async with open_orchestrator(settings) as orchestrator:
        result = await orchestrator.ask("what do you remember about the bin?")
        other = await orchestrator.ask("what do you remember about the bin?", context=Context(user="local2"))
    assert "the bin goes out on Monday" in result.response
    assert "Monday" not in other.response
    assert stat.S_IMODE((settings.data_dir / "store.db").stat().st_mode) == 0o600


@pytest.mark.slow
async def test_several_processes_may_create_the_store_at_once(tmp_path, settings):
    environ = {"HOME": str(tmp_path), "TWOBRAIN_DATA_DIR": str(settings.data_dir)}
    script = (
        "import asyncio, sys\n"
        "from storage.memories import open_memories\n"
        "from base.settings import load_settings\n"
        "async def main():\n"
        "    async with open_memories(load_settings().data_dir / 'store.db') as store:\n"
        "        await store.aput(('memories', 'ada'), sys.argv[1], {'text': 'x'})\n"
        "asyncio.run(main())\n"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(number), cwd=ROOT, env=environ, stderr=subprocess.PIPE
        )
        for number in range(4)
    ]
    said = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    async with open_memories(settings.data_dir / "store.db") as store:
        assert len(await store.asearch(("memories", "ada"))) == 4


async def test_a_store_that_is_no_database_is_a_storage_error_that_names_it(settings):
    settings.data_dir.mkdir()
    (settings.data_dir / "store.db").write_text("not a database, but long enough to be taken for one" * 20)
    with pytest.raises(StorageError, match=r"store\.db cannot be used: it is damaged or not a database"):
        async with open_memories(settings.data_dir / "store.db"):
            raise AssertionError


@pytest.mark.slow
def test_a_program_that_closes_its_loop_itself_is_told_of_no_task_left_over(tmp_path):
    script = (
        "import asyncio\n"
        "from graphs.session import open_orchestrator\n"
        "async def main():\n"
        "    async with open_orchestrator() as orchestrator:\n"
        "        await orchestrator.ask('remember that the bin goes out on Monday')\n"
        "    return orchestrator\n"
        "loop = asyncio.new_event_loop()\n"
        "kept = loop.run_until_complete(main())\n"
        "loop.close()\n"
    )
    environ = {"HOME": str(tmp_path), "TWOBRAIN_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


async def test_the_three_databases_write_ahead_and_a_locked_one_says_so(settings, monkeypatch):
    for place in ("storage.memories", "storage.sqlite"):
        monkeypatch.setattr(f"{place}.BUSY_S", 0.1)

    async def locked(file: str) -> str:
        """Return what is said of a request to remember something while somebody has locked a file."""
        with closing(sqlite3.connect(settings.data_dir / file, isolation_level=None)) as other:
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            other.execute("BEGIN IMMEDIATE")
            try:
                async with open_orchestrator(settings) as orchestrator:
                    result = await orchestrator.ask("remember that it rains", thread_id="t1")
                    return result.tool_calls[0]["result"]
            except StorageError as error:
                return str(error)

    async with open_orchestrator(settings) as orchestrator:
        await orchestrator.ask("what is 12*7", thread_id="t1")
    for file in ("ledger.db", "checkpoints.db"):
        assert f"{file} cannot be used: another process has locked it" in await locked(file)
    assert "locked" in await locked("store.db")
    async with open_orchestrator(settings) as orchestrator:
        assert (await orchestrator.ask("what is 12*7", thread_id="t1")).stop_reason == "answered"
