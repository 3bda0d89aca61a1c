"""Another model takes over, also in the middle of a turn, and reads what the first one wrote."""

import itertools

import pytest

from nodes.events import Token
from tests.behaviour.household import obedient
from tests.wires.brain import Heard, Kind, Reply
from tests.wires.cards import at, key_of
from tests.wires.clients import KINDS, OpenWire
from tests.wires.faults import FAULTS

ROUNDS = (
    'get_time {} & calculate {"expression": "6*7"} then list_files {} then calculate {"expression": "1+1"}'
)
CLOSED = "http://127.0.0.1:9/v1"


REPLACED = (
    "Model 'third' answered, as others could not. Model 'first': it rejected the key ({}). "
    "Check the key, and what its account may use. Model 'second': the environment variable SECOND_KEY "
    "is not set. Set it, or use another model."
)
WRONG_KEY = {
    "gemini": "API key not valid. Please pass a valid API key",
    "openai": "Incorrect API key provided",
    "anthropic": "invalid x-api-key",
}


def _failing(kind: Kind, fault: str):
    return lambda heard: FAULTS[fault](kind, heard.stream)


@pytest.mark.parametrize(("path", "role"), [("single", "orchestrator"), ("direct", "chat")])
async def test_the_first_model_of_a_role_is_asked_and_the_others_only_where_it_fails(
    open_wire: OpenWire, furnish, path, role
):
    names = ("second", "first", "third")  # as they stand in twobrain.toml
    cards = {name: at(open_wire("openai", brain=obedient)) for name in names}
    order = ["first", "second", "third"]
    house = furnish(cards, {role: order})
    failed: list[str] = []
    for name in order:
        async with house.open() as orchestrator:
            result = await orchestrator.ask("Hello", context=house.context(path=path))
        assert result.backend == name
        assert [each for each in order if house.wires[each].heard] == [*failed, name]
        house.wires[name].brain = _failing("openai", "server_error")
        failed.append(name)


@pytest.mark.parametrize("fault", ["server_error", "rate_limited", "unauthenticated", "cut_connection"])
@pytest.mark.parametrize("kind", KINDS)
async def test_where_the_first_model_fails_the_next_one_answers(
    open_wire: OpenWire, furnish, kind: Kind, fault
):
    first = at(open_wire(kind, brain=_failing(kind, fault)))
    second = at(open_wire("openai" if kind == "anthropic" else "anthropic", brain=obedient))
    house = furnish({"planner": first, "spare": second}, {"orchestrator": ["planner", "spare"]})
    async with house.open() as orchestrator:
        result = await orchestrator.ask(ROUNDS, context=house.context(path="single"))
    assert (result.backend, result.stop_reason) == ("spare", "answered")
    assert [call["status"] for call in result.tool_calls] == ["executed"] * 4
    assert house.rejected() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_where_nobody_answers_at_an_address_the_next_model_does(
    open_wire: OpenWire, furnish, kind: Kind
):
    first, second = at(open_wire(kind), base_url=CLOSED), at(open_wire(kind, brain=obedient))
    house = furnish({"planner": first, "spare": second}, {"orchestrator": ["planner", "spare"]})
    async with house.open() as orchestrator:
        result = await orchestrator.ask(ROUNDS, context=house.context(path="two-brain", responder="spare"))
    assert (result.backend, result.stop_reason) == ("spare", "answered")
    assert house.rejected() == []


@pytest.mark.parametrize(("path", "streaming"), [("two-brain", True), ("single", False)])
@pytest.mark.parametrize("pair", list(itertools.permutations(KINDS, 2)), ids="-".join)
async def test_a_model_that_takes_over_for_one_round_reads_the_others_rounds_and_is_read_by_it(
    open_wire: OpenWire, furnish, pair, path, streaming
):
    def absent_in_the_second_round(heard: Heard) -> Reply:
        return Reply(status=500, error="gone") if _rounds(heard) == 1 else obedient(heard)

    first = at(open_wire(pair[0], brain=absent_in_the_second_round), streaming=streaming)
    second = at(open_wire(pair[1], brain=obedient), streaming=streaming)
    house = furnish({"planner": first, "spare": second}, {"orchestrator": ["planner", "spare"]})
    async with house.open() as orchestrator:
        result = await orchestrator.ask(ROUNDS, thread_id="t", context=house.context(path=path))
        audit = await orchestrator.ledger.audit()
        await orchestrator.ask("And now?", thread_id="t", context=house.context(path=path))
    assert result.stop_reason == "answered"
    assert [row["model"] for row in audit] == ["planner", "planner", "spare", "planner"]
    assert [call["result"] for call in result.tool_calls][1:] == ["42", "The workspace is empty.", "2"]
    assert house.rejected() == []
    last = next(heard for heard in reversed(house.planner.heard) if _rounds(heard))
    assert [turn.role for turn in last.turns] == ["user", *["assistant", "tool"] * 3]
    assert [len(turn.calls) for turn in last.turns if turn.role == "assistant"] == [2, 1, 1]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fallback_that_knows_no_tools_reads_the_rounds_as_text(
    open_wire: OpenWire, furnish, kind: Kind
):
    def absent_in_the_second_round(heard: Heard) -> Reply:
        return Reply(status=500, error="gone") if _rounds(heard) == 1 else obedient(heard)

    first = at(open_wire("openai", brain=absent_in_the_second_round))
    spare = at(open_wire(kind, brain=lambda heard: Reply(text=f"Read: {heard.request}")), tools=False)
    house = furnish({"planner": first, "spare": spare}, {"orchestrator": ["planner", "spare"]})
    async with house.open() as orchestrator:
        result = await orchestrator.ask(
            'calculate {"expression": "6*7"}', context=house.context(path="single")
        )
    assert (result.backend, result.stop_reason) == ("spare", "answered")
    assert "Result of calculate: 42" in result.response
    assert house.rejected() == []


def _rounds(heard: Heard) -> int:
    last = max((i for i, turn in enumerate(heard.turns) if turn.role == "user"), default=-1)
    return sum(turn.role == "tool" for turn in heard.turns[last + 1 :])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_responder_that_fails_hands_to_its_fallback(open_wire: OpenWire, furnish, kind: Kind):
    broken = at(open_wire(kind, brain=_failing(kind, "server_error")))
    cards = {"planner": at(open_wire("gemini", brain=obedient)), "writer": broken}
    cards["spare"] = at(open_wire("openai", brain=obedient))
    house = furnish(cards, {"chat": ["writer", "spare"]})
    async with house.open() as orchestrator:
        result = await orchestrator.ask('calculate {"expression": "6*7"}', context=house.context())
        rows = await orchestrator.ledger.usage()
    assert (result.backend, result.stop_reason) == ("spare", "answered")
    told = [(row["backend"], row["role"], row["error"]) for row in rows]
    assert told[-2:] == [("writer", "chat", "overload"), ("spare", "chat", None)]
    assert house.rejected() == []


async def test_where_no_responder_answers_the_person_reads_what_was_gathered(open_wire: OpenWire, furnish):
    broken = at(open_wire("anthropic", brain=_failing("anthropic", "overloaded")))
    house = furnish({"planner": at(open_wire("gemini", brain=obedient)), "writer": broken})
    async with house.open() as orchestrator:
        result = await orchestrator.ask('calculate {"expression": "6*7"}', context=house.context())
    assert (result.backend, result.stop_reason) == (None, "model_failed")
    assert "Found: 42" in result.response
    assert "Model 'writer': the provider is overloaded" in result.response


@pytest.mark.parametrize("path", ["two-brain", "single"])
async def test_where_no_planner_answers_the_turn_still_ends_in_words(open_wire: OpenWire, furnish, path):
    house = furnish({"planner": at(open_wire("gemini", brain=_failing("gemini", "bad_key")))})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("Hello", context=house.context(path=path))
    assert result.stop_reason == "model_failed"
    assert "Model 'planner': it rejected the key" in result.response


@pytest.mark.parametrize("path", ["single", "direct"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_model_that_answers_for_others_is_named_with_why_each_of_them_could_not(
    open_wire: OpenWire, furnish, caplog, kind: Kind, path
):
    cards = {
        "first": at(open_wire(kind, key="another")),
        "second": at(open_wire("openai"), api_key_env="SECOND_KEY", base_url=None),
        "third": at(open_wire("openai", brain=obedient)),
    }
    order = ["first", "second", "third"]
    house = furnish(cards, {"orchestrator": order, "chat": order})
    house.environ.pop("SECOND_KEY")
    context = house.context(path=path)
    async with house.open() as orchestrator:
        events = [event async for event in orchestrator.stream("Hello", thread_id="t", context=context)]
        again = await orchestrator.ask("Hello again", thread_id="t", context=context)
    result = events[-1].result
    note = REPLACED.format(WRONG_KEY[kind])
    assert result.response == f"Answer to: Hello\n\n{note}"
    assert "".join(event.text for event in events if isinstance(event, Token)) == result.response
    role = "chat" if path == "direct" else "orchestrator"
    assert [{**each, "why": ""} for each in result.failed_models] == [
        {"model": "first", "role": role, "cause": "bad_key", "why": "", "instead": "third"},
        {"model": "second", "role": role, "cause": "missing_key", "why": "", "instead": "third"},
    ]
    assert again.response == f"Answer to: Hello again\n\n{note}"
    assert "as others could not" not in str(house.wires["third"].heard[-1].raw), "no model reads it again"
    logged = [record.getMessage() for record in caplog.records if record.name == "models.call"]
    assert [each.split(":")[0] for each in logged] == ["Model 'first'", "Model 'second'"], (
        "once, not each turn"
    )
    assert key_of("first") not in caplog.text


async def test_a_planner_and_a_writer_that_are_replaced_are_both_told(open_wire: OpenWire, furnish):
    cards = {"planner": at(open_wire("gemini", brain=_failing("gemini", "overloaded")))}
    cards |= {"plan_b": at(open_wire("openai", brain=obedient))}
    cards |= {"writer": at(open_wire("anthropic", brain=_failing("anthropic", "safety")))}
    cards |= {"write_b": at(open_wire("openai", brain=obedient))}
    house = furnish(cards, {"orchestrator": ["planner", "plan_b"], "chat": ["writer", "write_b"]})
    async with house.open() as orchestrator:
        result = await orchestrator.ask(ROUNDS, context=house.context())
    note = result.response.rpartition("\n\n")[2]
    assert note == (
        "Model 'plan_b' took over, as others could not. Model 'planner': the provider is overloaded or "
        "failed (Overloaded). Try again later. Model 'write_b' answered, as others could not. Model "
        "'writer': it withheld its answer (refusal). Put the request in other words."
    )
    assert [(each["model"], each["instead"]) for each in result.failed_models] == [
        ("planner", "plan_b"),
        ("writer", "write_b"),
    ]


async def test_where_none_answers_the_result_tells_of_each_model(open_wire: OpenWire, furnish):
    cards = {"planner": at(open_wire("gemini", brain=_failing("gemini", "bad_key")))}
    cards |= {"spare": at(open_wire("openai", brain=_failing("openai", "server_error")))}
    house = furnish(cards, {"orchestrator": ["planner", "spare"]})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("Hello", context=house.context(path="single"))
    told = [(each["model"], each["cause"], each["instead"]) for each in result.failed_models]
    assert told == [("planner", "bad_key", None), ("spare", "overload", None)]
    assert all(each["why"] in result.response for each in result.failed_models)
    assert "as others could not" not in result.response
