"""Ctrl-C, as a program sees it: the task of a turn is cancelled, and the turn goes on later."""

import asyncio
import threading
from contextlib import aclosing

import pytest

from graphs.stream import Begun, Queued
from nodes.context import Context
from nodes.events import Token, ToolStarted
from tests.behaviour.crashes.process import check_pairs, statuses, tools
from tests.wires.brain import Reply
from tests.wires.cards import PROVIDERS
from tests.wires.clients import KINDS
from tools.declaration import tool


async def cancelled(task: asyncio.Task, reached: asyncio.Event) -> None:
    """Cancel a task once it has reached the place."""
    await asyncio.wait_for(reached.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("text", "approve", "status", "effects"),
    [
        ("what time is it in Tokyo", False, "executed", ["get_time"] * 2),
        ("remember that it rains", False, "unknown", ["remember"]),
        ('write "x" to a.txt', True, "unknown", ["write_file"]),
    ],
)
async def test_a_turn_cancelled_within_a_tool_goes_on_and_asks_where_nobody_can_tell_what_happened(
    home, text, approve, status, effects
):
    reached, released, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def happen(name):
        home.happen(name)
        loop.call_soon_threadsafe(reached.set)
        released.wait(180)

    async with home.opened(happen) as orchestrator:
        turn = orchestrator.ask(text, thread_id="t1")
        if approve:
            assert (await turn).pending
            turn = orchestrator.resume("t1", answer=True)
        await cancelled(asyncio.create_task(turn), reached)
        released.set()
        result = await orchestrator.proceed("t1")
        assert bool(result.pending) == (status == "unknown")
        if result.pending:
            result = await orchestrator.resume("t1", answer=False)
        await check_pairs(orchestrator)

    assert [call["status"] for call in result.tool_calls] == [status]
    assert result.stop_reason == "answered"
    assert home.effects == effects


async def test_a_cancellation_reaches_the_tool_that_is_at_work(home):
    begun = asyncio.Event()

    @tool(effect="read")
    async def search_files(query: str, path: str) -> str:
        """Search for ever, until told to stop."""
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            home.happen("stopped")
        return f"{query} in {path}"

    home.tools = lambda _: [search_files]
    async with home.opened() as orchestrator:
        turn = orchestrator.ask("search files for milk", thread_id="t1")
        await cancelled(asyncio.create_task(turn), begun)

    assert home.effects == ["stopped"]


async def break_off(events):
    async for event in events:
        if isinstance(event, ToolStarted):
            break


async def be_cancelled(events):
    async with aclosing(events):
        await break_off(events)
        asyncio.current_task().cancel()
        await asyncio.sleep(0)


@pytest.mark.parametrize("leave", [break_off, be_cancelled])
async def test_no_turn_begins_before_the_one_whose_listener_left_is_wholly_over(home, leave):
    ending, released = asyncio.Event(), asyncio.Event()

    @tool(effect="read")
    async def search_files(query: str, path: str) -> str:
        """Search until told to stop, and be slow to."""
        try:
            return await asyncio.Future()
        finally:
            ending.set()
            await released.wait()
            home.happen(f"stopped:{query}:{path}")

    home.tools = lambda happen: [search_files, *tools(happen)]
    async with home.opened() as orchestrator, asyncio.timeout(120):
        listening = asyncio.create_task(leave(orchestrator.stream("search files for milk", thread_id="t1")))
        await ending.wait()
        after = orchestrator.stream("what is 12*7", thread_id="t1")
        assert await anext(after) == Queued()
        released.set()
        assert await anext(after) == Begun()
        assert home.effects == ["stopped:milk:."]
        *_, done = [event async for event in after]
        await asyncio.wait({listening})
        await check_pairs(orchestrator)

    assert statuses(done.result) == {"calculate": "executed"}
    assert home.effects == ["stopped:milk:.", "calculate"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_after_a_cut_round_or_at_the_gate_is_sent_with_every_call_closed(
    home, open_wire, kind
):
    reached, loop = asyncio.Event(), asyncio.get_running_loop()
    wire = open_wire(kind)
    provider, model = PROVIDERS[kind]
    home.environ = {"M_KEY": "sk-m"}
    home.configure(
        f'[models.m]\nprovider = "{provider}"\nmodel = "{model}"\n'
        f'base_url = "{wire.url}"\napi_key_env = "M_KEY"\n'
    )
    single = Context(path="single")

    async with home.opened(lambda _: loop.call_soon_threadsafe(reached.set)) as orchestrator:
        await cancelled(
            asyncio.create_task(orchestrator.ask("time", thread_id="t1", context=single)), reached
        )
        waiting = await orchestrator.ask("write", thread_id="t1", context=single)
        result = await orchestrator.ask("hello", thread_id="t1", context=single)
        rows = {row["tool"]: row["status"] for row in await orchestrator.ledger.audit()}
        await check_pairs(orchestrator)
        assert await orchestrator.pending() == []

    assert waiting.pending
    assert result.response == "Answer: hello"
    assert rows["write_file"] == "superseded"
    assert rows["get_time"] in {"executed", "superseded"}
    assert wire.rejected == []


async def test_a_turn_cancelled_while_the_answer_streams_is_written_again_without_running_a_call_again(
    home, open_wire
):
    def brain(heard):
        text = "one two three four five six seven eight"
        return Reply(text=text, chunk_delay_s=0.05) if slow.is_set() else Reply(text=text)

    slow = threading.Event()
    slow.set()
    wire = open_wire("openai", brain=brain)
    home.configure(
        '[models.planner]\nprovider = "offline"\nmodel = "planner"\n'
        f'[models.writer]\nprovider = "openai"\nmodel = "m"\nbase_url = "{wire.url}"\n'
        '[roles]\norchestrator = ["planner"]\nchat = ["writer"]\n'
    )
    reached = asyncio.Event()

    async def watch(orchestrator):
        async for event in orchestrator.stream("remember that it rains", thread_id="t1"):
            if isinstance(event, Token):
                reached.set()

    async with home.opened() as orchestrator:
        await cancelled(asyncio.create_task(watch(orchestrator)), reached)
        slow.clear()
        result = await orchestrator.proceed("t1")
        uses = await orchestrator.ledger.usage()
        await check_pairs(orchestrator)

    assert result.response == "one two three four five six seven eight"
    assert statuses(result) == {"remember": "executed"}
    assert [use["error"] for use in uses if use["backend"] == "writer"] == ["cancelled", None]
    assert wire.rejected == []
    assert home.effects == ["remember"]


def endless(home, effect, *, heeds):
    """Return the tool that the offline planner searches with; it goes on until it is released."""
    begun, released = asyncio.Event(), threading.Event()

    @tool(effect=effect, confirm=False)
    async def search_files(query: str, path: str) -> str:
        """Search for ever."""
        home.happen("begun")
        begun.set()
        while not released.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                if heeds:
                    raise
        return "found"

    home.tools = lambda happen: [search_files, *tools(happen)]
    return begun, released


@pytest.mark.parametrize(
    ("effect", "heeds", "status", "words"),
    [
        ("read", True, "failed", "was stopped"),
        ("read", False, "failed", "heeds no cancellation and may still be running"),
        ("write", False, "unknown", "heeds no cancellation and may still be running"),
    ],
)
async def test_the_deadline_of_a_turn_bounds_its_tools_also_those_that_heed_nothing(
    home, effect, heeds, status, words
):
    _, released = endless(home, effect, heeds=heeds)
    async with home.opened() as orchestrator, asyncio.timeout(120):
        request = "search files for milk and what is 12*7"
        result = await orchestrator.ask(request, thread_id="t1", context=Context(deadline_s=2))
        [row] = [row for row in await orchestrator.ledger.audit() if row["tool"] == "search_files"]
        released.set()
        await check_pairs(orchestrator)

    assert statuses(result) == {"search_files": status, "calculate": "executed"}
    assert words in result.tool_calls[0]["result"]
    assert (result.stop_reason, row["status"]) == ("deadline", status)
    assert home.effects.count("begun") == 1


async def test_a_turn_is_left_though_its_tool_swallows_the_cancellation(home):
    begun, released = endless(home, "write", heeds=False)
    async with home.opened() as orchestrator, asyncio.timeout(120):
        await cancelled(asyncio.create_task(orchestrator.ask("search files for milk", thread_id="t1")), begun)
        asked = (await orchestrator.proceed("t1")).pending
        released.set()

    assert "what it began may still be running" in asked["action_requests"][0]["description"]
    assert home.effects.count("begun") == 1


@pytest.mark.parametrize("heard", range(1, 9))
async def test_whoever_leaves_after_any_event_of_a_turn_finds_it_whole_when_it_goes_on(home, heard):
    async with home.opened() as orchestrator:
        async with aclosing(orchestrator.stream("what time is it in Tokyo", thread_id="t1")) as events:
            for _ in range(heard):
                await anext(events)
        result = await orchestrator.proceed("t1")
        await check_pairs(orchestrator)

    assert [call["status"] for call in result.tool_calls] == ["executed"]
    assert result.stop_reason == "answered"
