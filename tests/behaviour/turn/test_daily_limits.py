"""What a user may use in a day holds over turns, threads and processes, and begins anew the next day."""

import asyncio
import itertools
import re
import threading
import time

import pytest

from tests.behaviour.household import obedient
from tests.wires.brain import Reply
from tests.wires.cards import at

PRICES = "\n".join(f"[models.{n}.price]\ninput = 10.0\noutput = 100.0" for n in ("planner", "writer"))
TOKENS = "[limits]\nmax_tokens_per_day = 250"
COST = f"{PRICES}\n[limits]\nmax_cost_usd_per_day = 0.0085"
USED_UP = re.compile(
    r"Today's allowance is used up: (\S+) of (.+)\. No model was asked, and nothing was done\. "
    r"The count begins anew at \d{4}-\d\d-\d\d \d\d:\d\d \(\S+\), in \d+ h \d+ min\. "
    r"Say it again then; this conversation is kept\."
)


@pytest.fixture
def house(open_wire, furnish):
    """Furnish two models that take 120 tokens for each answer."""

    def brain(heard):
        return Reply(text=obedient(heard).text, calls=obedient(heard).calls)

    def furnished(more, kinds=("gemini", "anthropic")):
        wires = zip(("planner", "writer"), kinds, strict=False)
        return furnish({name: at(open_wire(kind, brain=brain)) for name, kind in wires}, more=more)

    return furnished


def _asked(house):
    return sum(len(wire.heard) for wire in house.wires.values())


@pytest.mark.parametrize(
    ("more", "reason", "used", "limit"),
    [(TOKENS, "tokens_per_day", "360", "250 tokens"), (COST, "cost_per_day", "$0.0090", "$0.0085")],
)
async def test_once_the_day_is_used_up_no_model_is_asked_and_the_person_is_told_when_it_begins_anew(
    house, more, reason, used, limit
):
    made = house(more)
    async with made.open() as orchestrator:
        context = made.context()
        await orchestrator.ask("Hello", thread_id="t", context=context)
        await orchestrator.ask("Hello", thread_id="other", context=made.context(path="direct"))
        before = _asked(made)
        events = [event async for event in orchestrator.stream("Again", thread_id="t", context=context)]
    result = events[-1].result
    assert _asked(made) == before == 3
    assert USED_UP.fullmatch(result.response).groups() == (used, limit)
    assert (result.stop_reason, result.pending, result.usage) == (reason, None, {})
    assert events[0].text == result.response


async def test_a_turn_whose_time_is_up_as_it_begins_asks_no_model_for_a_last_word_either(house):
    made = house(TOKENS, ("openai",))
    async with made.open() as orchestrator:
        for _ in range(3):
            await orchestrator.ask("Hello", context=made.context())
        result = await orchestrator.ask("Hello", context=made.context(deadline_s=1e-9))
    assert (result.stop_reason, result.usage, _asked(made)) == ("tokens_per_day", {}, 3)
    assert USED_UP.fullmatch(result.response)


async def test_the_time_at_which_the_day_begins_anew_is_told_to_the_minute(house, monkeypatch):
    made = house(f'{TOKENS}\n[users.local]\ntimezone = "Europe/Paris"', ("openai",))
    noon = 1_800_000_000 // 86_400 * 86_400 + 12 * 3_600
    async with made.open() as orchestrator:
        for after, told in ((0, "12 h 0 min"), (1_830, "11 h 29 min"), (43_199, "0 h 0 min")):
            monkeypatch.setattr(time, "time", lambda after=after: noon + after)
            for _ in range(4):
                result = await orchestrator.ask("Hello", thread_id="t", context=made.context())
            assert f"at 2027-01-16 01:00 (Europe/Paris), in {told}." in result.response


async def test_plain_chat_is_refused_too(house):
    made = house(TOKENS)
    async with made.open() as orchestrator:
        context = made.context(path="direct")
        for _ in range(3):
            await orchestrator.ask("Hello", thread_id="t", context=context)
        result = await orchestrator.ask("Hello", thread_id="t", context=context)
    assert (result.stop_reason, result.usage, _asked(made)) == ("tokens_per_day", {}, 3)
    assert USED_UP.fullmatch(result.response)


async def test_the_next_day_the_conversation_goes_on(house, monkeypatch):
    made = house(TOKENS, ("openai",))
    async with made.open() as orchestrator:
        context = made.context()
        for text in ("Hello", "Hello", "My dog is called Rex", "And mine?"):
            refused = await orchestrator.ask(text, thread_id="t", context=context)
        assert refused.stop_reason == "tokens_per_day"
        tomorrow = time.time() + 86_400
        monkeypatch.setattr(time, "time", lambda: tomorrow)
        result = await orchestrator.ask("Hello", thread_id="t", context=context)
    assert (result.stop_reason, result.response) == ("answered", "Answer to: Hello")
    assert "Rex" in str(made.planner.heard[-1].raw)


async def test_an_allowance_that_ends_within_a_turn_ends_it_with_what_was_done(house):
    made = house(TOKENS, ("openai",))
    async with made.open() as orchestrator:
        request = 'calculate {"expression": "6*7"} then get_time {} then list_files {}'
        result = await orchestrator.ask(request, context=made.context())
    assert [call["tool"] for call in result.tool_calls] == ["calculate", "get_time", "list_files"]
    assert result.stop_reason == "tokens_per_day"
    told, note = result.response.rsplit("\n\n", 1)
    assert told.startswith("Answer to: ")
    assert note == (
        "Stopped at the limit of 250 tokens a day, so something may remain to be done. "
        "Done: calculate, get_time, list_files. It took 480 tokens, at a cost that is not known."
    )


async def test_what_waits_when_the_day_is_used_up_can_still_be_approved_and_is_told(house):
    made = house(TOKENS, ("openai",))
    async with made.open() as orchestrator:
        context = made.context(confirmation="template")
        await orchestrator.ask('ring_bell {"times": 2}', thread_id="t", context=context)
        for _ in range(2):
            await orchestrator.ask("Hello", thread_id="other", context=context)
        result = await orchestrator.resume("t", answer=True, context=context)
    assert made.rung() == ["2 hall"]
    assert result.stop_reason == "tokens_per_day"
    assert "Done: ring_bell." in result.response


async def test_each_user_has_a_day_of_their_own_and_their_own_limit_where_one_is_set(house):
    more = f"{TOKENS}\n[users.ada]\nmax_tokens_per_day = 100\n[users.bob]\nmax_tokens_per_day = 1000\n"
    more += "[users.cleo]\n"
    made = house(more, ("openai",))
    async with made.open() as orchestrator:
        reasons = {}
        for user in ("ada", "bob", "cleo"):
            for _ in range(4):
                result = await orchestrator.ask("Hello", context=made.context(user=user))
                reasons.setdefault(user, []).append(result.stop_reason)
    assert reasons == {
        "ada": ["answered", *["tokens_per_day"] * 3],
        "bob": ["answered"] * 4,
        "cleo": [*["answered"] * 3, "tokens_per_day"],
    }


async def test_tokens_that_nobody_reports_count_against_the_day_all_the_same(open_wire, furnish):
    def silent(heard):
        return Reply(text="Hello to you too.", input_tokens=None)

    made = furnish({"planner": at(open_wire("openai", brain=silent))}, more=TOKENS)
    async with made.open() as orchestrator:
        results = [await orchestrator.ask("Hello " * 200, context=made.context()) for _ in range(2)]
    assert [result.stop_reason for result in results] == ["answered", "tokens_per_day"]
    assert results[0].usage["input_tokens"] is None


@pytest.mark.parametrize("path", ["single", "direct"])
async def test_turns_at_once_count_what_each_has_begun_in_this_process_or_another(open_wire, furnish, path):
    all_others_ended = threading.Event()

    def slow(heard):
        all_others_ended.wait(120)
        return Reply(text="Hello to you too.")

    more = "[limits]\nmax_tokens_per_day = 1_000"
    made = furnish({"planner": at(open_wire("openai", brain=slow), max_output_tokens=600)}, more=more)
    async with made.open() as one, made.open() as other, asyncio.timeout(120):
        context = made.context(path=path, tools=[])
        turns = [asyncio.create_task(each.ask("Hello", context=context)) for each in (one, other) * 6]
        ended = [await turn for turn in itertools.islice(asyncio.as_completed(turns), 10)]
        all_others_ended.set()
        begun = [result.stop_reason for result in await asyncio.gather(*turns)].count("answered")
        used = sum(row["counted_tokens"] for row in await one.ledger.usage())
    assert {result.stop_reason for result in ended} == {"tokens_per_day"}
    assert all(
        "1,000 tokens, counting what 2 model calls not yet ended may take" in r.response for r in ended
    )
    assert (begun, len(made.planner.heard)) == (2, 2), "the second one reached the limit"
    assert used == 240, "what was booked is settled"
