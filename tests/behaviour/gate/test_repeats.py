"""What was denied or made twice is not made once more; a planner that insists is made to finish."""

import pytest
from langchain_core.messages import HumanMessage, RemoveMessage
from langgraph.types import Command

from tests.behaviour.household import obedient
from tests.wires.brain import Call, Heard, Raw, Reply
from tests.wires.cards import at

PLACES = [("gemini", "two-brain"), ("openai", "single"), ("anthropic", "single"), ("anthropic", "two-brain")]
RING = Call("ring_bell", {"times": 1})
SAME_RING = Call("ring_bell", {"room": "hall", "times": "1"})
LOOK = Call("read_file", {"path": "a.txt"})
TIME = Call("get_time", {})
FILES = Call("list_files", {})
TWICE = "made twice in this turn already"
DENIED = "the person denied this very call in this turn already"


def _rounds(*rounds: tuple[Call, ...]):
    """Return a brain that makes these rounds of calls, and then tells what came back."""

    def brain(heard: Heard) -> Reply:
        done = sum(bool(turn.calls) for turn in heard.turns)
        return Reply(calls=rounds[done]) if heard.tools and done < len(rounds) else obedient(heard)

    return brain


@pytest.fixture
def house(open_wire, furnish):
    def furnished(kind, *rounds):
        cards = {"planner": at(open_wire(kind, brain=_rounds(*rounds)))}
        made = furnish({**cards, "writer": at(open_wire("openai", brain=obedient))})
        made.workspace.mkdir(parents=True)
        (made.workspace / "a.txt").write_text("milk")
        return made

    return furnished


def _statuses(result):
    return [call["status"] for call in result.tool_calls]


async def test_a_turn_whose_message_was_taken_away_still_has_its_calls_judged(house):
    made = house("openai", (RING,))
    async with made.open() as orchestrator:
        await orchestrator.ask("Go", thread_id="t", context=made.context(path="single"))
        config, graph = orchestrator.config("t"), orchestrator.graph
        begun = [each async for each in graph.aget_state_history(config) if each.next == ("plan",)][-1]
        where = {"configurable": {**config["configurable"], **begun.config["configurable"]}}
        away = {"messages": [RemoveMessage(id=begun.values["messages"][0].id)]}
        edited = await graph.aupdate_state(where, away, as_node="intake")
        await graph.ainvoke(None, {"configurable": {**config["configurable"], **edited["configurable"]}})
        result = await orchestrator.result("t")
    assert [action["name"] for action in result.pending["action_requests"]] == ["ring_bell"]


@pytest.mark.parametrize(("kind", "path"), PLACES)
async def test_a_call_is_not_made_a_third_time_and_a_planner_that_insists_is_made_to_finish(
    house, kind, path
):
    made = house(kind, *[(LOOK,)] * 9)
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path=path))
    assert _statuses(result) == ["executed", "executed", "denied", "denied"]
    assert TWICE in result.tool_calls[2]["result"]
    assert result.stop_reason == "repeats"
    assert [bool(heard.tools) for heard in made.planner.heard] == [True] * 4 + [False]
    assert TWICE in made.planner.heard[3].turns[-1].results[0].text, (
        "the model is told before it has to finish"
    )
    assert result.response
    assert made.rejected() == []


async def test_whatever_came_between_a_call_is_not_made_a_third_time(house):
    made = house("openai", (LOOK,), (TIME,), (LOOK,), (FILES,), (LOOK,))
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path="single"))
    assert _statuses(result) == ["executed"] * 4 + ["denied"]
    assert result.stop_reason == "answered"


async def test_of_three_same_calls_in_one_round_two_are_made(house):
    made = house("openai", (RING, RING, RING))
    async with made.open() as orchestrator:
        context = made.context(path="single", confirm_allow=["ring_bell"])
        result = await orchestrator.ask("Go", context=context)
    assert _statuses(result) == ["executed", "executed", "denied"]
    assert made.rung() == ["1 hall"] * 2


async def test_a_failing_call_counts_and_others_go_on(house):
    lost = Call("read_file", {"path": "lost.txt"})
    made = house("openai", (lost,), (lost,), (lost, TIME), (LOOK,))
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path="single"))
    assert _statuses(result) == ["failed", "failed", "denied", "executed", "executed"]
    assert result.stop_reason == "answered"


async def test_a_fourth_time_ends_the_rounds_even_beside_a_new_call(house):
    made = house("openai", (LOOK,), (LOOK,), (LOOK,), (LOOK, TIME), (FILES,))
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path="single"))
    assert _statuses(result) == ["executed", "executed", "denied", "denied", "executed"]
    assert result.stop_reason == "repeats"


async def test_a_round_of_nothing_but_repetitions_ends_them_once_the_model_was_told(house):
    made = house("openai", (LOOK, TIME), (LOOK, TIME), (LOOK,), (TIME,), (FILES,))
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path="single"))
    assert _statuses(result) == ["executed"] * 4 + ["denied"] * 2
    assert result.stop_reason == "repeats"


@pytest.mark.slow
async def test_what_was_changed_may_be_read_again(house):
    writes = [Call("write_file", {"path": f"{n}.txt", "content": "milk"}) for n in range(3)]
    made = house("openai", *[(call,) for write in writes for call in (write, FILES)])
    async with made.open() as orchestrator:
        context = made.context(path="single", confirm_allow=["write_file"])
        result = await orchestrator.ask("Go", thread_id="t", context=context)
        while result.pending:  # names of files are untrusted, so the next write asks
            result = await orchestrator.resume("t", answer=True)
    assert _statuses(result) == ["executed"] * 6
    assert "2.txt" in result.tool_calls[-1]["result"]


async def test_arguments_that_could_not_be_read_are_no_call_that_could_be_repeated(house):
    cut = Call("read_file", Raw('{"path": "a.t'))
    made = house("openai", (cut,), (cut,), (cut,), (LOOK,))
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path="single"))
    assert _statuses(result) == ["failed", "failed", "failed", "executed"]
    assert all("was not run" in call["result"] for call in result.tool_calls[:3])


async def test_pages_of_a_long_result_are_no_repetition(house):
    pages = [Call("read_result", {"handle": "nowhere", "offset": n}) for n in range(4)]
    made = house("openai", *[(page,) for page in pages])
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path="single"))
    assert _statuses(result) == ["failed"] * 4


@pytest.mark.parametrize(("kind", "path"), PLACES)
async def test_what_was_denied_is_not_asked_again_in_the_turn_however_it_is_spelled(house, kind, path):
    made = house(kind, (RING,), (SAME_RING,))
    async with made.open() as orchestrator:
        context = made.context(path=path)
        assert (await orchestrator.ask("Go", thread_id="t", context=context)).pending
        no = {"type": "reject", "message": "the baby sleeps"}
        result = await orchestrator.resume("t", {"decisions": [no]}, context=context)
    assert (result.pending, result.stop_reason) == (None, "answered")
    assert _statuses(result) == ["denied", "denied"]
    assert DENIED in result.tool_calls[1]["result"]
    assert "the baby sleeps" in result.tool_calls[1]["result"]
    assert made.rung() == []
    assert made.rejected() == []


async def test_a_consent_given_later_in_the_turn_does_not_get_round_a_denial(house):
    made = house("openai", (RING,), (TIME, SAME_RING))
    async with made.open() as orchestrator:
        context = made.context(path="single")
        assert (await orchestrator.ask("Go", thread_id="t", context=context)).pending
        allowing = made.context(path="single", confirm_allow=["ring_bell"])
        result = await orchestrator.resume("t", answer=False, context=allowing)
    assert _statuses(result) == ["denied", "executed", "denied"]
    assert made.rung() == []


async def test_another_call_of_a_denied_tool_is_asked_and_in_the_next_turn_the_same_one_too(house):
    made = house("openai", (RING,), (Call("ring_bell", {"times": 2}),), (RING,))
    async with made.open() as orchestrator:
        context = made.context(path="single")
        await orchestrator.ask("Go", thread_id="t", context=context)
        other = await orchestrator.resume("t", answer=False, context=context)
        assert other.pending["action_requests"][0]["args"] == {"times": 2}
        await orchestrator.ask('ring_bell {"times": 1}', thread_id="t", context=context)
        result = await orchestrator.result("t")
    assert result.pending["action_requests"][0]["args"] == {"times": 1}


async def test_what_expired_is_asked_again(house):
    made = house("openai", (RING,), (RING,))
    async with made.open() as orchestrator:
        context = made.context(path="single", confirm_ttl_s=1e-6)
        await orchestrator.ask("Go", thread_id="t", context=context)
        result = await orchestrator.resume("t", answer=True, context=context)
    assert _statuses(result) == ["expired"]
    assert result.pending["action_requests"][0]["args"] == {"times": 1}


async def test_an_edited_call_that_was_denied_is_not_asked_again(house):
    edited = {"type": "edit", "edited_action": {"name": "ring_bell", "args": {"times": 2}}}
    made = house("openai", (RING,), (Call("ring_bell", {"times": 2}),), (Call("ring_bell", {"times": 2}),))
    async with made.open() as orchestrator:
        context = made.context(path="single")
        await orchestrator.ask("Go", thread_id="t", context=context)
        assert (await orchestrator.resume("t", {"decisions": [edited]}, context=context)).pending
        result = await orchestrator.resume("t", answer=False, context=context)
    assert (_statuses(result), result.pending) == (["executed", "denied", "denied"], None)
    assert made.rung() == ["2 hall"]


DELETE = Call("delete_file", {"path": "a.txt"})
TXT = {"type": "approve", "remember": {"where": {"path": "*.txt"}}}


@pytest.mark.parametrize("path", ["./a.txt", "x/../a.txt", "a.txt/", "{root}/a.txt"])
async def test_what_was_denied_stays_denied_in_another_spelling_that_a_rule_covers(house, path):
    other = Call("delete_file", {"path": "b.txt"})
    again = {"path": path}
    made = house("openai", (DELETE, other), (Call("delete_file", again),))
    again["path"] = path.replace("{root}", str(made.workspace))
    (made.workspace / "b.txt").write_text("tea")
    async with made.open() as orchestrator:
        context = made.context(path="single")
        await orchestrator.ask("Go", thread_id="t", context=context)
        result = await orchestrator.resume("t", {"decisions": [{"type": "reject"}, TXT]}, context=context)
        assert len(await orchestrator.ledger.rules()) == 1
    assert [path.name for path in made.workspace.iterdir()] == ["a.txt"]
    assert (_statuses(result), result.pending) == (["denied", "executed", "denied"], None)
    assert DENIED in result.tool_calls[-1]["result"]


@pytest.mark.parametrize("allowed", [{"confirm_allow": ["ring_bell"]}, {}], ids=["allowed", "rule"])
async def test_after_a_denial_another_call_of_the_tool_asks_whatever_else_was_allowed(house, allowed):
    """No form tells that two commands, or two calls of a server's tool, do the same."""
    hall, near = (Call("ring_bell", {"times": 1, "room": room}) for room in ("hall", "the hall"))
    made = house("openai", (hall, Call("ring_bell", {"times": 2, "room": "attic"})), (near, TIME))
    rule = {"type": "approve", "remember": {"where": {"room": "*"}}}
    async with made.open() as orchestrator:
        await orchestrator.ask("Go", thread_id="t", context=made.context(path="single"))
        answer = {"decisions": [{"type": "reject"}, {"type": "approve"} if allowed else rule]}
        context = made.context(path="single", **allowed)
        result = await orchestrator.resume("t", answer, context=context)
        assert result.pending["action_requests"][0]["args"]["room"] == "the hall"
        assert "You denied a call of ring_bell" in result.pending["action_requests"][0]["description"]
    assert made.rung() == ["2 attic"]


async def test_a_call_of_three_spellings_is_the_same_call_three_times(house):
    looks = [Call("read_file", {"path": path}) for path in ("a.txt", "./a.txt", "x/../a.txt")]
    made = house("openai", *[(look,) for look in looks])
    async with made.open() as orchestrator:
        result = await orchestrator.ask("Go", context=made.context(path="single"))
    assert _statuses(result) == ["executed", "executed", "denied"]


async def test_after_a_denial_arguments_that_do_not_fit_end_no_turn(house):
    odd = [Call("ring_bell", {"times": "often"}), Call("ring_bell", {"bells": 1}), Call("nothing", {"a": 1})]
    made = house("openai", (RING,), tuple(odd))
    async with made.open() as orchestrator:
        context = made.context(path="single")
        await orchestrator.ask("Go", thread_id="t", context=context)
        result = await orchestrator.resume("t", answer=False, context=context)
    assert _statuses(result) == ["denied", "failed", "failed", "denied"]
    assert result.stop_reason == "answered"
    assert made.rung() == []


async def test_the_same_write_is_not_made_a_third_time_in_a_later_round(settle):
    """What a write changed is a reason to read again, and none to write the same again."""
    house = settle("openai")
    request = " then ".join(['ring_bell {"times": 1}', 'calculate {"expression": "1+1"}'] * 3)
    async with house.open() as orchestrator:
        result = await orchestrator.ask(request, context=house.context(confirm_allow=["ring_bell"]))
    rung = [call["status"] for call in result.tool_calls if call["tool"] == "ring_bell"]
    assert rung == ["executed", "executed", "denied"]
    assert house.rung() == ["1 hall"] * 2


@pytest.mark.parametrize(
    "forged", [{"taint": {"sources": [], "trusted_links": []}}, {"planner": "b"}, {"failed_models": ["x"]}]
)
async def test_what_a_step_found_wins_over_what_a_client_writes_after_a_power_cut(house, forged):
    made = house("openai", (LOOK,), (TIME,), (RING,))
    said = HumanMessage([{"type": "text", "text": "Go"}, {"type": "text-plain", "text": "x"}])
    async with made.open() as orchestrator:
        graph, config = orchestrator.graph, orchestrator.config("t")
        put, context = graph.checkpointer.aput, made.context(path="single")

        async def cut(given, checkpoint, *rest):
            if any(call["name"] == "ring_bell" for call in checkpoint["channel_values"].get("calls") or []):
                raise OSError("power cut")
            return await put(given, checkpoint, *rest)

        graph.checkpointer.aput = cut
        with pytest.raises(OSError, match="power cut"):
            await graph.ainvoke({"messages": [said]}, config, context=context)
        graph.checkpointer.aput = put
        await graph.ainvoke(Command(update=forged), config, context=context)
        after = await graph.aget_state(config)
    assert all(after.values[name] != value for name, value in forged.items()), after.values
