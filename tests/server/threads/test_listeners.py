"""Whoever listens to a run of theirs is let on without a pause, and no longer than they may."""

import asyncio

import pytest

from server import thread_list
from server.thread_list import Listeners

MINE = {"owner": "alice"}


class Running:
    """Says of one user's run that it is under way."""

    is_over = False

    def is_running_for(self, user: str, thread: str) -> bool:
        return not self.is_over and (user, thread) == ("alice", "t1")


@pytest.fixture
def running(monkeypatch) -> Running:
    running = Running()
    monkeypatch.setattr(thread_list, "opened", [running])
    return running


async def never():
    raise AssertionError("nothing is looked up")


async def test_a_listener_is_known_at_once_while_the_run_goes_on_and_nobody_else_is(running):
    known = Listeners()
    for user, thread in (("alice", "t1"), ("alice", "t2"), ("bob", "t1")):
        known.note(user, thread, MINE)

    assert known.filter_of("alice", "t1", never) == MINE
    assert known.filter_of("alice", "t2", never) is None
    assert known.filter_of("bob", "t1", never) is None
    running.is_over = True
    assert known.filter_of("alice", "t1", never) is None
    running.is_over = False
    assert known.filter_of("alice", "t1", never) is None, "it is looked up anew"


async def test_what_a_listener_may_is_looked_up_again_beside_it_and_holds_from_then_on(running, monkeypatch):
    monkeypatch.setattr(thread_list, "_LOOKED_UP_S", 0)
    known, looked = Listeners(), asyncio.Event()
    known.note("alice", "t1", MINE)

    async def revoked():
        looked.set()
        raise PermissionError

    assert known.filter_of("alice", "t1", revoked) == MINE
    await looked.wait()
    await asyncio.sleep(0)
    assert known.filter_of("alice", "t1", never) is None
