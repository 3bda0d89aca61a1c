import asyncio
import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from sqlalchemy import Engine, event

from base.errors import StorageError
from ledger.ledger import Ledger
from ledger.records import Call, Claimed
from tests.ledger.samples import call, claim, finish, use

SECRETS = ('quo"te\\d-secret', "plain-secret", "schlüssel-geheim", "73519904218")


def redact(text: str) -> str:
    for secret in SECRETS:
        text = text.replace(secret, "[redacted]")
    return text


@contextmanager
def listening(name: str, listener) -> Iterator[None]:
    event.listen(Engine, name, listener)
    try:
        yield
    finally:
        event.remove(Engine, name, listener)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock, so that what is submitted meanwhile queues up."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def together(path: Path, wanted: list[Call], ledger: Ledger) -> list[object]:
    """Claim calls at once, of which those with a user were entered before."""
    await ledger.enter([each for each in wanted if each.user])
    with locked(path):
        claims = (ledger.claim(each, needs_approval=False, lease_s=60, rerun=False) for each in wanted)
        tasks = [asyncio.create_task(claiming) for claiming in claims]
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_writes_that_come_together_share_few_transactions(ledger, path):
    commits = []
    with listening("commit", commits.append):
        said = await together(path, [call(f"c{n}") for n in range(200)], ledger)

    assert said == [Claimed(attempt=1)] * 200
    assert 1 <= len(commits) - 1 <= 3, "one entered them"


async def test_a_write_that_fails_fails_alone(ledger, path):
    bad = Call("t1", "bad", "turn-1", None, "user", "gemini", "write_file", {}, "write")
    said = await together(path, [call("before"), call("between"), bad, call("after")], ledger)

    assert [type(each) for each in said] == [Claimed, Claimed, StorageError, Claimed]
    assert [row["call_id"] for row in await ledger.audit()] == ["before", "between", "after"]


async def test_files_are_the_owners_alone_whatever_the_umask(path):
    before = os.umask(0)
    try:
        ledger = await Ledger.open(path)
        await claim(ledger, call())
    finally:
        os.umask(before)

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await ledger.close()


async def test_a_file_that_others_could_read_is_closed_to_them(path):
    path.parent.mkdir()
    path.touch(mode=0o644)
    ledger = await Ledger.open(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await ledger.close()


async def test_no_file_is_open_to_others_even_while_it_is_made(path):
    path.parent.mkdir()
    seen = []
    before = os.umask(0)
    try:
        with listening("connect", lambda *_: seen.append(stat.S_IMODE(path.stat().st_mode))):
            ledger = await Ledger.open(path)
    finally:
        os.umask(before)

    assert set(seen) == {0o600}
    await ledger.close()


async def test_opening_a_new_file_waits_for_another_that_is_at_it(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        opening = asyncio.create_task(Ledger.open(path))
        done, _ = await asyncio.wait({opening}, timeout=0.3)
        other.execute("ROLLBACK")

    assert not done
    await (await opening).close()


async def test_what_is_written_is_there_after_opening_again(path):
    first = await Ledger.open(path)
    await claim(first, call())
    await finish(first, call(), "42")
    await first.close()
    second = await Ledger.open(f"sqlite:///{path}")

    assert (await claim(second, call())).text == "42"
    await second.close()


async def test_nothing_blocks_the_event_loop(place):
    with blockbuster_ctx():
        ledger = await Ledger.open(place)
        await claim(ledger, call())
        await finish(ledger, call())
        await ledger.touch("t1", user="alice", status="answered")
        assert len(await ledger.audit()) == len(await ledger.threads()) == 1
        await ledger.close()


async def test_no_secret_reaches_any_file(path):
    ledger = await Ledger.open(path, redact)
    secrets = " ".join(SECRETS)
    args = {"deep": [{secrets: secrets, "number": 73519904218}], "flag": True, "n": 1.5}
    await ledger.ask([call("asked", **args), call("denied", **args)], expires_at=None)
    shown = call("asked", **args).fingerprint
    await ledger.decide(call("asked").key, approve=True, by="alice", fingerprint=shown, args={"new": secrets})
    await ledger.decide(call("denied").key, approve=False, by="alice", fingerprint=shown, message=secrets)
    await claim(ledger, call("run", **args))
    await finish(ledger, call("run", **args), secrets)
    await ledger.enter([call("noted", **args)])
    await ledger.note(call("noted", **args), status="failed", text=secrets)
    ledger.record_usage(use(error=secrets))
    await ledger.touch("t1", user="alice", status="failed", title=secrets)

    written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    rows = await ledger.audit()
    told = await ledger.outcomes("alice", "t1", ["run", "denied", "noted"])
    await ledger.close()
    written += path.read_bytes() + repr(told).encode()  # long ones are compressed on disk

    assert b"[redacted]" in written
    spellings = {spelling for secret in SECRETS for spelling in (secret, json.dumps(secret)[1:-1])}
    assert [spelling for spelling in spellings if spelling.encode() in written] == []
    assert rows[-1]["args"]["deep"][0]["number"] == "[redacted]"
    assert (rows[-1]["args"]["flag"], rows[-1]["args"]["n"]) == (True, 1.5)


async def test_a_fingerprint_is_of_the_arguments_as_they_were(place):
    ledger = await Ledger.open(place, redact)
    await claim(ledger, call(key=SECRETS[0]), lease_s=0)

    assert await claim(ledger, call(key=SECRETS[0]), rerun=True) == Claimed(attempt=2)
    await ledger.close()


async def refusal(database: Path | str) -> str:
    with pytest.raises(StorageError) as caught:
        await Ledger.open(database)
    return str(caught.value)


async def test_a_newer_schema_is_refused_and_left_as_it_is(path):
    await (await Ledger.open(path)).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE ledger_schema SET version = 99")
        other.execute("DROP TABLE usage")
        other.commit()

    said = await refusal(path)

    assert str(path) in said
    assert "schema 99" in said
    assert "update twobrain" in said
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM sqlite_master WHERE name = 'usage'").fetchone() == (0,)


async def test_a_directory_that_cannot_be_made_is_named_with_what_to_do(tmp_path):
    (tmp_path / "file").touch()

    said = await refusal(tmp_path / "file" / "ledger.db")

    assert "a file stands where its directory should be" in said
    assert "TWOBRAIN_DATA_DIR" in said


async def test_an_unwritable_directory_is_named_with_what_to_do(tmp_path):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("nothing is unwritable to root")

    said = await refusal(tmp_path / "ledger.db")

    assert "Permission denied" in said
    assert "TWOBRAIN_DATA_DIR" in said


async def test_a_read_only_database_says_what_to_do(path):
    read_only = lambda connection, record: connection.execute("PRAGMA query_only=ON")  # noqa: E731
    with listening("connect", read_only):
        said = await refusal(path)

    assert "make it and its directory writable" in said


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path):
    path.parent.mkdir()
    path.write_text("dear diary " * 1000)

    assert "damaged or not a database" in await refusal(path)
    assert path.read_text() == "dear diary " * 1000


async def test_a_database_damaged_while_in_use_says_so(path):
    ledger = await Ledger.open(path)
    await asyncio.gather(*(claim(ledger, call(f"c{n}", text="x" * 4000)) for n in range(50)))
    await ledger.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))

    with pytest.raises(StorageError, match="damaged"):
        await refused_audit(path)


async def refused_audit(path: Path) -> None:
    ledger = await Ledger.open(path)
    try:
        await ledger.audit()
    finally:
        await ledger.close()


async def test_a_full_disk_fails_the_write_says_so_and_ends_with_the_disk_full(path):
    await (await Ledger.open(path)).close()
    small = lambda connection, record: connection.execute("PRAGMA max_page_count=30")  # noqa: E731
    with listening("connect", small):
        ledger = await Ledger.open(path)
        with pytest.raises(StorageError, match="disk is full; free some space"):
            await claim(ledger, call(text="x" * 200_000))
        assert isinstance(await claim(ledger, call("small")), Claimed)
        await ledger.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("oracel://alice:hunter22@host/db", "oracel"),
        ("a://alice:hunter22:9@host:port/db", "postgresql://"),
        ("sqlite://", "name a file"),
    ],
)
async def test_a_url_that_cannot_be_opened_is_refused_without_its_password(url, said):
    told = await refusal(url)

    assert said in told
    assert "hunter22" not in told


async def test_a_closed_ledger_says_so_and_closes_twice(ledger):
    await ledger.close()
    await ledger.close()

    with pytest.raises(StorageError, match="closed"):
        await claim(ledger, call())
    with pytest.raises(StorageError, match="closed"):
        await ledger.threads()
