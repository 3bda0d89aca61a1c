"""Our own routes beside the engine's: whether turns can run, and the counts of what ran."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from base.settings import load_settings
from nodes.resources import open_resources, share, shared
from server.app import Readiness, app
from storage.checkpoints.saver import open_checkpoints
from tests.server.conftest import BEARERS, SCRAPER, TOKENS
from tests.server.talking import APPROVE, opened


def samples(text: str) -> dict[str, float]:
    """Return each of our samples, under its name and labels as they are sorted."""
    return {
        f"{one.name}{sorted(one.labels.items())}": one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.name.startswith("twobrain_")
    }


def of(found: dict[str, float], name: str, *labels: str) -> float:
    """Return the sum of a metric's samples that have such labels."""
    return sum(
        value
        for key, value in found.items()
        if key.startswith(f"twobrain_{name}[") and all(label in key for label in labels)
    )


async def read(server, **headers: str) -> dict[str, float]:
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return samples(answer.text)


async def test_the_metrics_tell_what_the_ledger_has_of_models_tools_and_consents(open_talk, server):
    before = await read(server)
    talk = await open_talk()
    assert (await talk.say('write "seen" to seen.txt', orchestrator="planner", responder="writer"))["pending"]
    asked = await read(server)
    assert of(asked, "approvals_waiting") == of(before, "approvals_waiting") + 1
    assert of(asked, "approval_oldest_seconds") > 0
    await talk.answer(APPROVE, context={"orchestrator": "planner", "responder": "writer"})
    after = await read(server)
    assert of(after, "approvals_waiting") == of(before, "approvals_waiting")
    grown = {name: of(after, name) - of(before, name) for name in ("turn_seconds_count", "decisions_total")}
    assert grown == {"turn_seconds_count": 1, "decisions_total": 1}
    wrote = ("'write_file'", "'executed'")
    assert of(after, "tool_calls_total", *wrote) == of(before, "tool_calls_total", *wrote) + 1
    for name in ("model_calls_total", "model_tokens_total"):
        for brain in ("orchestrator", "chat"):
            assert of(after, name, f"'{brain}'") > of(before, name, f"'{brain}'")
    assert of(after, "day_tokens") > of(before, "day_tokens")
    async with opened(server.ledger) as ledger:
        rows = await ledger.usage()
    assert of(after, "model_calls_total") == len(rows)


async def test_a_name_that_a_model_made_up_and_what_is_said_are_no_labels(open_talk, server):
    talk = await open_talk()
    await talk.say('use planted_tool_4731 {"planted": "planted-words-4732"}', orchestrator="planner")
    async with httpx.AsyncClient(base_url=server.url) as client:
        text = (await client.get("/metrics?users=true")).text
        assert "user=" not in (await client.get("/metrics")).text
    assert "planted" not in text
    assert talk.id not in text
    assert 'twobrain_day_tokens{user="local"}' in text


@pytest.mark.parametrize(
    ("who", "status"), {"alice": 200, "bob": 403, "monitor": 200, "a stranger": 401, "nobody": 401}.items()
)
def test_the_metrics_are_an_admins_or_a_monitors(who, status, guarded):
    headers = {"Authorization": "Bearer token-of-nobody"} if who == "a stranger" else BEARERS.get(who, {})
    for path in ("/metrics", "/twobrain/metrics", "/metrics?format=json"):
        answer = httpx.get(f"{guarded.url}{path}", headers=headers)
        assert (answer.status_code, "twobrain_turn_seconds_count" in answer.text) == (status, status == 200)
        assert not any(token in answer.text for token in (*TOKENS.values(), SCRAPER))


def test_a_monitors_token_opens_nothing_else(guarded):
    answer = httpx.post(f"{guarded.url}/threads/search", json={}, headers=BEARERS["monitor"])
    assert answer.status_code == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_without_tokens_the_metrics_are_for_this_machine_alone(header, server):
    answer = httpx.get(f"{server.url}/metrics", headers={header: "127.0.0.1"})
    assert answer.status_code == 403
    assert "metrics_token_env" in answer.json()["detail"]


def test_whoever_asks_is_told_that_the_server_is_ready(guarded, server):
    for each in (guarded, server):
        answer = httpx.get(f"{each.url}/ready")
        assert (answer.status_code, answer.json()) == (200, {"ready": True})


@pytest.fixture
async def data_dir(tmp_path: Path) -> AsyncIterator[Path]:
    """Return the folder of resources that the app in this process uses."""
    res = await open_resources(load_settings({"TWOBRAIN_DATA_DIR": str(tmp_path / "data")}))
    before = shared[:]
    async with open_checkpoints(tmp_path / "data" / "checkpoints.db", writer=res.ledger.writer) as saver:
        share(replace(res, checkpoints=saver))
        yield tmp_path / "data"
    shared[:] = before
    await res.close()


def _remove(data_dir: Path) -> None:
    shutil.rmtree(data_dir)


def _empty(file: str):
    def empty(data_dir: Path) -> None:
        with closing(sqlite3.connect(data_dir / file)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                database.execute(f"DROP TABLE {table}")

    return empty


FAULTS = {
    "no folder": (_remove, "data directory"),
    "no tables in the ledger": (_empty("ledger.db"), "ledger"),
    "no tables for conversations": (_empty("checkpoints.db"), "conversations"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_where_turns_cannot_run_it_is_named_and_nothing_more(fault, data_dir, caplog):
    assert await Readiness().problem() is None
    spoil, named = FAULTS[fault]
    spoil(data_dir)
    told = await Readiness().problem()
    assert named in told
    assert str(data_dir) not in told
    assert "not ready" in caplog.text


async def test_what_cannot_run_turns_is_answered_with_503(data_dir):
    _remove(data_dir)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/ready")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)


async def test_a_ledger_that_another_process_has_locked_is_told_in_time(data_dir):
    with closing(sqlite3.connect(data_dir / "ledger.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        told = await Readiness().problem()
        other.rollback()
    assert told == "The ledger does not answer; the server's log says why."
