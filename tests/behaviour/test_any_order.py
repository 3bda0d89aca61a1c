"""People, clients and crashes in any order: what is agreed to runs once, and nothing is ever stuck."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from functools import wraps
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from base.data_dir import LONG_RESULTS, THREAD_LOCKS
from base.errors import NothingPendingError, UnknownThreadError
from base.settings import load_settings
from graphs.session import Orchestrator
from ledger.owner import this_process
from models.call import Caller
from nodes.context import Context
from nodes.resources import Resources
from storage.checkpoints.saver import open_checkpoints
from storage.long_results import ResultFiles
from storage.thread_lock import FileLocks
from tests.behaviour.crashes.power import Power, PowerCutError
from tests.behaviour.household import House, obedient
from tests.wires.cards import at
from tools.declaration import Here, Tool, tool
from tools.registry import Registry

ASKED, UNASKED = "ring_bell", {"knock", "post"}
NOTHING_THERE = NothingPendingError | UnknownThreadError
NONSENSE = [None, {}, [], "maybe", 7, {"decisions": [{"type": "aprove"}]}, [{"type": "approve"}] * 9]


class World:
    """A house whose two processes can die and come back, both on one event loop."""

    def __init__(self, house: House, loop: asyncio.Runner, dead: set[str]) -> None:
        self.house = house
        self.run = loop.run
        self.settings = load_settings(house.environ)
        self.models = Caller(self.settings)
        self.lives = 0
        self.numbers = 0
        self.dies_in_tool: str = ""
        """`before` or `after` the next effect; empty: it does not."""
        self._dead = dead
        self.run(self.open())

    async def open(self) -> None:
        self.power = Power()
        self.dies_in_tool = ""
        self._opened = AsyncExitStack()
        self.orchestrator, self.other = [await self._process() for _ in range(2)]

    async def _process(self) -> Orchestrator:
        self.lives += 1
        ledger = await self.power.ledger(self.settings, self.lives)
        self._opened.callback(self._dead.add, f"{this_process()}{self.lives}")
        self._opened.push_async_callback(ledger.close)
        path = self.settings.data_dir / "checkpoints.db"
        saver = await self._opened.enter_async_context(open_checkpoints(path, self.power.draw, ledger.writer))
        tools = Registry(self._tools(self.power))
        artifacts = ResultFiles(self.settings.data_dir / LONG_RESULTS)
        turns = FileLocks(self.settings.data_dir / THREAD_LOCKS)
        return Orchestrator(Resources(self.settings, tools, self.models, ledger, artifacts, turns), saver)

    async def close(self) -> None:
        await self._opened.aclose()

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    def effects(self) -> dict[str, list[int]]:
        """Return by call id with which number each call really happened."""
        path, found = self.house.folder / "effects", defaultdict(list)
        for line in path.read_text().splitlines() if path.exists() else []:
            call_id, number = json.loads(line)
            found[call_id].append(number)
        return found

    def _happen(self, power: Power, here: Here, number: int) -> str:
        dies, self.dies_in_tool = self.dies_in_tool, ""
        if dies == "before":
            power.left = -1
        if power.is_cut:  # in a thread that its process would have taken with it
            raise PowerCutError
        with (self.house.folder / "effects").open("a") as file:
            file.write(json.dumps([here.call_id, number]) + "\n")
        if dies == "after":
            power.left = -1
        return f"did {number}"

    def _tools(self, power: Power) -> list[Tool]:
        @tool(effect="write")
        def ring_bell(here: Here, number: int) -> str:
            """Ring, if the person agrees."""
            return self._happen(power, here, number)

        def is_posted(here: Here, number: int) -> bool:
            return number in self.effects()[here.call_id]

        @tool(effect="write", confirm=False, verify=is_posted)
        def post(here: Here, number: int) -> str:
            """Post, unasked; whether it was done can be looked up."""
            return self._happen(power, here, number)

        @tool(effect="write", confirm=False)
        def knock(here: Here, number: int) -> str:
            """Knock, unasked."""
            return self._happen(power, here, number)

        @tool(effect="read")
        def look(number: int) -> str:
            """Look."""
            return f"saw {number}"

        return [ring_bell, post, knock, look]


def in_doubt(request: dict[str, Any], action: dict[str, Any]) -> bool:
    """Tell whether a person is asked about a call that may have happened already."""
    reviews = {review["action_name"]: review["allowed_decisions"] for review in request["review_configs"]}
    return "edit" not in reviews[action["name"]]


KINDS = st.sampled_from(["gemini", "openai", "anthropic"])
ROUND = st.lists(st.sampled_from([ASKED, ASKED, *sorted(UNASKED), "look"]), min_size=1, max_size=3)
ROUNDS = st.lists(ROUND, max_size=2)


def where_asked(step: Callable[..., None]) -> Callable[..., None]:
    """Do a step where a person is asked something, else nothing.

    It is drawn in any case: a precondition would let what is drawn hang on how a race came out.
    """

    @wraps(step)
    def stepped(self: "AnyOrder", **drawn: Any) -> None:
        if self._request():
            step(self, **drawn)

    return stepped


class AnyOrder(RuleBasedStateMachine):
    """One thread, and everything that can be done to it."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        world.numbers += 1
        self.thread = f"t{world.numbers}"
        self.agreed: dict[str, set[tuple[str, int]]] = defaultdict(set)
        """By call id: each question that was answered with consent, and the number that was agreed to."""
        self.forked = False

    # What people do.

    @rule(rounds=ROUNDS, planner=KINDS, writer=KINDS, alone=st.booleans(), words=st.booleans())
    def say(self, rounds: list[list[str]], planner: str, writer: str, alone: bool, words: bool) -> None:
        text = " then ".join(" & ".join(map(self._spelled, names)) for names in rounds) or "hello"
        context = Context(
            path="single" if alone else "two-brain",
            orchestrator=planner,
            responder=writer,
            confirmation="model" if words else "template",
        )
        self._do(self.world.orchestrator.ask(text, thread_id=self.thread, context=context))

    @rule(clicks=st.sampled_from([1, 1, 2, 4]))
    @where_asked
    def approve(self, clicks: int) -> None:
        self._agree()
        self._do(*(self._resume(answer=True, elsewhere=n % 2 == 1) for n in range(clicks)))

    @rule()
    @where_asked
    def approve_by_the_plain_graph_and_by_us_at_once(self) -> None:
        self._agree()
        graph, config = self.world.orchestrator.graph, self.world.orchestrator.config(self.thread)
        self._do(*(graph.ainvoke(Command(resume=True), config) for _ in range(2)), self._resume(answer=True))

    @rule()
    @where_asked
    def approve_and_reject_at_once(self) -> None:
        self._agree()
        self._do(self._resume(answer=True), self._resume(answer=False, elsewhere=True))

    @rule()
    @where_asked
    def approve_and_say_something_at_once(self) -> None:
        self._agree()
        said = self.world.other.ask("hello", thread_id=self.thread)
        self._do(self._resume(answer=True), said)

    @rule()
    @where_asked
    def reject(self) -> None:
        self._do(self._resume(answer=False))

    @rule()
    @where_asked
    def edit_the_first(self) -> None:
        request = self._request()
        action, number = request["action_requests"][0], self._number()
        if not in_doubt(request, action):
            self.agreed[action["tool_call_id"]].add(("", number))
        edited = {"name": action["name"], "args": {"number": number}}
        self._do(self._resume({"type": "edit", "edited_action": edited}))

    @rule(answer=st.sampled_from(NONSENSE))
    @where_asked
    def answer_nonsense(self, answer: Any) -> None:
        self._do(self._resume(answer))
        if not self.world.power.is_cut:
            assert self._request()

    # What happens to them.

    @rule(writes=st.integers(0, 25))
    def lose_power_soon(self, writes: int) -> None:
        self.world.power.left = writes

    @rule(when=st.sampled_from(["before", "after"]))
    def lose_power_in_the_next_tool(self, when: str) -> None:
        self.world.dies_in_tool = when

    @rule()
    def restart(self) -> None:
        self.world.run(self.world.reopen())

    @rule()
    def proceed(self) -> None:
        self._do(self.world.orchestrator.proceed(self.thread))

    @rule(back=st.integers(1, 12), approve=st.booleans())
    def fork(self, back: int, approve: bool) -> None:
        snapshots = self.world.run(self._history())
        if not snapshots:
            return
        snapshot = snapshots[min(back, len(snapshots) - 1)]
        given = None
        if snapshot.interrupts and approve:
            self._agree(snapshot.interrupts[0].value)
            given = Command(resume=True)
        self.forked = True
        config = self.world.orchestrator.config(self.thread)
        config["configurable"]["checkpoint_id"] = snapshot.config["configurable"]["checkpoint_id"]
        self._do(self.world.orchestrator.graph.ainvoke(given, config))

    # What holds all the while.

    @invariant()
    def every_history_was_valid(self) -> None:
        assert self.world.house.rejected() == []

    @invariant()
    def only_what_was_agreed_to_ran_and_once(self) -> None:
        effects = self.world.effects()
        rows = {row["call_id"]: row for row in self.world.run(self._audit())}
        for call_id, row in rows.items():
            happened = effects.get(call_id, [])
            agreed = self.agreed[call_id]
            if row["tool"] == ASKED:
                assert len(happened) <= len({question for question, _ in agreed})
                assert set(happened) <= {number for _, number in agreed}
            elif row["tool"] in UNASKED:
                assert len(happened) <= 1 + len(agreed)
            if row["tool"] != "look":
                assert happened or row["status"] != "executed" or self._was_done_before(row, effects), row
                assert not happened or row["status"] in {"executed", "unknown", "running"}, row

    def _was_done_before(self, row: dict[str, Any], effects: dict[str, list[int]]) -> bool:
        """Tell of a call made anew that a person counted it as done, and that its like before it was."""
        counted = any(asked["decision"] == "counted" for asked in row["unknown_outcomes"])
        same = ("turn", "tool")
        others = [each for each in self.world.run(self._audit()) if each["call_id"] != row["call_id"]]
        alike = [each for each in others if all(each[name] == row[name] for name in same)]
        return counted and any(
            each["status"] == "executed" and effects.get(each["call_id"]) for each in alike
        )

    def teardown(self) -> None:
        self.world.run(self.world.reopen())
        self._do(self.world.orchestrator.proceed(self.thread))
        while self._request():
            self._do(self._resume(answer=False))
        for kind in ("gemini", "openai", "anthropic"):
            context = Context(path="single", orchestrator=kind)
            ended = self.world.run(
                self.world.orchestrator.ask("hello", thread_id=self.thread, context=context)
            )
            assert ended.response == "Answer to: hello"
        self.every_history_was_valid()
        self.only_what_was_agreed_to_ran_and_once()
        self.world.run(self._check_pairs())

    def _do(self, *things: Coroutine[Any, Any, Any]) -> None:
        """Do all of them at once; what the power cut goes on in another life."""

        async def all_at_once() -> Sequence[Any]:
            ends = await asyncio.gather(*things, return_exceptions=True)
            for process in (self.world.orchestrator, self.world.other):  # what a run of the plain graph left
                with suppress(PowerCutError, UnknownThreadError):
                    await process.ledger.audit(thread=self.thread)
                    await process.snapshot(self.thread)
            return ends

        for end in self.world.run(all_at_once()):
            if isinstance(end, BaseException) and not isinstance(end, NOTHING_THERE):
                assert self.world.power.is_cut, repr(end)
        if self.world.power.is_cut:
            self.world.run(self.world.reopen())

    def _resume(self, answer: Any, *, elsewhere: bool = False) -> Coroutine[Any, Any, Any]:
        process = self.world.other if elsewhere else self.world.orchestrator
        return process.resume(self.thread, answer)

    def _request(self) -> dict[str, Any]:
        with suppress(UnknownThreadError):
            return self.world.run(self.world.orchestrator.result(self.thread)).pending or {}
        return {}

    def _agree(self, request: dict[str, Any] | None = None) -> None:
        """Note that a person agrees to all that waits."""
        request = request or self._request()
        for action in request["action_requests"]:
            question = action["description"] if in_doubt(request, action) else ""
            self.agreed[action["tool_call_id"]].add((question, action["args"]["number"]))

    def _number(self) -> int:
        self.world.numbers += 1
        return self.world.numbers

    def _spelled(self, name: str) -> str:
        return f'{name} {{"number": {self._number()}}}'

    async def _history(self) -> list[Any]:
        config = self.world.orchestrator.config(self.thread)
        return [snapshot async for snapshot in self.world.orchestrator.graph.aget_state_history(config)]

    async def _audit(self) -> list[dict[str, Any]]:
        return await self.world.orchestrator.ledger.audit(thread=self.thread)

    async def _check_pairs(self) -> None:
        config = self.world.orchestrator.config(self.thread)
        messages = (await self.world.orchestrator.graph.aget_state(config)).values["messages"]
        calls = [call["id"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]
        results = [m.tool_call_id for m in messages if isinstance(m, ToolMessage)]
        assert sorted(calls) == sorted(results)
        assert len(set(calls)) == len(calls)


@pytest.mark.prove
def test_whatever_happens_in_whatever_order_nothing_runs_twice_and_the_thread_goes_on(
    open_wire, furnish, monkeypatch, proving, tell
):
    dead: set[str] = set()
    monkeypatch.setattr("ledger.calls.is_gone", lambda _, owner: owner in dead)
    house = furnish(
        {
            kind: at(open_wire(kind, brain=obedient), timeout_s=60)
            for kind in ("gemini", "openai", "anthropic")
        }
    )
    with asyncio.Runner() as loop:
        world = World(house, loop, dead)
        run_state_machine_as_test(
            lambda: AnyOrder(world),
            settings=settings(
                max_examples=200 if proving else 12,
                stateful_step_count=25 if proving else 12,
                deadline=None,
                database=None,
                derandomize=not proving,
                suppress_health_check=list(HealthCheck),
            ),
        )
        loop.run(world.close())
    told = f"{world.numbers:,} calls and threads, {world.lives // 2 - 1:,} power cuts and restarts"
    tell(f"{told}: nothing ran twice")
