"""A prompt that is too long for a model: sent once more at half its length, then to the next model."""

from dataclasses import replace

import pytest

from nodes.events import Restarted, Token, ToolStarted
from tests.behaviour.household import House, obedient
from tests.wires.brain import Brain, Call, Heard, Reply
from tests.wires.cards import at
from tests.wires.clients import KINDS, OpenWire
from tests.wires.faults import FAULTS

READS = " then ".join(f'read_file {{"path": "long{number}.txt"}}' for number in range(6))


def _fill(house: House) -> None:
    house.workspace.mkdir(parents=True)
    for number in range(6):
        (house.workspace / f"long{number}.txt").write_text(f"{number}{' word' * 3_000}")


def _sent(heard: Heard) -> int:
    return sum(len(turn.text) + sum(len(result.text) for result in turn.results) for turn in heard.turns)


def _quiet(heard: Heard) -> Reply:
    reply = obedient(heard)
    return reply if reply.calls else replace(reply, text="Done.")


def _refusing(most: int, brain: Brain) -> Brain:
    """Refuse what is longer than so many characters, as the provider of the wire does."""
    return lambda heard: (
        FAULTS["context_overflow"](heard.wire, heard.stream) if _sent(heard) > most else brain(heard)
    )


def _cutting(window: int, brain: Brain) -> Brain:
    """Read no more than so many tokens and say nothing, as Ollama does."""
    return lambda heard: replace(brain(heard), input_tokens=min(window, int(_sent(heard) / 5 * 1.3) or 1))


@pytest.mark.parametrize("path", ["two-brain", "single"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_planner_that_finds_its_prompt_too_long_is_asked_once_more_with_less_of_the_results(
    open_wire: OpenWire, furnish, kind, path
):
    cards = {"planner": at(open_wire(kind, brain=_refusing(50_000, _quiet)))}
    cards["writer"] = at(open_wire("anthropic", brain=_quiet))
    house = furnish(cards)
    _fill(house)
    async with house.open() as orchestrator:
        result = await orchestrator.ask(READS, context=house.context(path=path))
        rows = await orchestrator.ledger.usage()
    assert (result.response, result.stop_reason) == ("Done.", "answered")
    assert [call["status"] for call in result.tool_calls] == ["executed"] * 6
    refused = [row["error"] for row in rows if row["role"] == "orchestrator"]
    assert refused == [None] * 4 + ["context_overflow"] + [None] * 3, "what was too long is not sent again"
    sizes = [_sent(heard) for heard in house.planner.heard]
    assert all(size < 0.6 * sizes[4] for size in sizes[5:])
    assert all(heard.request == READS for heard in house.planner.heard)
    assert house.rejected() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_responder_that_finds_its_prompt_too_long_is_asked_once_more_with_less(
    open_wire: OpenWire, furnish, kind
):
    cards = {"planner": at(open_wire("gemini", brain=_quiet))}
    cards["writer"] = at(open_wire(kind, brain=_refusing(10_000, _quiet)))
    house = furnish(cards)
    _fill(house)
    async with house.open() as orchestrator:
        result = await orchestrator.ask(READS, context=house.context())
    assert (result.response, result.backend, result.stop_reason) == ("Done.", "writer", "answered")
    first, second = house.writer.heard
    assert _sent(second) < 0.7 * _sent(first)
    assert second.request == first.request == READS


async def test_a_responder_is_told_as_much_of_what_was_written_as_it_has_room_for(
    open_wire: OpenWire, furnish
):
    def write(heard: Heard) -> Reply:
        pages = tuple(Call("write_file", {"path": f"{n}.txt", "content": f"{n} word" * 5_000}) for n in "123")
        return Reply(text="Written.") if heard.results else Reply(calls=pages)

    cards = {"planner": at(open_wire("gemini", brain=write))}
    cards["writer"] = at(open_wire("anthropic", brain=_refusing(60_000, _quiet)))
    house = furnish(cards)
    async with house.open() as orchestrator:
        context = house.context(confirm_allow=["write_file"])
        result = await orchestrator.ask("Write three pages.", context=context)
    assert [call["status"] for call in result.tool_calls] == ["executed"] * 3
    assert (result.response, result.backend, result.stop_reason) == ("Done.", "writer", "answered")
    told = house.writer.heard[-1].turns[-1].text
    assert [f'"content": "{n} word' in told for n in "123"] == [True] * 3


@pytest.mark.parametrize("path", ["single", "direct"])
async def test_where_the_shorter_prompt_is_too_long_as_well_the_next_model_answers(
    open_wire: OpenWire, furnish, path
):
    cards = {"planner": at(open_wire("openai", brain=_refusing(0, _quiet)), max_retries=2)}
    cards["spare"] = at(open_wire("anthropic", brain=obedient))
    house = furnish(cards, {"orchestrator": ["planner", "spare"], "chat": ["planner", "spare"]})
    async with house.open() as orchestrator:
        context = house.context(path=path)
        for text in ("One. " * 200, "Two. " * 200, "Three."):
            result = await orchestrator.ask(text, thread_id="t", context=context)
    assert result.backend == "spare"
    assert result.response.startswith("Answer to: Three.\n\nModel 'spare' answered, as others could not.")
    sizes: dict[str, list[int]] = {}
    for heard in house.planner.heard:
        sizes.setdefault(heard.request, []).append(_sent(heard))
    one, two, three = sizes.values()
    assert one == [len("One. " * 200)], "where nothing can be left out, nothing is tried twice"
    assert len(two) == 1 or two[1] < two[0]
    assert three == [len("Three.")], "what was too long is not sent again"
    assert "Two. Two." in str(house.wires["spare"].heard[-1].raw), "the other model takes more"
    assert house.rejected() == []


async def test_a_prompt_that_was_cut_in_silence_is_sent_again_shorter_and_that_answer_is_taken_back(
    open_wire: OpenWire, furnish
):
    house = furnish({"planner": at(open_wire("openai", brain=_cutting(4_096, _quiet)))})
    _fill(house)
    async with house.open() as orchestrator:
        context = house.context()
        events = [event async for event in orchestrator.stream(READS, context=context)]
        again = await orchestrator.ask(READS, context=context)
        rows = await orchestrator.ledger.usage()
    result = events[-1].result
    assert (result.response, result.stop_reason) == ("Done.", "answered")
    assert [row["error"] for row in rows].count("context_overflow") == 1, "in both turns"
    assert (again.response, again.stop_reason) == ("Done.", "answered")
    last = max(i for i, event in enumerate(events) if isinstance(event, Restarted))
    calls = sum(isinstance(event, ToolStarted) for event in events[last:])
    said = "".join(event.text for event in events[last:] if isinstance(event, Token)).strip()
    assert said == "\n\n".join([*["One moment."] * calls, "Done."])


@pytest.mark.slow
async def test_where_even_less_is_cut_the_person_is_told_what_to_do(open_wire: OpenWire, furnish):
    house = furnish({"planner": at(open_wire("openai", brain=_cutting(1_000, obedient)))})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("word " * 3_000, context=house.context())
    assert result.stop_reason == "model_failed"
    assert "OLLAMA_CONTEXT_LENGTH" in result.response
    assert len(house.planner.heard) == 1, "nothing of a request is ever left out"


@pytest.mark.parametrize("tokens_per_word", [0.7, 1.3])
async def test_no_tokenizer_makes_a_whole_prompt_look_cut(open_wire: OpenWire, furnish, tokens_per_word):
    def counting(heard: Heard) -> Reply:
        return Reply(text="Done.", input_tokens=int(3_000 * tokens_per_word))

    house = furnish({"planner": at(open_wire("openai", brain=counting))})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("word " * 3_000, context=house.context())
    assert (result.response, len(house.planner.heard)) == ("Done.", 1)
