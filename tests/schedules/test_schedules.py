"""What is due is done once, whoever sees it, whatever ends meanwhile; what nobody saw is told as missed."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
from sqlalchemy import select

from base.errors import StorageError, TwobrainError
from channels.messages import NoticeRows
from channels.notices import Notice, Notices, told_here, words_of
from channels.scheduler import Scheduler
from graphs.session import Orchestrator
from ledger.tables import notices, rows_of
from schedules.outcomes import outcomes
from schedules.recurrence import Recurrence
from schedules.schedules import AHEAD_S, Schedule, Schedules
from tests.wires.brain import Heard, Reply
from tests.wires.cards import at

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC).timestamp()
HOUR = 3_600.0


class Clock:
    """The time that all processes of a test agree on."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def woken(home, clock: Clock, happen=None, **options):
    """Open an orchestrator and its scheduler, by a clock that the test moves."""
    async with home.opened(happen, **options) as orchestrator:
        orchestrator.ledger.now = clock
        yield orchestrator, Scheduler(orchestrator)


def planned(task: str, *, every: float | None = HOUR, ident: str = "s1", **options) -> Schedule:
    kind, rule = ("every", str(every)) if every else ("once", "")
    recurrence = Recurrence(kind, rule, "UTC", NOON + HOUR)
    return Schedule(ident, "local", task, task, recurrence, NOON, **options)


async def kept(orchestrator: Orchestrator, *schedules: Schedule) -> Schedules:
    store = Schedules(orchestrator.ledger)
    for each in schedules:
        await store.add(each)
    return store


async def told(orchestrator: Orchestrator) -> list[tuple[str, str, str]]:
    rows = await orchestrator.ledger.access.read(rows_of, select(notices).order_by(notices.c.at))
    return [(row["kind"], row["place"], row["thread"]) for row in rows]


async def test_what_is_due_is_done_once_whoever_sees_it_first(home):
    clock = Clock()
    async with woken(home, clock) as (one, mine), woken(home, clock) as (_, theirs):
        store = await kept(one, planned("remember that the bin goes out"))
        assert await mine.run_due() == 0
        for hour in range(1, 6):
            clock.now = NOON + hour * HOUR
            await asyncio.gather(*(each.run_due() for each in (mine, theirs, mine, theirs)))
        runs = await store.runs("s1")
        assert [(run.due_at, run.status, run.missed) for run in runs] == [
            (NOON + hour * HOUR, "done", 0) for hour in range(1, 6)
        ]
        assert len(await told(one)) == 5
    assert home.effects == ["remember"] * 5


async def test_what_nobody_was_awake_for_is_done_once_late_and_said_to_be(home):
    clock = Clock()
    async with woken(home, clock) as (one, scheduler):
        store = await kept(one, planned("what is 12*7"), planned("get up", ident="s2", when_missed="skip"))
        clock.now = NOON + 10.5 * HOUR
        await scheduler.run_due()
        [late], [skipped] = await store.runs("s1"), await store.runs("s2")
        assert (late.due_at, late.status, late.missed) == (NOON + 10 * HOUR, "done", 9)
        assert (skipped.status, skipped.missed) == ("missed", 9)
        notice = Notice("k", "local", "page", "finished", late.thread, late.id)
        assert await words_of(one, notice) == (
            "Done: what is 12*7\n(It was due on 2030-06-01 22:00 UTC, when nobody was awake. "
            "Missed before that: 9 times.)"
        )
        [schedule] = await store.find(id="s1")
        assert schedule.next_at == NOON + 11 * HOUR
    assert home.effects == ["calculate"]


async def test_of_what_took_its_time_nobody_is_said_to_have_slept(home):
    clock = Clock()

    def happen(name: str) -> None:
        home.happen(name)
        clock.now += 90.0

    async with woken(home, clock, happen) as (one, scheduler):
        await kept(one, planned("what is 12*7"))
        clock.now = NOON + HOUR
        await scheduler.run_due()
        assert await told_here(one, "local") == ["Done: what is 12*7"]


async def test_what_was_done_is_told_though_its_process_ended_then(home, monkeypatch):
    clock = Clock()
    async with woken(home, clock) as (one, scheduler):
        await kept(one, planned("what is 12*7"))
        clock.now = NOON + HOUR
        with monkeypatch.context() as ending:
            ending.setattr(NoticeRows, "add", Mock(side_effect=asyncio.CancelledError))
            with pytest.raises(asyncio.CancelledError):
                await scheduler.run_due()
    async with woken(home, clock) as (other, scheduler):
        await scheduler.run_due()
        assert await told_here(other, "local") == ["Done: what is 12*7"]
    assert home.effects == ["calculate"]


async def test_a_run_that_was_cut_short_is_gone_on_with_and_its_effect_is_not_repeated(home):
    clock, loop, died = Clock(), asyncio.get_running_loop(), asyncio.Event()

    def happen(name: str) -> None:
        home.happen(name)
        loop.call_soon_threadsafe(died.set)

    async with woken(home, clock, happen) as (one, scheduler):
        store = await kept(one, planned("remember that the bin goes out", every=None))
        clock.now = NOON + HOUR
        doing = asyncio.create_task(scheduler.run_due())
        await died.wait()
        doing.cancel()
        await asyncio.wait([doing])
    async with woken(home, clock) as (other, scheduler):
        await scheduler.run_due()
        store = Schedules(other.ledger)
        [run] = await store.runs("s1")
        assert run.status in {
            "done",
            "waiting",
        }  # where nobody knows whether it happened, the person is asked
        assert [each.status for each in await store.find()] == ["ended"]
    assert home.effects == ["remember"]


async def test_a_question_waits_and_later_runs_do_not_pile_up_behind_it(home):
    clock = Clock()
    async with woken(home, clock) as (one, scheduler):
        store = await kept(one, planned('write "x" to a.txt'))
        for hour in (1, 2, 3):
            clock.now = NOON + hour * HOUR
            await scheduler.run_due()
        first, second, third = await store.runs("s1")
        assert [first.status, second.status, third.status] == ["waiting", "skipped", "skipped"]
        assert home.effects == []
        assert [entry["thread_id"] for entry in await one.pending()] == [first.thread]
        await one.resume(first.thread, answer=True)
        assert home.effects == ["write_file"]
        clock.now = NOON + 4 * HOUR
        await scheduler.run_due()
        assert (await store.runs("s1"))[-1].status == "waiting"


async def test_three_failures_in_a_row_pause_it_and_are_told(home):
    home.configure(
        '[models.gone]\nprovider = "openai"\nmodel = "x"\nbase_url = "http://127.0.0.1:9/v1"\n'
        'max_retries = 0\n[roles]\norchestrator = ["gone"]\nchat = ["gone"]\n'
    )
    clock = Clock()
    async with woken(home, clock) as (one, scheduler):
        store = await kept(one, planned("hello"))
        for hour in (1, 2, 3, 4):
            clock.now = NOON + hour * HOUR
            await scheduler.run_due()
        assert [run.status for run in await store.runs("s1")] == ["failed"] * 3
        [schedule] = await store.find()
        assert schedule.status == "paused"
        assert schedule.why.startswith("3 failures in a row: ")
        assert [kind for kind, _, _ in await told(one)] == ["failed"] * 3
        assert await store.resume("s1", None)
        assert [each.next_at for each in await store.find(status="active")] == [NOON + 5 * HOUR]


async def test_nothing_to_report_is_told_nowhere(open_wire, furnish):
    def brain(heard: Heard) -> Reply:
        return Reply(text="Nothing to report." if "quiet" in heard.request else f"News: {heard.request}")

    house = furnish({"planner": at(open_wire("openai", brain=brain))})
    async with house.open() as one:
        one.ledger.now = clock = Clock()
        path = {"choices": {"path": "single"}}
        await kept(
            one,
            planned("quiet", is_quiet=True, **path),
            planned("quiet as well", ident="s2", **path),
            planned("loud", ident="s3", is_quiet=True, **path),
            planned("loud as well", ident="s4", place="nowhere", **path),
        )
        clock.now = NOON + HOUR
        assert await Scheduler(one).run_due() == 4
        store = Schedules(one.ledger)
        threads = {(await store.runs(ident))[-1].thread: ident for ident in ("s1", "s2", "s3", "s4")}
        assert {threads[thread] for _, _, thread in await told(one)} == {"s2", "s3"}
        assert {(await store.runs(ident))[-1].status for ident in ("s1", "s2", "s3", "s4")} == {"done"}


async def test_a_reminder_is_on_its_way_before_it_is_due_once_and_no_model_is_asked(home):
    clock = Clock()
    async with woken(home, clock) as (one, mine), woken(home, clock) as (_, theirs):
        store = await kept(one, planned("take the bins out", every=None, is_reminder=True))
        clock.now = NOON + HOUR - AHEAD_S - 1
        await mine.run_due()
        assert await told(one) == []
        clock.now += 2
        await asyncio.gather(*(each.run_due() for each in (mine, theirs, mine, theirs)))
        [run] = await store.runs("s1")
        assert await told(one) == [("reminder", "page", run.thread)]
        assert run.status == "sent"
        assert await one.ledger.thread(run.thread) is None
        assert await store.remove("s1", None, one.settings)
        assert await told(one) == []


async def test_a_long_turn_of_a_schedule_is_told_where_that_says_and_nowhere_else(home):
    home.configure('[users.local]\nnotify = ["page"]\n')
    clock = Clock()

    def happen(name: str) -> None:
        home.happen(name)
        clock.now += 100

    async with woken(home, clock, happen) as (one, scheduler):
        others = Notices("others", one, lambda _: True, lambda _: asyncio.sleep(0))
        await others.look()
        await kept(one, planned("what is 12*7", every=None, place="nowhere"))
        clock.now = NOON + HOUR
        await scheduler.run_due()
        await others.look()
        assert [kind for kind, _, _ in await told(one) if kind] == []
        assert (await one.ask("what is 12*7", thread_id="mine")).response
        await others.look()
        assert [(kind, thread) for kind, _, thread in await told(one) if kind] == [("finished", "mine")]


async def test_what_cannot_be_told_now_is_not_tried_all_the_time(home):
    async def away(_: Notice) -> None:
        raise TwobrainError("the service cannot be reached")

    clock = Clock()
    home.environ["PUSH"] = "json://127.0.0.1:9/"
    async with woken(home, clock) as (one, scheduler):
        page, push = (
            planned("x", ident=at, every=None, is_reminder=True, place=at) for at in ("page", "PUSH")
        )
        await kept(one, page, push)
        others = Notices("others", one, lambda _: True, away)
        clock.now = NOON + HOUR - 2
        await scheduler.run_due()
        assert await others.look() == 2
        clock.now = NOON + HOUR
        assert await others.look() > 1
        assert {row["sent_at"] for row in await one.ledger.access.read(rows_of, select(notices))} == {None}


async def test_what_was_meant_for_a_place_that_is_gone_comes_on_the_page_once(home):
    clock = Clock()
    async with woken(home, clock) as (one, _):
        store = await kept(one, planned("x", every=None, is_reminder=True, place="PUSH"))
        clock.now = NOON + HOUR
        await store.take(lambda _user, _chosen: {"PUSH": True})
        others = Notices("others", one, lambda _: True, lambda _: asyncio.sleep(0))
        await others.look()
        await others.look()
        assert await told_here(one, "local") == ["Reminder: x"]
        assert await told_here(one, "local") == []
        assert await outcomes(one.ledger, runs := await store.runs("s1")) == {
            runs[0].id: "sent, but PUSH could not be told"
        }


async def test_who_has_no_messenger_is_told_once_where_they_are(home):
    clock = Clock()
    async with woken(home, clock) as (one, scheduler):
        await kept(
            one,
            planned("take the bins out", every=None, is_reminder=True),
            planned("what is 12*7", ident="s2", every=None),
        )
        clock.now = NOON + HOUR - 1
        await scheduler.run_due()
        assert await told_here(one, "local") == []
        clock.now = NOON + HOUR
        await scheduler.run_due()
        assert await told_here(one, "alice") == []
        assert sorted(await told_here(one, "local")) == ["Done: what is 12*7", "Reminder: take the bins out"]
        assert await told_here(one, "local") == []


async def test_what_is_paused_is_neither_done_nor_sent_though_it_was_on_its_way(home):
    clock = Clock()
    async with woken(home, clock) as (one, scheduler):
        store = await kept(
            one,
            planned("what is 12*7"),
            planned("take the bins out", every=None, ident="s2", is_reminder=True),
        )
        clock.now = NOON + HOUR - AHEAD_S
        await store.take(scheduler.targets)
        assert await store.pause("s2")
        clock.now = NOON + HOUR
        await store.take(scheduler.targets)
        assert await store.pause("s1")
        assert await scheduler.run_due() == 0
        assert [run.status for run in await store.runs("s1")] == ["skipped"]
        assert await told(one) == []
        await store.add(replace(planned("what is 12*7"), user="bob"))
        assert [each.user for each in await store.find(id="s1")] == ["local"]
    assert home.effects == []


async def test_the_clock_that_is_set_back_repeats_nothing(home):
    clock = Clock()
    async with woken(home, clock) as (one, scheduler):
        store = await kept(one, planned("what is 12*7"))
        for hour in (1, 2, -22, -21, 1, 2, 3):
            clock.now = NOON + hour * HOUR
            await scheduler.run_due()
        assert [run.due_at for run in await store.runs("s1")] == [NOON + hour * HOUR for hour in (1, 2, 3)]
    assert home.effects == ["calculate"] * 3


async def test_another_users_schedule_is_none_of_ones_own(home):
    clock = Clock()
    async with woken(home, clock) as (one, scheduler):
        store = await kept(one, planned("what is 12*7"))
        assert not await store.pause("s1", "bob")
        assert not await store.remove("s1", "bob", one.settings)
        assert not await store.resume("s1", "bob")
        assert not await store.enter("s1", "bob", scheduler.targets)
        assert await store.find(user="bob") == []
        assert [each.status for each in await store.find(user="local")] == ["active"]


async def test_a_database_that_is_away_leaves_what_is_due_for_later(home):
    clock, away = Clock(), [True]

    def commit() -> None:
        if away:
            raise StorageError("The database is away.")

    async with woken(home, clock, committing=commit) as (one, scheduler):
        store = await kept(one, planned("what is 12*7", every=None))
        clock.now = NOON + HOUR
        await scheduler.run_due()
        assert [run.status for run in await store.runs("s1")] == ["due"]
        away.clear()
        await scheduler.run_due()
        assert [run.status for run in await store.runs("s1")] == ["done"]
    assert home.effects == ["calculate"]


@pytest.mark.slow
@pytest.mark.sqlite_files
async def test_a_run_whose_conversation_is_damaged_fails_and_is_not_tried_for_ever(home):
    clock = Clock()
    async with woken(home, clock) as (one, _):
        store = await kept(one, planned("what is 12*7", every=None))
        clock.now = NOON + HOUR
        await store.take(lambda _user, _chosen: {})
        [run] = await store.runs("s1")
        await one.ask("what is 1+1", thread_id=run.thread)
    with closing(sqlite3.connect(home.data / "checkpoints.db")) as database, database:
        database.execute("UPDATE checkpoints SET checkpoint = x'c1'")
    async with woken(home, clock) as (one, scheduler):
        assert await scheduler.run_due() == 1
        assert [each.status for each in await Schedules(one.ledger).runs("s1")] == ["failed"]
        assert await scheduler.run_due() == 0


@pytest.mark.prove(sampled=False)
async def test_of_a_schedule_the_last_thousand_runs_are_known(home):
    clock = Clock()
    async with woken(home, clock) as (one, scheduler):
        store = await kept(one, planned("stand up", is_reminder=True, place="nowhere"))
        for _ in range(1_003):
            clock.now += 60
            await store.enter("s1", None, scheduler.targets)
        runs = await store.runs("s1", 2_000)
        assert (len(runs), runs[-1].due_at) == (1_000, clock.now)


@pytest.mark.slow
async def test_after_a_year_of_outage_each_is_done_once_and_quickly(home):
    clock = Clock()
    async with woken(home, clock) as (one, scheduler):
        cron = Recurrence("cron", "* * * * *", "Europe/Berlin", NOON)
        store = await kept(one, Schedule("s1", "local", "t", "what is 12*7", cron, NOON))
        clock.now = NOON + 366 * 24 * HOUR
        assert await scheduler.run_due() == 1
        [run] = await store.runs("s1")
        assert clock.now - run.due_at < 61
        assert run.missed > 1_000
