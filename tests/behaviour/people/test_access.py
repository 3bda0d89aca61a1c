"""People of one installation: who is let in, and whose a conversation is."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langgraph.types import Command

from base.errors import ConfigurationError, UnknownThreadError, UnknownUserError
from base.settings import load_settings
from graphs.session import Orchestrator, open_orchestrator
from nodes.context import Context
from tests.behaviour.household import House

TWO = '[users.alice]\nrole = "admin"\n[users.bob]\nrole = "admin"\n'
WRITE = 'write_file {"path": "diary.txt", "content": "hers alone"}'
BOB = Context(user="bob", path="single")
Way = Callable[[Orchestrator], Awaitable[Any]]


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


WAYS: dict[str, Way] = {
    "ask": lambda one: one.ask("hello", thread_id="hers", context=BOB),
    "ask as nobody": lambda one: one.ask("hello", thread_id="hers"),
    "resume": lambda one: one.resume("hers", True, context=BOB),
    "proceed": lambda one: one.proceed("hers", context=BOB),
    "result": lambda one: one.result("hers", context=BOB),
    "snapshot": lambda one: one.snapshot("hers", context=BOB),
    "ainvoke": lambda one: one.graph.ainvoke(said("hello"), one.config("hers"), context=BOB),
    "ainvoke as nobody": lambda one: one.graph.ainvoke(said("hello"), one.config("hers")),
    "ainvoke with a dict": lambda one: one.graph.ainvoke(
        Command(resume=True), one.config("hers"), context=BOB.model_dump()
    ),
    "ainvoke of what goes on": lambda one: one.graph.ainvoke(None, one.config("hers"), context=BOB),
    "ainvoke of a step": lambda one: one.graph.ainvoke(Command(goto="intake"), one.config("hers")),
}


@pytest.fixture
async def waiting(settle: Callable[..., House]):
    """Yield an orchestrator on which alice's thread waits for her consent."""
    house = settle("openai", more=TWO)
    async with house.open() as orchestrator:
        assert (await orchestrator.ask(WRITE, thread_id="hers", context=house.context(user="alice"))).pending
        yield orchestrator
        assert (await orchestrator.resume("hers", True)).tool_calls[0]["status"] == "executed"
        assert [row["decided_by"] for row in await orchestrator.ledger.audit(thread="hers")] == ["alice"]


@pytest.mark.parametrize("way", WAYS)
async def test_anothers_thread_is_refused_on_every_way_in_and_stays_as_it_is(way, waiting):
    before = await waiting.snapshot("hers")
    with pytest.raises(UnknownThreadError, match=r"There is no thread 'hers' of '(bob|local)'"):
        await WAYS[way](waiting)
    after = await waiting.snapshot("hers")
    assert (after.config, after.values) == (before.config, before.values)
    assert [row["status"] for row in await waiting.ledger.audit(thread="hers")] == ["waiting"]


async def test_whose_a_thread_is_outlives_its_record(waiting):
    await waiting.ledger.forget_thread("hers", audit=False)
    with pytest.raises(UnknownThreadError):
        await waiting.ask("hello", thread_id="hers", context=BOB)


@pytest.mark.parametrize("first", [{"tools": ["no_such_tool"]}, {"orchestrator": "no-such-model"}])
async def test_what_was_refused_before_any_turn_is_its_users_alone_too(first, waiting):
    config = waiting.config("new")
    with pytest.raises(ConfigurationError):
        await waiting.graph.ainvoke(said("her secret"), config, context={"user": "alice", **first})
    with pytest.raises(UnknownThreadError):
        await waiting.ask("hello", thread_id="new", context=BOB)
    done = await waiting.ask("hello", thread_id="new", context=Context(user="alice", path="single"))
    assert done.response


async def test_a_user_of_whom_nobody_has_heard_is_refused_on_every_way_in(waiting):
    stranger = Context(user="mallory", path="single")
    for way in (
        waiting.ask("hello", thread_id="new", context=stranger),
        waiting.resume("hers", True, context=stranger),
        waiting.result("hers", context=stranger),
        waiting.graph.ainvoke(said("hello"), waiting.config("new"), context=stranger),
    ):
        with pytest.raises(UnknownUserError, match="There is no user 'mallory'"):
            await way
    assert await waiting.ledger.thread("new") is None


@pytest.mark.parametrize(
    ("more", "role"), [("", "guest"), (TWO + '[users."*"]\nrole = "user"\n', "user")], ids=["no users", "*"]
)
async def test_strangers_are_let_in_where_nobody_is_named_or_a_table_is_for_everybody_else(
    more, role, settle
):
    house = settle("openai", more=more)
    async with house.open() as orchestrator:
        context = Context(user="mallory", path="single")
        await orchestrator.ask('get_time {"timezone": "UTC"}', thread_id="own", context=context)
        assert [row["role"] for row in await orchestrator.ledger.audit(thread="own")] == [role]


async def test_the_plain_graph_without_a_thread_refuses_a_stranger_too(settle):
    house = settle("openai", more=TWO)
    async with open_orchestrator(load_settings(house.environ)) as orchestrator:
        alone = orchestrator.graph.copy({"checkpointer": None})
        config = {"configurable": {**orchestrator.config("x")["configurable"], "thread_id": None}}
        with pytest.raises(UnknownUserError):
            await alone.ainvoke(said("hello"), config, context={"user": "mallory"})
