"""What the planner is shown stays within its window; what a person wrote is never cut."""

import itertools

from tests.wires.brain import Heard

CHARS = 20_000
READS = 10
REQUEST = " then ".join('read_file {"path": "long.txt"}' for _ in range(READS))


def _shown(heard: Heard) -> list[int]:
    return [len(result.text) for result in heard.results]


async def test_past_the_budget_old_results_shrink_but_never_the_six_latest_nor_the_request(settle):
    house = settle("openai", context_window=16_000)  # a budget of 16,000 tokens, about 64,000 characters
    house.workspace.mkdir(parents=True)
    (house.workspace / "long.txt").write_text("x" * CHARS)
    request = f"{'please ' * 2_000} then {REQUEST}"
    async with house.open() as orchestrator:
        result = await orchestrator.ask(request, thread_id="t", context=house.context())
    last = house.planner.heard[-1]
    assert result.stop_reason == "answered"
    assert len(last.results) == READS
    assert all(length >= CHARS for length in _shown(last)[-6:])
    assert all(length < 400 for length in _shown(last)[:-6])
    assert last.request == request
    assert [len(call["result"]) >= CHARS for call in result.tool_calls] == [True] * READS
    assert house.rejected() == []


async def test_within_the_budget_nothing_shrinks_and_each_request_begins_as_the_one_before(settle):
    house = settle("openai", context_window=200_000)
    house.workspace.mkdir(parents=True)
    (house.workspace / "long.txt").write_text("x" * CHARS)
    async with house.open() as orchestrator:
        await orchestrator.ask(REQUEST, thread_id="t", context=house.context())
    heard = house.planner.heard
    assert all(length >= CHARS for length in _shown(heard[-1]))
    for earlier, later in itertools.pairwise(heard):
        said = earlier.raw["messages"]
        assert later.raw["messages"][: len(said)] == said
