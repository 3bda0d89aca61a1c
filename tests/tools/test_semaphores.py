import asyncio
import threading

import pytest

from base.settings import Limits
from tools.declaration import tool
from tools.run import concurrency_limit


def limited(name, at_once):
    def act() -> str:
        """Act."""
        return ""

    act.__name__ = name
    return tool(effect="read", at_once=at_once)(act)


async def test_a_waiter_that_is_cancelled_gives_its_place_to_the_next(settings):
    each = limited("cancelled", 1)
    entered = []

    async def work(name):
        async with concurrency_limit(each, settings):
            entered.append(name)

    async with concurrency_limit(each, settings):
        waiting = [asyncio.create_task(work(name)) for name in ("first", "second", "third")]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
    # The second has its place by now, but has not run yet.
    waiting[1].cancel()
    await asyncio.wait(waiting)
    assert entered == ["third"]
    async with asyncio.timeout(60), concurrency_limit(each, settings):
        pass


async def test_calls_of_several_event_loops_share_the_places(settings):
    each = limited("shared", 2)
    meeting = threading.Barrier(2, timeout=60)
    inside, most = [], []

    async def work():
        async with concurrency_limit(each, settings):
            inside.append(True)
            most.append(len(inside))
            await asyncio.to_thread(meeting.wait)
            inside.pop()

    async def works():
        await asyncio.gather(*(work() for _ in range(4)))

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, works()) for _ in range(3)))
    assert len(most) == 12
    assert max(most) == 2


async def test_those_of_all_tools_are_taken_only_by_a_call_that_has_its_own(settings):
    settings = settings.model_copy(update={"limits": Limits(tools_at_once=2)})
    narrow, wide = limited("narrow", 1), limited("wide", None)
    async with asyncio.timeout(60), concurrency_limit(narrow, settings):
        queued = asyncio.create_task(concurrency_limit(narrow, settings).__aenter__())
        await asyncio.sleep(0)
        async with concurrency_limit(wide, settings):  # the queued call holds none of the two
            full = asyncio.create_task(concurrency_limit(wide, settings).__aenter__())
            await asyncio.sleep(0)
            for task in (queued, full):
                assert not task.done()
                task.cancel()
            await asyncio.wait([queued, full])


async def test_a_call_that_fails_gives_its_place_back(settings):
    each = limited("failing", 1)
    with pytest.raises(ZeroDivisionError):
        async with concurrency_limit(each, settings):
            raise ZeroDivisionError
    async with asyncio.timeout(60), concurrency_limit(each, settings):
        pass
