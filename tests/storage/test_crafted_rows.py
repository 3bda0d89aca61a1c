"""Rows that somebody else wrote into the databases: nothing in them runs, and a person is told in words."""

import json
import os
import pickle
import sqlite3
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import closing
from pathlib import Path

import ormsgpack
import pytest
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_DELTA_SNAPSHOT,
    EXT_METHOD_SINGLE_ARG,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)

from base.errors import DamagedThreadError
from graphs.session import Orchestrator
from storage.serializer import StrictSerializer
from tests.behaviour.test_bad_input import check_clear

HOUSE = Path(__file__).parents[2]


class Payload:
    """What pickle runs when it is loaded."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def crafted(kind: str, command: str) -> tuple[str, bytes]:
    """Return type and value of a row that would run a command in a reader that trusts it."""
    pack = ormsgpack.packb
    system = ("os", "system", command)
    method = ("builtins", "__import__", "os", "system")
    popen = ("subprocess", "Popen", {"args": command, "shell": True})
    rows = {
        "single argument": (EXT_CONSTRUCTOR_SINGLE_ARG, pack(system)),
        "arguments": (EXT_CONSTRUCTOR_POS_ARGS, pack(("os", "system", [command]))),
        "keywords": (EXT_CONSTRUCTOR_KW_ARGS, pack(popen)),
        "method": (EXT_METHOD_SINGLE_ARG, pack(method)),
        "pydantic 1": (EXT_PYDANTIC_V1, pack(popen)),
        "pydantic 2": (EXT_PYDANTIC_V2, pack((*popen, "model_validate_json"))),
        "in a snapshot": (
            EXT_DELTA_SNAPSHOT,
            pack(ormsgpack.Ext(EXT_CONSTRUCTOR_SINGLE_ARG, pack(system))),
        ),
    }
    if kind == "pickle":
        return "pickle", pickle.dumps(Payload(command))
    if kind == "json":
        made = {"lc": 2, "type": "constructor", "id": ["os", "system"], "args": [command]}
        return "json", json.dumps(made).encode()
    return "msgpack", pack({"id": ormsgpack.Ext(*rows[kind])})


def compressed(data: bytes) -> tuple[str, bytes]:
    """Return type and value of a row that holds the data compressed."""
    return "zlib", zlib.compress(data)


KINDS = (
    *("single argument", "arguments", "keywords", "method", "pydantic 1", "pydantic 2", "in a snapshot"),
    *("pickle", "json"),
)
TABLES = {
    "checkpoints": "UPDATE checkpoints SET type = ?, checkpoint = ?",
    "writes": "UPDATE writes SET type = ?, value = ?",
}


@pytest.mark.parametrize("kind", ["single argument", "arguments", "in a snapshot"])
def test_a_reader_that_trusts_rows_would_run_the_crafted_ones(kind, tmp_path):
    JsonPlusSerializer().loads_typed(crafted(kind, f"touch {tmp_path / 'ran'}"))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("table", TABLES)
async def test_no_crafted_row_of_a_thread_runs_and_the_person_is_told(home, table):
    async with home.opened() as orchestrator:
        await orchestrator.ask("what is 2*3", thread_id="other")
        assert (await orchestrator.ask('write "x" to a.txt', thread_id="t1")).pending
        for kind in KINDS:
            plain = crafted(kind, f"touch {home.directory / 'ran'}")
            for row in (plain, compressed(plain[1])) if plain[0] == "msgpack" else (plain,):
                replace(home.data / "checkpoints.db", table, row)
                await check_told(orchestrator)
                assert not (home.directory / "ran").exists(), kind
        assert (await orchestrator.ask("what is 12*7", thread_id="other")).stop_reason == "answered"
    assert home.effects == ["calculate", "calculate"]


def replace(path: Path, table: str, row: tuple[str, bytes]) -> None:
    """Put a row in the place of each of a table's that belongs to the thread t1."""
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(f"{TABLES[table]} WHERE thread_id = 't1'", row).rowcount > 1


@pytest.mark.parametrize(
    ("what", "row"),
    [
        ("it unpacks to 200 MB", lambda: compressed(bytes(200_000_000))[1]),
        ("it is cut short", lambda: compressed(ormsgpack.packb({"id": "milk " * 100}))[1][:-3]),
        ("something follows it", lambda: compressed(ormsgpack.packb({"id": "1"}))[1] + b"more"),
        ("it is no compressed row", lambda: b"\xff" * 100),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
async def test_a_compressed_row_that_was_never_written_is_told_as_damage_and_takes_no_memory(home, what, row):
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask('write "x" to a.txt', thread_id="t1")).pending
        replace(home.data / "checkpoints.db", "checkpoints", ("zlib", row()))
        tracemalloc.start()
        try:
            await check_told(orchestrator)
            assert tracemalloc.get_traced_memory()[1] < 30_000_000, what
        finally:
            tracemalloc.stop()


async def check_told(orchestrator: Orchestrator) -> None:
    """Check what is said of the damaged thread t1 by all that reads it."""
    for reading in (
        orchestrator.result("t1"),
        orchestrator.proceed("t1"),
        orchestrator.resume("t1", answer=True),
        orchestrator.ask("what is 1+1", thread_id="t1"),
    ):
        with pytest.raises(DamagedThreadError) as caught:
            await reading
        check_clear(caught.value, "'t1' is damaged", "twobrain doctor --thread t1")
    [waiting] = await orchestrator.pending()
    assert waiting["request"]["action_requests"] == []
    assert "'t1' is damaged" in waiting["request"]["message"]


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("no checkpoint", []),
        ("half a checkpoint", {"id": "1", "channel_values": {}}),
        ("a string for the messages", {"messages": "x"}),
        ("numbers for the calls", {"calls": [1, 2]}),
    ],
)
async def test_a_row_of_another_shape_is_told_as_damage_too(home, what, value):
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask('write "x" to a.txt', thread_id="t1")).pending
        await reshape(home.data / "checkpoints.db", what, value)
        with pytest.raises(DamagedThreadError) as caught:
            await orchestrator.resume("t1", answer=False)
        check_clear(caught.value, "'t1' is damaged", "twobrain doctor --thread t1")
    assert home.effects == []


async def reshape(path, what, value):
    serde = StrictSerializer()
    with closing(sqlite3.connect(path)) as database, database:
        found = "SELECT max(checkpoint_id), type, checkpoint FROM checkpoints"
        last, kind, blob = database.execute(found).fetchone()
        checkpoint = serde.loads_typed((kind, blob))
        if "checkpoint" in what:
            checkpoint = value
        else:
            checkpoint["channel_values"] |= value
        row = (*serde.dumps_typed(checkpoint), last)
        database.execute("UPDATE checkpoints SET type = ?, checkpoint = ? WHERE checkpoint_id = ?", row)


@pytest.mark.slow
async def test_no_crafted_row_of_the_ledger_the_memories_or_an_artifact_runs(settle):
    house = settle()
    mark = house.folder / "ran"
    house.workspace.mkdir(parents=True)
    (house.workspace / "long.txt").write_text("milk " * 1_000)
    text = 'remember {"text": "the bin"} & read_file {"path": "long.txt"}'
    async with house.open() as orchestrator:
        await orchestrator.ask(text, thread_id="t1", context=house.context())
    [artifact] = house.stored()
    look_up = f'recall {{"query": "bin"}} & read_result {{"handle": "{artifact.name[:20]}", "offset": 0}}'
    for kind in ("pickle", "json"):
        forge(house.folder / "data", crafted(kind, f"touch {mark}")[1], artifact)
        async with house.open() as orchestrator:
            assert len(await orchestrator.ledger.audit()) >= 2
            assert await orchestrator.ledger.rules() == []
            result = await orchestrator.ask(look_up, context=house.context())
            assert [call["tool"] for call in result.tool_calls] == ["recall", "read_result"]
            assert result.stop_reason == "answered"
    assert not mark.exists()


def forge(data: Path, blob: bytes, artifact: Path) -> None:
    artifact.write_bytes(blob)
    with closing(sqlite3.connect(data / "ledger.db")) as ledger, ledger:
        text = blob.decode("latin-1")
        assert ledger.execute("UPDATE calls SET args = ?", (text,)).rowcount
        rule = (text, "local", "write_file", text, "x", 0, "local")
        columns = "id, user, tool, [where], definition, created_at, created_by"
        assert ledger.execute(f"INSERT INTO rules ({columns}) VALUES (?,?,?,?,?,?,?)", rule).rowcount
    with closing(sqlite3.connect(data / "store.db")) as memories, memories:
        assert memories.execute("UPDATE store SET value = ?", (blob,)).rowcount


SERVER = """
import sys
from langgraph_api.serde import Serializer

try:
    print(Serializer().loads_typed((sys.argv[1], sys.stdin.buffer.read())))
except Exception as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single argument", "pickle"])
def test_the_servers_own_reader_runs_no_crafted_row_as_langgraph_json_sets_it_up(kind, tmp_path):
    declared = json.loads((HOUSE / "langgraph.json").read_text())
    environ = {"LANGGRAPH_CHECKPOINTER": json.dumps(declared["checkpointer"]), **declared["env"]}
    row = crafted(kind, f"touch {tmp_path / 'ran'}")
    done = subprocess.run(
        [sys.executable, "-c", SERVER, row[0]],
        input=row[1],
        env={"PATH": os.defpath, "DATABASE_URI": ":memory:", "REDIS_URI": "fake", **environ},
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.stdout, done.stderr
    assert not (tmp_path / "ran").exists()
