"""What is kept in Postgres: by the same interfaces, made once, refused in a sentence."""

import asyncio
import math
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from sqlalchemy import make_url

from base.errors import ConfigurationError, StorageError
from base.settings import load_settings
from graphs.session import open_orchestrator
from ledger.ledger import Ledger
from storage.postgres.postgres_database import conninfo, postgres_url
from storage.postgres.postgres_memories import open_postgres_memories
from storage.postgres.postgres_saver import open_postgres_checkpoints
from tests.behaviour.database.proxy import relay
from tests.ledger.samples import call, claim, finish

ROOT = Path(__file__).parents[2]
OPENS = """
import asyncio
from base.settings import load_settings
from graphs.session import open_orchestrator

async def main():
    async with open_orchestrator(load_settings()) as orchestrator:
        await orchestrator.ask("what is 12*7")

asyncio.run(main())
"""


@pytest.mark.slow
async def test_the_saver_conforms_but_for_pruning_what_is_stored_as_deltas(database_url):
    @checkpointer_test(name="postgres")
    async def saver():
        async with open_postgres_checkpoints(database_url) as opened:
            yield opened

    report = await validate(saver)

    assert report.conformance_level() == "FULL"
    assert {name for name, result in report.results.items() if not result.passed} == set()


async def test_what_a_model_says_with_nul_in_it_is_kept(database_url):
    said = 'one\0two "\\u0000" \\\0'
    async with open_postgres_checkpoints(database_url) as saver:
        checkpoint = {**empty_checkpoint(), "channel_values": {"n": said}, "channel_versions": {"n": 1}}
        at = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        await saver.aput(at, checkpoint, {"source": "input", "step": 1, "said": said}, {"n": 1})
        kept = await saver.aget_tuple(at)
    ledger = await Ledger.open(database_url)
    await claim(ledger, call("c1", path="a\0b"))
    await finish(ledger, call("c1", path="a\0b"), said)
    result = await claim(ledger, call("c1", path="a\0b"))
    await ledger.close()

    marked = 'one�two "\\u0000" \\�'
    assert kept.checkpoint["channel_values"] == {"n": marked}
    assert result.text == marked


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("half \ud83d of it \ude00\udc00", "half � of it ��"),
        ("\ud83d\ude00 \\ud83d é", "\U0001f600 \\ud83d é"),
        (math.nan, "NaN"),
        ([-math.inf, "\0"], ["-Infinity", "�"]),
    ],
)
async def test_what_json_in_postgres_has_no_room_for_is_kept_as_a_mark(database_url, said, kept):
    async with open_postgres_memories(database_url) as store:
        await store.aput(("memories", "ada"), "a", {"text": said})
        assert (await store.aget(("memories", "ada"), "a")).value == {"text": kept}
    async with open_postgres_checkpoints(database_url) as saver:
        at = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        await saver.aput(at, empty_checkpoint(), {"source": "input", "step": 1, "said": said}, {})
        assert (await saver.aget_tuple(at)).metadata["said"] == kept


class Letters:
    """Places a text by how often it has each letter."""

    name = "letters"

    async def of_query(self, text: str) -> list[float]:
        return [float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"]

    async def of_texts(self, texts: Sequence[str]) -> list[list[float]]:
        return [await self.of_query(text) for text in texts]


async def test_memories_are_found_by_their_meaning_and_forgotten_with_it(database_url):
    place = ("memories", "ada")
    async with open_postgres_memories(database_url, Letters()) as store:
        for key, text in (("a", "aaa bbb"), ("x", "xxx yyy"), ("z", "zzz")):
            await store.aput(place, key, {"text": text})
        found = await store.asearch(place, query="yx", limit=2)
        theirs = await store.asearch(("memories", "bob"), query="yx")
        await store.aput(place, "x", {"text": "aab"})
        await store.adelete(place, "z")
        again = await store.asearch(place, query="ab")

    assert found[0].key == "x"
    assert theirs == []
    assert {item.key for item in again} == {"a", "x"}
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT key FROM twobrain_vectors ORDER BY key").fetchall() == [
            ("a",),
            ("x",),
        ]


@pytest.mark.slow
def test_several_processes_may_make_the_tables_at_once(tmp_path, database_url):
    environ = {"HOME": str(tmp_path), "TWOBRAIN_DATABASE_URL": database_url, "PATH": "/nowhere"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENS], cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said


@pytest.mark.slow
async def test_a_role_that_may_make_no_tables_works_on_those_there_are_and_is_refused_else(
    tmp_path, database_url, postgres
):
    name = make_url(database_url).database
    theirs = make_url(database_url).set(username=f"role_{name}").render_as_string(hide_password=False)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE role_{name} LOGIN")
        settings = load_settings(
            {"TWOBRAIN_DATABASE_URL": theirs, "TWOBRAIN_DATA_DIR": str(tmp_path), "PATH": ""}
        )
        with pytest.raises(StorageError, match="its role may not do that; run `twobrain migrate`"):
            async with open_orchestrator(settings):
                pass
        async with open_orchestrator(settings.model_copy(update={"database_url": database_url})):
            pass
        for schema in ("public", "twobrain"):
            owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO role_{name}")
            owner.execute(
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO role_{name}"
            )
            owner.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO role_{name}")
        async with open_orchestrator(settings) as orchestrator:
            result = await orchestrator.ask("what is 12*7")
        owner.execute(f"DROP OWNED BY role_{name}")
        owner.execute(f"DROP ROLE role_{name}")

    assert "84" in result.response


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://alice:hunter22@127.0.0.1:1/db", "127.0.0.1:1/db cannot be used: it cannot be reached"),
        ("postgresql://alice:hunter22@127.0.0.1:port/db", "cannot be read"),
        ("postgresql://alice:hunter22@", "cannot be"),
        ("postgresql://alice:h@hunter22@127.0.0.1:1/db", "with %40 for an @ in the password"),
    ],
)
async def test_a_database_that_cannot_be_used_is_refused_without_its_password(tmp_path, url, said):
    settings = load_settings({"TWOBRAIN_DATABASE_URL": url, "TWOBRAIN_DATA_DIR": str(tmp_path), "PATH": ""})
    with pytest.raises(StorageError) as caught:
        async with open_orchestrator(settings):
            pass
    assert said in str(caught.value)
    assert "hunter22" not in str(caught.value)
    assert "hunter22" not in settings.redact(url)
    assert "hunter22" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter22@h1:5432,h2:5433/d",
        "postgresql://u:hunter22/h%40ha@h/d",
        "postgresql://u:hunter22 @h@h/d",
        "postgresql://u@h/d?sslmode=require&password=hunter22",
        "postgresql://h/d?sslkey=k&sslpassword=hunter22&user=u",
    ],
)
def test_the_databases_password_is_stripped_from_texts_however_its_url_is_written(tmp_path, url):
    settings = load_settings({"TWOBRAIN_DATABASE_URL": url, "TWOBRAIN_DATA_DIR": str(tmp_path)})
    assert "hunter22" not in settings.redact(f"it said {url} {unquote(url)}")
    assert settings.redact("sslmode h1:5432 /d") == "sslmode h1:5432 /d"


@pytest.mark.parametrize("url", ["mysql://h/db", "sqlite:///x.db", "h/db", "postgresql+asyncpg://h/db"])
def test_a_url_of_another_kind_is_refused(tmp_path, url):
    with pytest.raises(ConfigurationError, match="TWOBRAIN_DATABASE_URL must begin with postgresql://"):
        load_settings({"TWOBRAIN_DATABASE_URL": url, "TWOBRAIN_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    "spelled",
    [
        "postgresql://{user}@127.0.0.1:{closed},127.0.0.1:{port}/{name}?sslmode=disable",
        "postgres://{user}@/{name}?host=127.0.0.1:{closed}&host=127.0.0.1:{port}&sslmode=disable",
        "postgresql://{user}@{folder}/{name}",
        "postgresql:///{name}?user={user}&host={folder}&options=-cwork_mem=1MB&options=-cjit=off",
    ],
)
async def test_a_database_is_found_under_every_spelling_that_libpq_knows(database_url, spelled):
    real = make_url(database_url)
    with relay(database_url) as (_, through):
        url = spelled.format(
            user=real.username,
            closed=1,
            port=make_url(through).port,
            name=real.database,
            folder=quote(str(real.query["host"]), safe=""),
        )
        ledger = await Ledger.open(url)
        assert (await claim(ledger, call("c1"))).attempt == 1
        await ledger.close()
        async with open_postgres_checkpoints(url) as saver:
            assert await saver.threads() == []


async def test_a_database_that_is_gone_without_a_word_is_given_up_in_seconds(database_url, monkeypatch):
    made = []
    for kind in (psycopg.Connection, psycopg.AsyncConnection):
        monkeypatch.setattr(kind, "__init__", _noting(kind.__init__, made))
    with relay(database_url) as (_, url):
        await (await Ledger.open(url)).close()
        opened = len(made)
        async with open_postgres_checkpoints(url) as saver:
            await saver.threads()
    assert 0 < opened < len(made)
    assert set(made) == {(10, 25_000)}


def test_a_password_given_as_a_parameter_is_no_part_of_what_programs_are_told():
    url = postgres_url("postgresql://u@h/d?sslmode=require&password=hunter22")
    assert url.password == conninfo(url)["password"] == "hunter22"
    assert "hunter22" not in url._replace(password=None).render_as_string(hide_password=False)


def _noting(begin, made):
    def noting(self, pgconn, *args, **options):
        begin(self, pgconn, *args, **options)
        with socket.socket(fileno=os.dup(pgconn.socket)) as end:
            asked = (socket.TCP_KEEPIDLE, socket.TCP_USER_TIMEOUT)
            made.append(tuple(end.getsockopt(socket.IPPROTO_TCP, option) for option in asked))

    return noting


async def test_a_database_of_a_newer_twobrain_is_refused_and_left_as_it_is(database_url):
    await (await Ledger.open(database_url)).close()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE twobrain.ledger_schema SET version = 99")
        with pytest.raises(StorageError, match=r"schema 99.*update twobrain"):
            await Ledger.open(database_url)
        assert connection.execute("SELECT version FROM twobrain.ledger_schema").fetchall() == [(99,)]


async def test_a_session_that_somebody_ends_comes_back_with_its_locks(database_url, monkeypatch):
    monkeypatch.setattr("storage.postgres.session_locks._GRACE_S", 0)
    one, two = await Ledger.open(database_url), await Ledger.open(database_url)
    locks, others = one.database.thread_locks(), two.database.thread_locks()
    async with locks.of("t1"):
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert await locks.is_held("t1")  # it is asked, and comes back
        await asyncio.to_thread(one.database.session.is_taken, 17)
        assert await others.is_held("t1")
    assert not await others.is_held("t1")
    for each in (one, two):
        await each.close()
