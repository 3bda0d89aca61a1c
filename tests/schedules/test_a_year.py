"""A year of schedules, two processes and a kill a day; a thousand reminders, two processes, one killed."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest

from schedules.recurrence import Recurrence
from schedules.schedules import Schedule, Schedules
from tests.behaviour.crashes.process import Home
from tests.channels.conftest import ALICE
from tests.schedules.waking import counted, remind, wake
from tests.terminal.forked import Forked

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
"""Three change their clocks, one of them by half an hour; the last does not."""
NIGHTLY = "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0"
AGAIN = "Sent once more"


def dues_of(recurrence: Recurrence, begin: float, end: float) -> list[float]:
    return list(takewhile(lambda due: due <= end, recurrence.times_after(begin)))


async def through(home: Home, moments: Sequence[float]) -> None:
    """Have two processes do what is due at each moment; on most days one of them is killed meanwhile."""
    chance, killed_on = random.Random(7), moments[0]
    with ExitStack() as ended:
        awake = [ended.enter_context(Forked(wake, home)) for _ in range(2)]
        for moment in moments:
            for process in awake:
                process.stdin.write(f"{moment}\n")
                process.stdin.flush()
            if moment > killed_on and chance.random() < 0.5:
                killed_on = moment + 86_400 / 2
                await asyncio.sleep(chance.uniform(0, 0.3))
                victim = awake.pop(chance.randrange(2))
                victim.kill()
                victim.wait()
            for process in awake:
                assert await asyncio.to_thread(process.stdout.readline) == "done\n"
            awake += [ended.enter_context(Forked(wake, home)) for _ in range(2 - len(awake))]


@pytest.mark.slow
@pytest.mark.prove
async def test_over_a_year_of_nights_and_kills_each_due_time_is_done_once_or_told(home, proving, tell):
    home.tools = counted
    first, days = (
        (datetime(2026, 1, 1, tzinfo=UTC), 365) if proving else (datetime(2026, 3, 27, tzinfo=UTC), 4)
    )
    begin, end = first.timestamp(), (first + timedelta(days=days)).timestamp()
    planned = {zone: Recurrence("rrule", NIGHTLY, zone, begin) for zone in ZONES}
    task = "remember that the night was quiet"
    async with home.opened() as orchestrator:
        for zone, recurrence in planned.items():
            schedule = Schedule(zone, "local", zone, task, recurrence, begin, place="nowhere")
            await Schedules(orchestrator.ledger).add(schedule)
    moments = sorted({due + 1 for each in planned.values() for due in dues_of(each, begin, end)})
    await through(home, moments)
    async with home.opened() as orchestrator:
        runs = {zone: await Schedules(orchestrator.ledger).runs(zone, 10_000) for zone in ZONES}
    effects = Counter(home.effects)
    assert set(effects.values()) == {1}
    total = done = 0
    for zone, recurrence in planned.items():
        dues = dues_of(recurrence, begin, moments[-1])
        assert {run.due_at for run in runs[zone]} <= set(dues)
        assert len(runs[zone]) + sum(run.missed for run in runs[zone]) == len(dues)
        assert {run.status for run in runs[zone]} <= {"done", "waiting", "skipped", "missed"}
        ended = [run.thread for run in runs[zone] if run.status == "done"]
        assert set(ended) <= effects.keys()
        total, done = total + len(dues), done + len(ended)
    tell(f"{days} days, {total} due times in {len(ZONES)} zones: {done} done, {total - done} told, 0 twice")


@pytest.mark.slow
@pytest.mark.prove
async def test_a_thousand_reminders_come_once_though_one_of_two_processes_is_killed(
    family, bot, proving, tell
):
    many, within_s = (1_000, 60.0) if proving else (40, 4.0)
    begin = time.time() + 5
    texts = [f"number {number}." for number in range(many)]
    async with family.opened() as orchestrator:
        for number, text in enumerate(texts):
            due = Recurrence("once", "", "UTC", begin + number * within_s / many)
            options = {"is_reminder": True, "place": "telegram"}
            schedule = Schedule(f"r{number}", "alice", "r", text, due, begin - 10, **options)
            await Schedules(orchestrator.ledger).add(schedule)
    wanted = [f"Reminder: {text}" for text in texts]
    with Forked(remind, family) as first, Forked(remind, family):
        await bot.until(lambda: len(bot.sent) >= many // 3)
        first.kill()
        first.wait()
        await bot.until(lambda: {each.text.splitlines()[-1] for each in bot.sent} == set(wanted))
    told = Counter(each.text for each in bot.sent if each.chat == ALICE)
    once = [text for text, times in told.items() if times == 1 and AGAIN not in text]
    assert set(once) <= set(wanted)
    assert many - len(once) <= 1  # what was on its way when it was killed may say that it is the second
    dues = {text: begin + number * within_s / many for number, text in enumerate(wanted)}
    late = sorted(each.at - dues[each.text] for each in bot.sent if each.text in dues)
    assert late[0] >= 0
    tell(
        f"{many} reminders within {within_s:g} s: {len(once)} once, {many - len(once)} marked as sent again; "
        f"{late[len(late) // 2]:.2f} s after their time, half of them, and {late[-1]:.2f} s the last"
    )
