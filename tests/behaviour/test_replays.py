"""What once went wrong: old outcomes taken for new ones, answers lost, keys sent astray, silent models."""

import asyncio
import threading

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command

from base.errors import StorageError
from base.settings import ModelCard, Price, load_settings
from graphs.orchestrator import builder
from graphs.stream import Confirmation
from models.catalog import ModelRegistry
from models.prices import cost_of
from models.replies import renumbered
from nodes.context import Context
from nodes.resources import CONFIGURED, open_resources
from tests.behaviour.household import obedient
from tests.wires.brain import Call, Reply
from tests.wires.cards import at
from tests.wires.clients import KINDS


def numbers_its_calls(heard):
    """Call with an id that is the same in every conversation, as some servers do."""
    if heard.results:
        return Reply(text="Found: " + heard.results[-1].text)
    return Reply(
        calls=(Call("ring_bell", {"times": 1}, id="functions.ring_bell:0"),) if heard.tools else (), text="."
    )


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_an_old_outcome_never_passes_for_that_of_a_new_call_with_the_same_id(open_wire, furnish, kind):
    house = furnish({"planner": at(open_wire(kind, brain=numbers_its_calls))})
    for times in (1, 2):
        res = await open_resources(load_settings(house.environ))
        graph = builder.compile(checkpointer=InMemorySaver())  # forgets what the ledger remembers
        config = {"configurable": {"thread_id": "t", CONFIGURED: res}}
        await graph.ainvoke({"messages": [("user", "ring")]}, config, context=house.context())
        result = await graph.ainvoke(Command(resume=True), config)
        assert [call["status"] for call in result["tool_calls"]] == ["executed"]
        assert len(house.rung()) == times
        await res.close()
    assert house.rejected() == []


async def test_a_read_that_does_not_fit_is_not_taken_for_an_old_one_with_the_same_id(open_wire, furnish):
    asked: list[dict[str, str]] = []

    def reads(heard):
        if heard.results:
            return Reply(text=f"Found: {heard.results[-1].text}")
        return Reply(calls=(Call("calculate", asked[-1], id="functions.calculate:0"),) if heard.tools else ())

    house = furnish({"planner": at(open_wire("openai", brain=reads))})
    statuses = []
    for args in ({"expression": "1+1"}, {"sum": "2+2"}):
        asked.append(args)
        async with house.open() as orchestrator:
            graph = builder.compile(checkpointer=InMemorySaver())  # forgets what the ledger remembers
            config = orchestrator.config("t")
            result = await graph.ainvoke({"messages": [("user", "sum")]}, config, context=house.context())
        statuses += [call["status"] for call in result["tool_calls"]]
    assert statuses == ["executed", "failed"]


async def test_a_conversation_that_was_cleared_runs_its_calls_anew(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        await orchestrator.ask('calculate {"expression": "1+1"}', thread_id="t", context=house.context())
        config = orchestrator.config("t")
        cleared = [RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage('calculate {"expression": "2+2"}')]
        result = await orchestrator.graph.ainvoke({"messages": cleared}, config, context=house.context())
    assert [call["result"] for call in result["tool_calls"]] == ["4"]
    assert house.rejected() == []


def test_new_ids_reach_everything_that_a_client_keeps_by_id():
    message = AIMessage(
        [{"type": "tool_use", "id": "a", "name": "t", "input": {"id": "x"}}],
        tool_calls=[{"name": "t", "args": {"id": "x"}, "id": "a"}],
        additional_kwargs={"signatures": {"a": "s"}},
    )
    new = renumbered(message, {"a"})
    fresh = new.tool_calls[0]["id"]
    assert fresh != "a"
    assert new.content[0]["id"] == fresh
    assert new.content[0]["input"] == new.tool_calls[0]["args"] == {"id": "x"}
    assert new.additional_kwargs == {"signatures": {fresh: "s"}}
    assert renumbered(message, {"b"}) is message


async def test_an_answer_that_could_not_be_recorded_is_asked_again_and_the_next_one_counts(
    settle, monkeypatch
):
    house = settle("openai")
    async with house.open() as orchestrator:
        await orchestrator.ask('ring_bell {"times": 1}', thread_id="t", context=house.context())
        decide = orchestrator.ledger.decide
        monkeypatch.setattr(type(orchestrator.ledger), "decide", _full_disk)
        again = await orchestrator.resume("t", True)
        assert "could not be recorded" in again.pending["problem"]
        monkeypatch.setattr(type(orchestrator.ledger), "decide", decide.__func__)
        done = await orchestrator.resume("t", False)
    assert [call["status"] for call in done.tool_calls] == ["denied"]
    assert house.rung() == []


async def _full_disk(*_args, **_kwargs):
    raise StorageError("The disk is full.")


async def test_two_requests_at_once_on_one_thread_are_two_turns_one_after_the_other(settle):
    house = settle("openai")
    context = house.context(confirm_allow=["ring_bell"])
    async with house.open() as orchestrator:
        one, two = await asyncio.gather(
            orchestrator.ask('ring_bell {"times": 1}', thread_id="t", context=context),
            orchestrator.ask('ring_bell {"times": 2}', thread_id="t", context=context),
        )
        state = await orchestrator.graph.aget_state({"configurable": {"thread_id": "t"}})
    assert [one.tool_calls[0]["args"], two.tool_calls[0]["args"]] == [{"times": 1}, {"times": 2}]
    assert house.rung() == ["1 hall", "2 hall"]
    assert [m.type for m in state.values["messages"]] == ["human", "ai", "tool", "ai"] * 2
    assert house.rejected() == []


def test_the_plain_graph_is_opened_once_for_all_event_loops(tmp_path, monkeypatch):
    monkeypatch.setattr("nodes.resources.shared", [])
    monkeypatch.setenv("TWOBRAIN_DATA_DIR", str(tmp_path))
    graph = builder.compile()
    answers: list[str] = []

    def ask() -> None:
        asking = graph.ainvoke({"messages": [("user", "what is 6*7")]}, context=Context(path="two-brain"))
        answers.append(asyncio.run(asking)["response"])

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 3
    assert all("42" in answer for answer in answers)


def calls_whatever_is_asked(heard):
    return Reply(calls=(Call("calculate", {"expression": "1+1"}),), text="")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_last_word_that_is_another_call_leaves_a_plain_list(open_wire, furnish, kind):
    house = furnish({"planner": at(open_wire(kind, brain=calls_whatever_is_asked))})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("count", context=house.context(max_rounds=1))
    assert result.stop_reason == "rounds"
    assert 'calculate({"expression": "1+1"}): executed: 2' in result.response


@pytest.mark.parametrize("kind", KINDS)
async def test_a_responder_that_calls_instead_of_speaking_has_not_answered(open_wire, furnish, kind):
    cards = {"planner": at(open_wire("gemini", brain=obedient))}
    house = furnish({**cards, "writer": at(open_wire(kind, brain=calls_whatever_is_asked))})
    async with house.open() as orchestrator:
        result = await orchestrator.ask('calculate {"expression": "6*7"}', context=house.context())
    assert result.stop_reason == "model_failed"
    assert "Found: 42" in result.response


async def test_half_a_character_from_a_model_is_told_to_it_and_ends_nothing(open_wire, furnish):
    def halves(heard):
        if heard.results:
            return Reply(text=f"So: {heard.results[-1].text}")
        return Reply(calls=(Call("remember", {"text": "x\ud83d"}),))

    house = furnish({"planner": at(open_wire("openai", brain=halves))})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("remember", context=house.context())
    assert result.stop_reason == "answered"
    assert "half a character" in result.response
    assert house.rejected() == []


async def test_a_planner_whose_key_is_missing_decides_neither_path_nor_limits(open_wire, furnish):
    absent = at(open_wire("gemini", brain=obedient), max_rounds=1, api_key_env="NOT_SET")
    spare = at(open_wire("openai", brain=obedient))
    house = furnish({"gone": absent, "spare": spare}, {"orchestrator": ["gone", "spare"], "chat": ["spare"]})
    async with house.open() as orchestrator:
        result = await orchestrator.ask(
            'calculate {"expression": "1+1"} then calculate {"expression": "2+2"}', context=Context()
        )
    assert (result.stop_reason, result.backend) == ("answered", "spare")
    assert result.summary == "", "one capable model does both"
    assert [call["result"] for call in result.tool_calls] == ["2", "4"]


async def test_a_turn_past_its_deadline_still_says_what_was_done(open_wire, furnish):
    def slow_later(heard):
        late = bool(heard.results) and bool(heard.tools)
        return Reply(text="Late.", delay_s=5) if late else obedient(heard)

    house = furnish({"planner": at(open_wire("openai", brain=slow_later))})
    async with house.open() as orchestrator:
        await orchestrator.ask("warm up", context=house.context())
        result = await orchestrator.ask(
            'calculate {"expression": "6*7"}', context=house.context(deadline_s=1)
        )
    assert result.stop_reason == "deadline"
    assert result.response.startswith("Answer to: ")
    assert "<result>42</result>" in str(house.planner.heard[-1].raw), "the last word is told what was done"


async def test_tokens_that_nobody_reports_count_against_the_limit_all_the_same(open_wire, furnish):
    def silent(heard):
        return Reply(calls=(Call("calculate", {"expression": f"{len(heard.turns)}+1"}),), input_tokens=None)

    house = furnish({"planner": at(open_wire("openai", brain=silent))})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("x" * 40_000, context=house.context(max_tokens=25_000))
    assert result.stop_reason == "tokens"
    assert result.usage["input_tokens"] is None


def test_openais_key_is_not_sent_to_whoever_speaks_its_protocol(tmp_path):
    config = tmp_path / "twobrain.toml"
    config.write_text('[models.lan]\nprovider = "openai"\nmodel = "m"\nbase_url = "http://192.0.2.1/v1"\n')
    registry = ModelRegistry(
        load_settings({"TWOBRAIN_CONFIG": str(config), "OPENAI_API_KEY": "sk-real-0123456789"})
    )
    assert registry.key_variable("lan", "local") is None
    assert registry.missing("lan") is None


@pytest.mark.parametrize(
    ("environ", "planners", "writers"),
    [
        ({}, ("offline-planner",), ("offline-writer",)),
        ({"GOOGLE_API_KEY": "k"}, ("gemini",), ("gemini",)),
        ({"GEMINI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}, ("gemini", "claude"), ("claude", "gemini")),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, ("openai",), ("openai",)),
        ({"ANTHROPIC_API_KEY": "k"}, ("claude",), ("claude",)),
    ],
)
def test_the_keys_that_are_there_choose(environ, planners, writers):
    registry = ModelRegistry(load_settings(environ))
    assert (registry.roles["orchestrator"], registry.roles["chat"]) == (planners, writers)


def test_where_the_claude_program_may_not_be_logged_in_the_offline_writer_stands_by(tmp_path):
    (tmp_path / "claude").write_text("#!/bin/sh\n")
    (tmp_path / "claude").chmod(0o755)
    registry = ModelRegistry(load_settings({"PATH": str(tmp_path)}))
    assert registry.roles["orchestrator"] == ("offline-planner",)
    assert registry.roles["chat"] == ("claude-code", "offline-writer")


def test_counts_that_do_not_add_up_leave_the_cost_unknown():
    usage = {"input_tokens": 10, "output_tokens": 1, "input_token_details": {"cache_read": 50}}
    assert cost_of(ModelCard(provider="google", model="gemini-3-flash-preview"), usage) is None
    own = ModelCard(provider="openai", model="m", price=Price(input=1.0, output=1.0))
    assert cost_of(own, {"input_tokens": 1_000_000, "output_tokens": 0}) == 1.0


async def test_a_watcher_may_answer_at_the_very_event_that_asks(settle):
    house = settle("openai")
    async with house.open() as orchestrator, asyncio.timeout(120):
        events = orchestrator.stream('ring_bell {"times": 1}', thread_id="t", context=house.context())
        async for event in events:
            if isinstance(event, Confirmation):
                done = await orchestrator.resume("t", True)
    assert done.stop_reason == "answered"
    assert house.rung() == ["1 hall"]
