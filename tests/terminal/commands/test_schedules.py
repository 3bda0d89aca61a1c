"""Schedules at the terminal: what may be planned, what is listed, and what a person is told."""

import asyncio

import pytest

from base.settings import load_settings
from graphs.session import open_orchestrator
from schedules.triggers import Event, Triggers, by_event

MAIL = """
[tools.inbox.local]
host = "127.0.0.1"
user = "me@home.example"
password_env = "MAIL_PASSWORD"
[[tools.inbox.local.rules]]
name = "trips"
task = "what is 12*7"
"""
HOOK = '[hooks.deploys]\ntask = "what is 12*7"\nsecret_env = "DEPLOYS_SECRET"\n'


def come(home, source: str, key: str = "guid-1") -> str:
    """Have something happen outside; return what became of it."""

    async def enter() -> str:
        async with open_orchestrator(load_settings(home.env())) as orchestrator:
            schedule = by_event(source, "local", "what is 12*7", orchestrator.ledger.now())
            return await Triggers(orchestrator.ledger).enter(schedule, Event(key, "a.txt", "It came."))

    return asyncio.run(enter())


@pytest.mark.parametrize(
    ("source", "table"),
    [
        ("hook deploys", "[hooks.deploys]"),
        ("mail trips", "the rule 'trips' of [[tools.inbox.local.rules]]"),
    ],
)
def test_what_twobrain_toml_declares_is_not_removed_and_known_deliveries_stay_known(home, source, table):
    home.configure(HOOK + MAIL)
    config = home.directory / "twobrain.toml"
    assert come(home, source) == "entered"
    home.run("run-due")
    [row] = home.json("schedule", "list")
    home.run("schedule", "pause", row["id"])
    told = home.run("schedule", "remove", row["id"], code=2).stderr
    assert f"take {table} out there" in " ".join(told.split())
    assert [each["status"] for each in home.json("schedule", "list")] == ["paused"]

    config.write_text("")
    home.run("schedule", "remove", row["id"])
    assert home.json("schedule", "list") == []
    home.configure(HOOK + MAIL)
    assert come(home, source) == "known"
    home.run("run-due")
    assert len(home.json("audit")) == 1
