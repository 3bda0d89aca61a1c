"""Calls that were begun and whose outcome nobody knows: the tool decides, the world, or the person."""

import asyncio

import pytest

from graphs.session import Orchestrator
from nodes.context import Context
from tests.behaviour.crashes.power import cut_short
from tests.behaviour.crashes.process import check_pairs, clicks, statuses

REMEMBER = "remember that it rains"


async def rows(orchestrator: Orchestrator) -> list[tuple[str, str]]:
    return [(row["tool"], row["status"]) for row in await orchestrator.ledger.audit()]


async def test_a_tool_that_may_run_twice_runs_again_with_the_same_idempotency_key(home):
    await cut_short(home, "what do you remember about rain", "recall")
    async with home.opened() as orchestrator:
        result = await orchestrator.proceed("t1")

    assert statuses(result) == {"recall": "executed"}
    assert len(home.effects) == 2
    assert len(set(home.effects)) == 1


@pytest.mark.parametrize(
    ("path", "status", "effects"), [("done.txt", "executed", 1), ("undone.txt", "executed", 2)]
)
async def test_the_world_is_asked_whether_a_call_happened_and_only_what_did_not_runs_again(
    home, path, status, effects
):
    await cut_short(home, f"delete {path}", "delete_file")
    async with home.opened() as orchestrator:
        result = await orchestrator.proceed("t1")
        [row] = await orchestrator.ledger.audit()

    assert statuses(result) == {"delete_file": status}
    assert row["status"] == status
    assert ("looked up afterwards" in result.tool_calls[0]["result"]) == (effects == 1)
    assert home.effects == ["delete_file"] * effects


async def test_where_the_world_cannot_tell_the_person_is_asked(home):
    await cut_short(home, "delete unclear.txt", "delete_file")
    async with home.opened() as orchestrator:
        asked = (await orchestrator.proceed("t1")).pending
        result = await orchestrator.resume("t1", answer=True)

    assert asked["review_configs"] == [
        {"action_name": "delete_file", "allowed_decisions": ["approve", "reject"]}
    ]
    said = asked["action_requests"][0]["description"]
    assert "It is unknown whether this happened: attempt 1" in said
    assert "Approve runs it again" in said
    assert "Reject counts it as done" in said
    assert statuses(result) == {"delete_file": "executed"}
    assert home.effects == ["delete_file"] * 2


async def test_a_call_counted_as_done_stays_unknown_and_both_brains_are_told(home):
    await cut_short(home, REMEMBER, "remember")
    async with home.opened() as orchestrator:
        assert (await orchestrator.proceed("t1")).pending
        result = await orchestrator.resume("t1", answer=False)
        [row] = await orchestrator.ledger.audit()
        await check_pairs(orchestrator)

    assert statuses(result) == {"remember": "unknown"}
    assert "local decided on" in result.receipts[0]["text"]
    assert "count it as done" in result.receipts[0]["text"]
    assert [(d["attempt"], d["decision"], d["decided_by"]) for d in row["unknown_outcomes"]] == [
        (1, "counted", "local")
    ]
    assert home.effects == ["remember"]


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "edit", "edited_action": {"name": "remember", "args": {"text": "it snows"}}},
        {"type": "approve", "remember": {"where": {"text": "*"}}},
        "perhaps",
    ],
)
async def test_only_yes_and_no_answer_whether_to_run_it_again(home, answer):
    await cut_short(home, REMEMBER, "remember")
    async with home.opened() as orchestrator:
        await orchestrator.proceed("t1")
        asked_again = (await orchestrator.resume("t1", answer)).pending
        result = await orchestrator.resume("t1", answer=True)

    assert asked_again["problem"]
    assert statuses(result) == {"remember": "executed"}
    assert home.effects == ["remember"] * 2


async def test_many_clicks_on_run_again_run_it_again_once(home):
    await cut_short(home, REMEMBER, "remember")
    async with home.opened() as one, home.opened() as other:
        assert (await one.proceed("t1")).pending
        ways = [one, other] * 10
        ends = await asyncio.gather(*(o.resume("t1", answer=True) for o in ways), return_exceptions=True)
        result = await one.proceed("t1")
        await check_pairs(one)

    assert any(not isinstance(end, Exception) for end in ends)
    assert statuses(result) == {"remember": "executed"}
    assert home.effects == ["remember"] * 2


async def test_a_yes_to_one_attempt_is_no_yes_to_the_next(home):
    await cut_short(home, REMEMBER, "remember")
    async with home.opened() as orchestrator:
        first = (await orchestrator.proceed("t1")).pending
    await cut_short(home, True, "remember", life=1)
    async with home.opened() as orchestrator:
        second = (await orchestrator.proceed("t1")).pending
        assert home.effects == ["remember"] * 2
        result = await orchestrator.resume("t1", answer=False)
        [row] = await orchestrator.ledger.audit()

    assert [asked["action_requests"][0]["attempt"] for asked in (first, second)] == [1, 2]
    assert [doubt["decision"] for doubt in row["unknown_outcomes"]] == ["rerun", "counted"]
    assert statuses(result) == {"remember": "unknown"}
    assert home.effects == ["remember"] * 2


async def test_a_yes_that_comes_too_late_runs_nothing_and_says_so(home):
    context = Context(confirm_ttl_s=0.000_001)
    await cut_short(home, REMEMBER, "remember", context=context)
    async with home.opened() as orchestrator:
        assert (await orchestrator.proceed("t1")).pending
        result = await orchestrator.resume("t1", answer=True)

    assert statuses(result) == {"remember": "unknown"}
    assert "the time to approve that had passed" in result.receipts[0]["text"]
    assert home.effects == ["remember"]


async def test_a_message_instead_of_an_answer_closes_the_call_as_unknown_and_it_never_runs_again(home):
    await cut_short(home, REMEMBER, "remember")
    async with home.opened() as orchestrator:
        assert (await orchestrator.proceed("t1")).pending
        snapshot = await orchestrator.graph.aget_state(orchestrator.config("t1"))
        result = await orchestrator.ask("what is 12*7", thread_id="t1")
        await check_pairs(orchestrator)
        late = await clicks([orchestrator], 1, [snapshot.config["configurable"]["checkpoint_id"]])
        assert await rows(orchestrator) == [("remember", "unknown"), ("calculate", "executed")]

    assert statuses(result) == {"calculate": "executed"}
    assert [end["remember"] for end in late] == ["unknown"]
    assert home.effects == ["remember", "calculate"]


async def test_two_calls_in_doubt_are_decided_each_by_itself_before_the_consent_to_a_third(home):
    text = f'{REMEMBER} and delete unclear.txt and write "x" to a.txt'
    context = Context(confirmation="template")
    await cut_short(home, text, "remember", "delete_file", context=context)
    done = home.effects
    async with home.opened() as orchestrator:
        asked = (await orchestrator.proceed("t1")).pending
        decisions = [
            {"type": "approve"} if a["name"] == "remember" else {"type": "reject"}
            for a in asked["action_requests"]
        ]
        consent = (await orchestrator.resume("t1", {"decisions": decisions})).pending
        result = await orchestrator.resume("t1", answer=True)
        await check_pairs(orchestrator)

    assert "write_file" not in [action["name"] for action in asked["action_requests"]]
    assert [action["name"] for action in consent["action_requests"]] == ["write_file"]
    assert statuses(result)["write_file"] == "executed"
    assert done


async def test_an_edited_call_in_doubt_runs_again_as_it_was_edited(home):
    edit = {"type": "edit", "edited_action": {"name": "write_file", "args": {"path": "b", "content": "y"}}}
    async with home.opened() as orchestrator:
        assert (await orchestrator.ask('write "x" to a.txt', thread_id="t1")).pending
    await cut_short(home, edit, "write_file")
    async with home.opened() as orchestrator:
        asked = (await orchestrator.proceed("t1")).pending
        result = await orchestrator.resume("t1", answer=True)

    assert asked["action_requests"][0]["args"] == {"path": "b", "content": "y"}
    assert result.tool_calls[0]["args"] == {"path": "b", "content": "y"}
    assert result.tool_calls[0]["result"] == "wrote y to b"
    assert home.effects == ["write_file"] * 2


async def test_without_a_responder_it_is_asked_all_the_same(home):
    await cut_short(home, REMEMBER, "remember", context=Context(respond=False))
    async with home.opened() as orchestrator:
        assert (await orchestrator.proceed("t1")).pending
        assert [entry["thread_id"] for entry in await orchestrator.pending()] == ["t1"]
        result = await orchestrator.resume("t1", answer=True)
        assert await orchestrator.pending() == []

    assert result.response
    assert home.effects == ["remember"] * 2


async def test_a_tool_that_is_gone_since_is_not_said_to_have_been_refused(home, monkeypatch):
    await cut_short(home, REMEMBER, "remember")
    async with home.opened() as orchestrator:
        result = await orchestrator.proceed("t1", context=Context(tools=["get_time"]))

    assert statuses(result) == {"remember": "unknown"}
    assert home.effects == ["remember"]
