"""What the planner is shown stays within its window; what a person wrote is never cut."""

import itertools
import json
import re

import pytest

from nodes.prompt.compaction import CHARS_PER_TOKEN, RECENT_RESULTS
from tests.behaviour.household import House, obedient
from tests.wires.brain import Heard

CHARS = 20_000
READS = 12
IN_FULL = pytest.mark.prove(sampled=False)


def _reading(reads: int) -> str:
    return " then ".join(f'read_file {{"path": "long{number}.txt"}}' for number in range(reads))


def _fill(house: House, reads: int = READS, chars: int = CHARS) -> None:
    house.workspace.mkdir(parents=True)
    for number in range(reads):
        (house.workspace / f"long{number}.txt").write_text(f"{number} {'x' * (chars - 5)}end")


def _quiet(heard: Heard):
    """Do as the request says, and do not tell it all again."""
    reply = obedient(heard)
    return reply if reply.calls else type(reply)(text="Done.")


def _shown(heard: Heard) -> list[int]:
    return [len(result.text) for result in heard.results]


def _size(heard: Heard) -> int:
    return len(_sent(heard))


@pytest.mark.parametrize(
    "window", [16_000, pytest.param(32_000, marks=IN_FULL), pytest.param(64_000, marks=IN_FULL), 200_000]
)
async def test_every_request_stays_within_the_budget_though_six_results_alone_would_exceed_it(settle, window):
    house = settle("openai", context_window=window)
    house.planner.brain = _quiet
    _fill(house)
    request = f"{'please ' * 2_000} then {_reading(READS)}"
    async with house.open() as orchestrator:
        result = await orchestrator.ask(request, thread_id="t", context=house.context())
    assert result.stop_reason == "answered"
    budget = max(16_000, window * 3 // 4) * CHARS_PER_TOKEN
    for heard in house.planner.heard:
        assert _size(heard) <= budget
        assert heard.request == request, "what the person wrote is whole"
    last = house.planner.heard[-1]
    assert len(last.results) == READS
    assert all(length > 900 for length in _shown(last)[-RECENT_RESULTS:])
    assert all(re.search(r'read_result\(handle="[^"]+", offset=\d+\)', r.text) for r in last.results)
    assert house.rejected() == []


async def test_old_results_shrink_to_a_handle_that_reads_them_again(settle):
    house = settle("openai", context_window=16_000)
    house.planner.brain = _quiet
    _fill(house)
    async with house.open() as orchestrator:
        await orchestrator.ask(_reading(READS), thread_id="t", context=house.context())
        oldest = house.planner.heard[-1].results[0].text
        assert len(oldest) < 200
        handle, offset = re.search(r'read_result\(handle="([^"]+)", offset=(\d+)\)', oldest).groups()
        call = f'read_result {{"handle": "{handle}", "offset": {CHARS - 100}}}'
        await orchestrator.ask(call, thread_id="t", context=house.context())
    assert int(offset) == 0
    assert f"{'x' * 97}end" in house.planner.heard[-1].results[-1].text


async def test_within_the_budget_each_request_begins_as_the_one_before(settle):
    house = settle("openai", context_window=200_000)
    house.planner.brain = _quiet
    _fill(house)
    async with house.open() as orchestrator:
        await orchestrator.ask(_reading(READS), thread_id="t", context=house.context())
    heard = house.planner.heard
    assert [length > 15_000 for length in _shown(heard[-1])] == [True] * 4 + [False] * (READS - 4)
    for earlier, later in itertools.pairwise(heard):
        said = earlier.raw["messages"]
        assert later.raw["messages"][: len(said)] == said


@pytest.mark.slow
async def test_a_last_word_and_an_answer_after_very_many_results_stay_within_the_budget_too(settle):
    house = settle("openai+gemini", context_window=16_000)
    _fill(house, 1)
    side_by_side = " & ".join(['read_file {"path": "long0.txt"}'] * 60)
    async with house.open() as orchestrator:
        context = house.context(max_rounds=1)
        result = await orchestrator.ask(f"{side_by_side} then get_time {{}}", thread_id="t", context=context)
    assert (result.stop_reason, len(result.tool_calls)) == ("rounds", 60)
    told = [heard for heard in (house.planner.heard[-1], house.writer.heard[-1]) if not heard.tools]
    assert [heard.turns[-1].text.count("<call ") for heard in told] == [60, 60]
    assert all(len(json.dumps(heard.raw)) < 16_000 * CHARS_PER_TOKEN for heard in told)
    assert house.rejected() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("window", "share"),
    [
        (16_000, 0.8),
        pytest.param(32_000, 0.86, marks=IN_FULL),
        (1_000_000, 0.9),
    ],
)
async def test_over_a_long_turn_most_of_all_input_repeats_the_request_before_byte_for_byte(
    settle, window, share
):
    house = settle("openai", context_window=window, max_rounds=100, more="[limits]\nmax_rounds = 100")
    house.planner.brain = _quiet
    rounds = 40
    _fill(house, rounds)
    async with house.open() as orchestrator:
        result = await orchestrator.ask(_reading(rounds), thread_id="t", context=house.context())
    assert len(result.tool_calls) == rounds
    repeated = total = 0
    sent = [_sent(heard) for heard in house.planner.heard]
    for earlier, later in itertools.pairwise(sent):
        repeated += len(_common(earlier, later))
        total += len(later)
    assert repeated / total >= share
    assert max(map(len, sent)) < 260_000, "however large the window"
    assert total < 0.4 * sum(CHARS * number for number in range(rounds)), "of what it would be in full"


def _sent(heard: Heard) -> str:
    """Return a request as a provider's cache sees it: tools first, then the messages."""
    return json.dumps([heard.raw.get("tools"), heard.raw["messages"]], ensure_ascii=False)


def _common(one: str, other: str) -> str:
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    return one[:same] if same is not None else min(one, other, key=len)
