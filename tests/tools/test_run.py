import asyncio
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from base.worker_threads import MOST_THREADS, is_cancelled
from tools.declaration import ToolFailure, Untrusted, tool
from tools.run import run_tool


def returning(value):
    @tool(effect="read")
    async def give():
        """Give a value."""
        return value

    return give


def raising(error):
    @tool(effect="read")
    def fail():
        """Fail."""
        raise error

    return fail


class Unspeakable(Exception):  # noqa: N818
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("done", "done"),
        (None, "(no output)"),
        (" \n", "(no output)"),
        (7, "7"),
        ({"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'),
        ([], "[]"),
        (Path("a/b"), '"a/b"'),
        ("the key is hunter2-and-more", "the key is [redacted]"),
        ({"key": "hunter2-and-more"}, '{"key":"[redacted]"}'),
        ("nul \0, half a character \ud800", "nul \ufffd, half a character \ufffd"),
    ],
)
async def test_whatever_a_tool_returns_becomes_text_without_secrets(here, value, text):
    outcome = await run_tool(returning(value), here, {})
    assert (outcome.status, outcome.text) == ("executed", text)
    assert outcome.duration_ms >= 0


@pytest.mark.parametrize(
    "key", ["sk-", "AIza", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xoxa-", "xoxb-", "xoxp-", "Bearer "]
)
async def test_what_is_shaped_like_a_key_is_a_secret_whoever_knows_it(here, key):
    outcome = await run_tool(returning(f"{key}{'x1' * 12}, and a task-force"), here, {})
    assert outcome.text == f"{'Bearer ' if key == 'Bearer ' else ''}[redacted], and a task-force"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ToolFailure("The door is locked."), "Tool error: The door is locked."),
        (ToolFailure("hunter2-and-more is wrong"), "Tool error: [redacted] is wrong"),
        (ValueError("bad hunter2-and-more"), "Tool error: ValueError: bad [redacted]"),
        (KeyError("x"), "Tool error: KeyError: 'x'"),
        (TimeoutError("the server was slow"), "Tool error: TimeoutError: the server was slow"),
        (SystemExit(3), "Tool error: SystemExit: 3"),
        (StopIteration("no more"), "Tool error: RuntimeError: StopIteration"),
        (asyncio.CancelledError(), "Tool error: fail was interrupted."),
    ],
)
async def test_whatever_a_tool_raises_becomes_a_result_without_secrets(here, error, text):
    outcome = await run_tool(raising(error), here, {})
    assert (outcome.status, outcome.text) == ("failed", text)


async def test_an_error_that_cannot_even_be_printed_is_a_result_too(here):
    outcome = await run_tool(raising(Unspeakable()), here, {})
    assert outcome.status == "failed"
    assert "Unspeakable" in outcome.text


async def test_arguments_that_no_check_has_passed_fail_as_a_result(here):
    outcome = await run_tool(returning("never"), here, {"made": "up"})
    assert outcome.status == "failed"


async def test_a_tool_without_its_configuration_says_what_is_missing(here):
    @tool(effect="read", missing=lambda settings: "SEARCH_KEY is not set.")
    async def web() -> str:
        """Search."""
        raise AssertionError

    outcome = await run_tool(web, here, {})
    assert outcome.text == "Tool error: web is not available: SEARCH_KEY is not set."


async def test_a_tool_that_takes_too_long_is_stopped_with_the_limit_named(impatient):
    stopped = []

    @tool(effect="read")
    async def dawdle() -> None:
        """Wait for ever."""
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    outcome = await run_tool(dawdle, impatient, {})
    assert outcome.status == "failed"
    assert outcome.text == "Tool error: dawdle took longer than 0.05 s and was stopped."
    assert stopped == [True]


async def test_a_tools_own_limit_wins_and_a_write_that_ran_out_of_time_admits_its_doubt(here):
    @tool(effect="send", timeout_s=0.01)
    async def post() -> None:
        """Wait for ever."""
        await asyncio.Event().wait()

    outcome = await run_tool(post, here, {})
    assert "longer than 0.01 s" in outcome.text
    assert outcome.text.endswith("It may have taken effect all the same.")


async def test_a_cancellation_from_outside_goes_through(here):
    began = asyncio.Event()

    @tool(effect="read")
    async def wait() -> None:
        """Wait for ever."""
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(run_tool(wait, here, {}))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_blocking_tools_run_side_by_side(here):
    meeting = threading.Barrier(MOST_THREADS, timeout=60)

    @tool(effect="read")
    def meet() -> str:
        """Come back only once everybody is here."""
        meeting.wait()
        return "met"

    outcomes = await asyncio.gather(*(run_tool(meet, here, {}) for _ in range(MOST_THREADS)))
    assert [outcome.text for outcome in outcomes] == ["met"] * MOST_THREADS


async def test_blocking_tools_that_hang_for_ever_leave_room_for_others(here):
    release = threading.Event()
    began = []

    @tool(effect="read", timeout_s=1)
    def hang() -> None:
        """Hang."""
        began.append(True)
        release.wait()

    @tool(effect="read")
    def work() -> str:
        """Work."""
        return "worked"

    try:
        hung = await asyncio.gather(*(run_tool(hang, here, {}) for _ in range(MOST_THREADS + 8)))
        assert {outcome.status for outcome in hung} == {"failed"}
        assert (await run_tool(work, here, {})).text == "worked"
        assert len(began) == MOST_THREADS, "a call that ran out of time before it began never runs"
    finally:
        release.set()


def swallowing(effect, release):
    @tool(effect=effect, timeout_s=0.05)
    async def cling() -> str:
        """Go on, whoever says to stop."""
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        return "done"

    return cling


@pytest.mark.parametrize(
    ("effect", "status", "words"),
    [
        ("read", "failed", "Tool error: cling took longer than 0.05 s and heeds no cancellation"),
        ("write", "unknown", "Outcome unknown: cling took longer than 0.05 s and heeds no cancellation"),
    ],
)
async def test_a_tool_that_swallows_its_cancellation_is_left_and_said_to_go_on(here, effect, status, words):
    release = asyncio.Event()
    async with asyncio.timeout(60):
        outcome = await run_tool(swallowing(effect, release), here, {})
    release.set()
    assert outcome.status == status
    assert outcome.text.startswith(words)
    assert "may still be running" in outcome.text


async def test_a_tool_that_swallows_its_cancellation_holds_up_nobody_who_leaves(here):
    release = asyncio.Event()
    task = asyncio.create_task(run_tool(swallowing("read", release), here, {}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 60)
    release.set()


async def test_what_a_thread_goes_on_with_is_not_said_to_have_been_stopped(here):
    release = threading.Event()

    @tool(effect="write", timeout_s=0.05)
    def dig() -> None:
        """Block."""
        release.wait(30)

    outcome = await run_tool(dig, here, {})
    release.set()
    assert (outcome.status, "may still be running" in outcome.text) == ("unknown", True)


async def test_what_heeds_that_it_was_stopped_has_stopped_when_that_is_said(here):
    ended = []

    @tool(effect="read", timeout_s=0.05)
    def dig() -> None:
        """Work until told to stop."""
        while not is_cancelled():
            threading.Event().wait(0.01)
        ended.append(True)

    outcome = await run_tool(dig, here, {})
    assert outcome.text == "Tool error: dig took longer than 0.05 s and was stopped."
    assert ended == [True]


CLINGING = """
import asyncio, sys, threading
from contextlib import suppress
from pathlib import Path
from base.settings import load_settings
from tools.declaration import Here, tool
from tools.run import run_tool

@tool(effect="write", timeout_s=0.05)
async def cling():
    "Go on, whoever says to stop."
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

@tool(effect="write", timeout_s=0.05)
def dig():
    "Block for ever."
    threading.Event().wait()

async def main():
    here = Here(load_settings({"TWOBRAIN_DATA_DIR": sys.argv[1]}), "ada", "user", "t", "c", "k")
    for each in (cling, dig):
        print((await run_tool(each, here, {})).status)

asyncio.run(main())
"""


@pytest.mark.slow
def test_no_tool_holds_up_the_exit(tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CLINGING, str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["unknown", "unknown"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("done", "untrusted"),
    [
        (returning("done"), False),
        (returning(Untrusted("a stranger's name")), True),
        (raising(ToolFailure("There is none.")), False),
        (raising(ToolFailure(Untrusted("There is: a stranger's name"))), True),
        (raising(KeyError("whoever wrote that")), True),
    ],
)
async def test_a_result_is_untrusted_that_says_so_or_that_nobody_foresaw(here, done, untrusted):
    assert (await run_tool(done, here, {})).untrusted is untrusted
