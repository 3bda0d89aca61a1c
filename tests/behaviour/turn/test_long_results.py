"""A result too long to show: stored once, for its owner alone; what is kept and shown of it is small."""

import re
import stat
import time
import tracemalloc
from typing import Annotated

import pytest

from base.errors import StorageError
from tests.behaviour.household import House, obedient
from tests.wires.brain import Call, Heard, Reply
from tools.declaration import Here, tool
from tools.registry import Registry, open_registry

LINE = "{:09d}\n"
HANDLE = re.compile(r'read_result\(handle="([0-9a-f]{20}(?:-untrusted)?)", offset=(\d+)\)')


def _lines(size: int) -> str:
    return "".join(LINE.format(number) for number in range(size // 10))


@tool(effect="read")
def measure(size: Annotated[int, "bytes"]) -> str:
    """Give a long result that the house made."""
    return _lines(size)


@tool(effect="read", untrusted=True)
def browse(size: Annotated[int, "bytes"]) -> str:
    """Give a long result that strangers wrote."""
    return _lines(size)


@tool(effect="write")
def flood(here: Here, size: Annotated[int, "bytes"]) -> str:
    """Give far too much."""
    return "ü" * (size // 2)


@pytest.fixture
def house(settle, monkeypatch) -> House:
    """Return a house with tools whose results are long."""

    def with_long(settings) -> Registry:
        return Registry([*open_registry(settings), measure, browse, flood])

    house = settle("openai+gemini", context_window=1_000_000, more="[limits]\nmax_rounds = 1000")
    monkeypatch.setattr("nodes.resources.open_registry", with_long)
    house.planner.brain = _curt
    house.writer.brain = lambda heard: Reply(text="Done.")
    return house


def _curt(heard: Heard) -> Reply:
    reply = obedient(heard)
    return reply if reply.calls else Reply(text="That is all.")


def _reader(heard: Heard) -> Reply:
    """Measure, then read the result page by page to its end."""
    if not heard.tools:
        return Reply(text="Done.")
    if not heard.results:
        return Reply(calls=(Call("measure", {"size": 100_000}),))
    last = heard.results[-1].text
    if last.startswith("[bytes "):
        follows = re.search(r"next offset: (\d+)\]", last.partition("\n")[0])
        if follows is None:
            return Reply(text="Read to the end.")
        offset = int(follows[1])
    else:
        offset = int(HANDLE.search(last)[2])
    handle = HANDLE.search(heard.results[0].text)[1]
    return Reply(calls=(Call("read_result", {"handle": handle, "offset": offset}),))


def _databases(house: House) -> int:
    return sum(path.stat().st_size for path in (house.folder / "data").glob("*.db*"))


async def _ask(house: House, text: str, thread: str = "t", **choices):
    async with house.open() as orchestrator:
        result = await orchestrator.ask(text, thread_id=thread, context=house.context(**choices))
        audit = await orchestrator.ledger.audit()
    assert house.rejected() == []
    return result, audit


@pytest.mark.slow
async def test_three_megabytes_are_stored_once_and_everything_else_stays_small(house):
    text = _lines(3_000_000)
    result, audit = await _ask(house, 'measure {"size": 3000000}')
    [file] = house.stored()
    assert file.read_text() == text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert _databases(house) < 1_000_000
    assert [(row["result_size"], row["result_sha256"]) for row in audit] == [(len(text), file.name)]

    seen = house.planner.heard[-1].results[0].text
    assert 15_000 < len(seen) < 17_000
    assert seen.startswith(text[:10_000])
    assert text[-5_000:] in seen
    handle, offset = HANDLE.search(seen).groups()
    assert file.name.startswith(handle)
    assert text[: int(offset)] == seen[: int(offset)]

    [call] = result.tool_calls
    assert call["result"].startswith(text[:1_000])
    assert handle in call["result"]
    assert len(call["result"]) < 2_000
    assert f'handle="{handle}"' in house.writer.heard[-1].turns[-1].text, "the responder is told it was cut"


@pytest.mark.slow
async def test_the_model_reads_on_by_handle_to_the_end_and_no_page_is_stored_again(house):
    house.planner.brain = _reader
    result, _ = await _ask(house, "Measure and read it all")
    pages = [call for call in result.tool_calls if call["tool"] == "read_result"]
    assert len(pages) == 12
    first = house.planner.heard[1].results[0].text.partition("\n[…]\n")[0]
    shown = [heard.results[-1].text.partition("\n")[2] for heard in house.planner.heard[2:]]
    assert first + "".join(shown) == _lines(100_000)
    assert len(house.stored()) == 1
    assert all(len(call["result"]) < 2_100 for call in pages)
    assert _databases(house) < 600_000


async def test_the_same_content_twice_is_one_file(house):
    await _ask(house, 'measure {"size": 50000} & measure {"size": 50000} then measure {"size": 50000}')
    assert len(house.stored()) == 1


async def test_a_result_that_is_not_long_is_kept_as_it_is(house):
    result, _ = await _ask(house, 'measure {"size": 2000}')
    assert result.tool_calls[0]["result"] == _lines(2_000)
    assert house.stored() == []


async def test_a_handle_is_worth_nothing_to_another_person(house):
    result, _ = await _ask(house, 'measure {"size": 50000}', user="ada")
    handle = HANDLE.search(result.tool_calls[0]["result"])[1]
    call = f'read_result {{"handle": "{handle}"}}'
    other, _ = await _ask(house, call, thread="u", user="bob")
    assert other.tool_calls[0]["status"] == "failed"
    assert "There is no stored result" in other.tool_calls[0]["result"]
    mine, _ = await _ask(house, call, thread="v", user="ada")
    assert mine.tool_calls[0]["status"] == "executed"


@pytest.mark.parametrize(("source", "asks"), [("browse", True), ("measure", False)])
async def test_a_page_counts_as_what_it_is_a_page_of(house, source, asks):
    result, _ = await _ask(house, f'{source} {{"size": 50000}}')
    handle = HANDLE.search(result.tool_calls[0]["result"])[1]
    assert handle.endswith("-untrusted") == asks
    reading = f'read_result {{"handle": "{handle}"}} then remember {{"text": "the bin goes out on Monday"}}'
    after, _ = await _ask(house, reading, thread="u")
    assert bool(after.pending) == asks, "after strangers' text a write asks, and a page of it is such"
    page = next(heard for heard in house.planner.heard[2:] if heard.results).results[0].text
    assert "[bytes 0-8,000 of 50,000" in page
    assert ("<untrusted" in page) == asks


async def test_the_note_on_what_is_left_out_stands_outside_the_strangers_fence(house):
    await _ask(house, 'browse {"size": 50000}')
    seen = house.planner.heard[-1].results[0].text
    fence_ends = seen.index("</untrusted")
    assert seen.startswith("<untrusted")
    assert HANDLE.search(seen).start() > fence_ends


@pytest.mark.slow
async def test_fifty_megabytes_take_bounded_time_and_memory(house):
    tracemalloc.start()
    started = time.process_time()
    async with house.open() as orchestrator:
        waiting = await orchestrator.ask('flood {"size": 50000000}', thread_id="t", context=house.context())
        assert waiting.pending
        result = await orchestrator.resume("t", answer=True, context=house.context())
    took, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    [file] = house.stored()
    assert file.stat().st_size == 50_000_000
    assert len(result.tool_calls[0]["result"]) < 2_000
    assert took < 20
    assert peak < 400_000_000
    assert _databases(house) < 1_000_000


async def test_where_a_result_cannot_be_stored_its_two_ends_are_told_and_why(house, monkeypatch):
    async def full(*_args, **_named):
        raise StorageError("The disk is full.")

    monkeypatch.setattr("storage.long_results.LongResults.put", full)
    result, _ = await _ask(house, 'measure {"size": 50000}')
    [call] = result.tool_calls
    assert call["status"] == "executed"
    assert call["result"].endswith("[The rest is lost. The disk is full.]")
    assert result.stop_reason == "answered"


async def test_where_a_stored_result_was_deleted_the_turn_goes_on_with_its_two_ends(house):
    def deleting(heard: Heard) -> Reply:
        for path in house.stored():
            path.unlink()
        return _curt(heard)

    house.planner.brain = deleting
    result, _ = await _ask(house, 'measure {"size": 50000} then get_time {}')
    assert result.stop_reason == "answered"
    seen = house.planner.heard[-1].results[0].text
    assert HANDLE.search(seen)
    assert seen.startswith(_lines(1_000))
