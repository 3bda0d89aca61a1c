"""A ledger that an earlier version made is brought up to today's, and nothing in it is lost."""

import sqlite3
from contextlib import closing

import pytest

from ledger.book import Ledger
from ledger.records import Claimed, Recorded
from ledger.tables import VERSION
from tests.ledger.samples import call, claim

FIRST = """
CREATE TABLE ledger_schema (id INTEGER NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (id));
CREATE TABLE calls (id INTEGER NOT NULL, thread VARCHAR NOT NULL, call_id VARCHAR NOT NULL,
  turn VARCHAR NOT NULL,
  user VARCHAR NOT NULL, role VARCHAR NOT NULL, model VARCHAR NOT NULL, tool VARCHAR NOT NULL,
  args TEXT NOT NULL,
  fingerprint VARCHAR NOT NULL, effect VARCHAR NOT NULL, status VARCHAR NOT NULL, decision VARCHAR,
  decided_by VARCHAR, decided_at DOUBLE, expires_at DOUBLE, owner VARCHAR, lease_until DOUBLE,
  attempts INTEGER NOT NULL, started_at DOUBLE, duration_ms DOUBLE, text TEXT, result_size INTEGER,
  result_sha256 VARCHAR, PRIMARY KEY (id), UNIQUE (thread, call_id));
CREATE INDEX ix_calls_user ON calls (user);
CREATE TABLE threads (thread VARCHAR NOT NULL, user VARCHAR NOT NULL, status VARCHAR NOT NULL, title TEXT,
  waiting_since DOUBLE, created_at DOUBLE NOT NULL, updated_at DOUBLE NOT NULL, PRIMARY KEY (thread));
CREATE INDEX ix_threads_user ON threads (user);
CREATE TABLE usage (id INTEGER NOT NULL, thread VARCHAR NOT NULL, turn VARCHAR NOT NULL,
  user VARCHAR NOT NULL,
  path VARCHAR NOT NULL, role VARCHAR NOT NULL, backend VARCHAR NOT NULL, model VARCHAR NOT NULL,
  input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, reasoning_tokens INTEGER,
  cost_usd DOUBLE,
  duration_ms DOUBLE, error TEXT, at DOUBLE NOT NULL, day VARCHAR(10) NOT NULL, PRIMARY KEY (id));
CREATE INDEX ix_usage_thread ON usage (thread);
CREATE INDEX ix_usage_at ON usage (at);
CREATE INDEX ix_usage_user ON usage (user);
INSERT INTO ledger_schema VALUES (1, 1);
INSERT INTO threads VALUES ('t1', 'alice', 'answered', 'Bins', NULL, 1.0, 2.0), ('t2', 'bob', 'running',
  'Milk', NULL, 1.0, 3.0);
INSERT INTO usage VALUES (1, 't1', 'turn-1', 'alice', 'single', 'orchestrator', 'gemini', 'g3', 100, 10,
  NULL, NULL,
  0.25, 800.0, NULL, 5.0, '1970-01-01');
"""
CALL = """
INSERT INTO calls VALUES (1, 't1', 'c1', 'turn-1', 'alice', 'user', 'gemini', 'write_file', '{"path": "a"}',
  :fingerprint, 'write', 'executed', 'approved', 'alice', 4.0, NULL, 'host/1/2', 9.0, 1, 4.5, 12.0,
  'wrote a', 7, 'x')
"""
SECOND = """
CREATE TABLE rules (id VARCHAR NOT NULL, user VARCHAR NOT NULL, tool VARCHAR NOT NULL, "where" TEXT NOT NULL,
  until DOUBLE, uses_left INTEGER, definition VARCHAR NOT NULL, created_at DOUBLE NOT NULL,
  created_by VARCHAR NOT NULL, PRIMARY KEY (id));
CREATE INDEX ix_rules_user ON rules (user);
UPDATE ledger_schema SET version = 2;
INSERT INTO rules VALUES ('r1', 'alice', 'write_file', '{"path": "*.txt"}', NULL, 3, 'd', 6.0, 'alice');
"""
THIRD = """
CREATE TABLE doubts (id INTEGER NOT NULL, thread VARCHAR NOT NULL, call_id VARCHAR NOT NULL,
  attempt INTEGER NOT NULL, asked_at DOUBLE NOT NULL, expires_at DOUBLE, decision VARCHAR, decided_by VARCHAR,
  decided_at DOUBLE, PRIMARY KEY (id), UNIQUE (thread, call_id, attempt));
UPDATE ledger_schema SET version = 3;
INSERT INTO doubts VALUES (1, 't1', 'c1', 1, 7.0, NULL, 'counted', 'alice', 8.0);
"""
FOURTH = """
ALTER TABLE threads ADD COLUMN owner VARCHAR;
CREATE INDEX usage_by_day ON usage (user, day, input_tokens, output_tokens, cost_usd);
UPDATE ledger_schema SET version = 4;
"""
FIFTH = """
ALTER TABLE usage ADD COLUMN counted_tokens INTEGER;
UPDATE usage SET counted_tokens = input_tokens + output_tokens;
UPDATE ledger_schema SET version = 5;
"""
SIXTH = "UPDATE ledger_schema SET version = 6;"
STEPS = (FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH)
"""What made the schema of each version, with rows of that time."""


@pytest.fixture
def made_by(path):
    """Return a function that makes the database as a version left it."""

    def made(version: int) -> None:
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as database, database:
            for step in STEPS[:version]:
                database.executescript(step)
            database.execute(CALL, {"fingerprint": call("c1", path="a").fingerprint})

    return made


def schema_of(path) -> dict[str, set[str]]:
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: {row[1] for row in database.execute(f"PRAGMA table_info({name})")} for name in tables}


def test_each_version_but_todays_has_a_database_that_it_made():
    assert len(STEPS) == VERSION - 1


@pytest.mark.parametrize("version", range(1, VERSION))
async def test_a_ledger_of_an_earlier_version_keeps_all_it_held_and_works_on(
    made_by, path, tmp_path, version
):
    made_by(version)
    for _ in range(2):  # the second time there is nothing left to do
        ledger = await Ledger.open(path)
        threads = {
            row["thread"]: (row["user"], row["title"], row["status"]) for row in await ledger.threads()
        }
        assert threads["t1"] == ("alice", "Bins", "answered")
        assert threads["t2"] == ("bob", "Milk", "running")
        [row] = await ledger.audit()
        assert (row["args"], row["decided_by"], row["result_size"]) == ({"path": "a"}, "alice", 7)
        assert len(row["doubts"]) == (version >= 3)
        assert [use["cost_usd"] for use in await ledger.usage()] == [0.25]
        assert await ledger.used_on("alice", at=5.0) == (110, 0.25)
        assert [rule["where"] for rule in await ledger.rules()] == [{"path": "*.txt"}] * (version >= 2)
        assert await claim(ledger, call("c1", path="a")) == Recorded("executed", "wrote a")
        await ledger.close()

    today = await Ledger.open(tmp_path / "new.db")
    await today.close()
    assert schema_of(path) == schema_of(tmp_path / "new.db")
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT version FROM ledger_schema").fetchall() == [(VERSION,)]
    ledger = await Ledger.open(path)
    await ledger.touch("t1", user="alice", status="running")
    assert await claim(ledger, call("c2")) == Claimed(attempt=1)
    await ledger.close()
