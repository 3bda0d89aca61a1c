"""Schedules at the terminal: what may be planned, what is listed, and what a person is told."""

import asyncio
import re
import time

import pytest

from base.settings import load_settings
from graphs.session import open_orchestrator
from schedules.triggers import Event, Triggers, by_event

PROMPT = "1m>"
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


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("telegram", "twobrain.toml has no [channels.telegram]"),
        ("matrix", "[users.local] has no matrix"),
        ("NO_SUCH", "the variable NO_SUCH is not set"),
        ("PASSWORD", "the variable PASSWORD holds no apprise URL"),
        ("slack", "there is no such place"),
    ],
)
def test_a_place_where_nobody_can_be_told_is_refused_with_those_there_are(home, place, why):
    home.configure(
        '[users.local]\nnotify = ["PUSH"]\n[channels.matrix]\n'
        'homeserver = "http://127.0.0.1:9"\nuser = "@two:brain.example"\n'
    )
    given = {"PUSH": "json://127.0.0.1:9", "PASSWORD": "hunter2hunter2", "MATRIX_ACCESS_TOKEN": "x" * 20}
    wanted = ("schedule", "add", "hello", "--cron", "0 7 * * *", "--to")
    told = " ".join(home.run(*wanted, place, code=2, **given).stderr.split())
    assert f"{place!r} cannot be told: {why}" in told
    assert "There are: page, nowhere, PUSH" in told
    assert "hunter2" not in told
    for reached in ("page", "nowhere", "PUSH"):
        home.run(*wanted, reached, **given)
    assert len(home.json("schedule", "list")) == 3


def test_what_cannot_be_told_any_more_comes_on_the_page_and_the_list_says_so(home, terminal):
    for task, more in (("what is 2+3", ()), ("take the bins out", ("--remind",))):
        home.run("schedule", "add", task, "--at", "07:00", *more, "--to", "PUSH", PUSH="json://127.0.0.1:9")
    for row in sorted(home.json("schedule", "list"), key=lambda row: row["title"]):
        home.run("schedule", "run", row["id"])
    told = home.run("schedule", "list").stdout
    assert "done, but PUSH could not be told" in told
    assert "waits on the page until it is shown, but PUSH could not be told" in told
    screen = terminal("chat")
    screen.sees("Reminder: take the bins out", "Done: what is 2+3", PROMPT)
    screen.sendeof()
    screen.ends(0)
    assert "sent, but PUSH could not be told" in home.run("schedule", "list").stdout


def test_doctor_names_the_places_where_nobody_can_be_told(home):
    home.configure(
        f'[users.local]\ntelegram = 5\nnotify = ["telegram", "PUSH", "page"]\n{HOOK}to = "NO_SUCH"\n'
    )
    told = " ".join(
        home.run("doctor", code=1, DEPLOYS_SECRET="x" * 20, PUSH="json://127.0.0.1:9").stdout.split()
    )
    assert (
        "[users.local] notify: 'telegram' cannot be told, for twobrain.toml has no [channels.telegram]"
        in told
    )
    assert "[hooks.deploys] to: 'NO_SUCH' cannot be told, for the variable NO_SUCH is not set" in told
    assert "'PUSH' cannot" not in told


def test_all_times_are_in_their_persons_zone_and_what_is_over_does_not_go_on(home):
    home.configure('[users.local]\ntimezone = "Asia/Tokyo"\n' + HOOK)
    come(home, "hook deploys")
    home.run("run-due")
    home.run("schedule", "add", "take the bins out", "--at", "in 1s", "--remind")
    time.sleep(1)
    home.run("run-due")
    rows = {row["title"]: row["id"] for row in home.json("schedule", "list")}
    lines = home.run("schedule", "list").stdout.splitlines()[1:]
    assert [line.count(" JST: ") for line in lines] == [1, 1]
    told = home.run("schedule", "resume", rows["take the bins out"]).stderr
    assert "is over: no time to come is left of it" in told
    assert home.json("schedule", "resume", rows["what is 12*7"])["status"] == "active"


def test_one_is_done_alone_now_and_its_answer_printed(home):
    for task, more in (("what is 2+3", ()), ('write "x" to a.txt', ()), ("take the bins out", ("--remind",))):
        home.run("schedule", "add", task, "--at", "2099-01-01 07:00", *more)
    home.run("schedule", "add", "what is 12*7", "--at", "in 1s")
    time.sleep(1)
    ids = {row["title"]: row["id"] for row in home.json("schedule", "list")}
    done = home.run("schedule", "run", ids["what is 2+3"])
    assert "2+3 = 5" in done.stdout
    assert "thread schedule-" in done.stderr
    assert [row["title"] for row in home.json("threads")] == ["what is 2+3"]
    waits = home.run("schedule", "run", ids['write "x" to a.txt'], code=3)
    assert "twobrain approve schedule-" in waits.stdout
    again = home.run("schedule", "run", ids['write "x" to a.txt'], code=2).stderr
    assert "An earlier run of" in again
    assert "twobrain pending" in again
    reminded = home.run("schedule", "run", ids["take the bins out"])
    assert "Reminder: take the bins out" in reminded.stdout
    assert "waits on the page until it is shown" in reminded.stderr
    told = home.json("schedule", "run", ids["what is 2+3"])
    assert (told["status"], told["result"]["response"].splitlines()[0]) == ("done", "2+3 = 5")
    assert [row["tool"] for row in home.json("audit")].count("calculate") == 2  # not the one that was due


def test_who_has_a_timer_alone_reads_reminders_in_what_it_prints(home):
    home.run("schedule", "add", "take the bins out", "--at", "in 1s", "--remind", "--to", "page")
    due = home.run("run-due")
    assert "Reminder: take the bins out" in due.stdout
    assert "Done: 1." in due.stderr
    assert home.json("run-due") == {"done": 0, "reminders": []}
    [row] = home.json("schedule", "list")
    assert (row["to"], row["last"]["status"]) == ("page", "sent")
    time.sleep(1)
    assert "waits on the page until it is shown" in home.run("schedule", "list").stdout


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--max-cost=-1",), "--max-cost: Input should be greater than 0"),
        (("--max-cost", "nan"), "--max-cost: Input should be greater than 0"),
        (("--path", "nope"), "'--path': 'nope' is not one of"),
        (("--missed", "twice"), "'--missed'"),
        (("--every", "9999999w"), "is no length of time"),
        (("--zone", "Mars/Base"), "'Mars/Base' is no time zone"),
        (("--user", "nobody"), "nobody"),
        (("and more",), "characters; a message has 10 at the most"),
    ],
)
def test_an_option_that_does_not_fit_is_said_in_a_sentence(home, more, told):
    home.configure("[users.local]\n[users.alice]\n[limits]\nmax_message_chars = 10\n")
    done = home.run("schedule", "add", "hello", "--at", "07:00", *more, code=2)
    assert told in " ".join(done.stderr.split())
    assert "unexpected" not in done.stderr
    assert home.json("schedule", "list") == []


def test_a_time_that_clocks_skip_is_said_to_be_later_and_a_rule_goes_by_another_zones_clock(home):
    home.configure('[users.local]\ntimezone = "Europe/Berlin"\n')
    told = home.run("schedule", "add", "x", "--at", "2099-03-29 02:30").stderr
    assert "next on 2099-03-29 03:30 CEST" in told
    assert "The clocks in Europe/Berlin skip 2099-03-29 02:30" in told
    assert "skip" not in home.run("schedule", "add", "x", "--at", "2099-03-29 03:30").stderr
    abroad = home.run("schedule", "add", "y", "--cron", "0 7 * * *", "--zone", "Asia/Tokyo").stderr
    assert "07:00 JST" in abroad
    listed = home.run("schedule", "list").stdout
    assert "every day at 07:00 in Asia/Tokyo" in listed
    assert re.search(r"(23:00 CET|00:00 CEST)\tactive", listed)


def test_an_id_may_be_shortened_where_no_other_begins_so_and_reminders_are_told_apart(home):
    ids = []
    for _ in range(17):  # of sixteen letters, two begin alike
        ids.append(home.json("schedule", "add", "x", "--every", "every 30 minutes", "--remind")["id"])
        if len({each[0] for each in ids}) < len(ids):
            break
    home.run("schedule", "pause", ids[0][:7])
    assert [row["id"] for row in home.json("schedule", "list") if row["status"] == "paused"] == [ids[0]]
    assert "begins several" in home.run("schedule", "remove", ids[-1][0], code=2).stderr
    assert "every 30 minutes, a reminder" in home.run("schedule", "list").stdout
    assert len(home.json("schedule", "list")) == len(ids)
