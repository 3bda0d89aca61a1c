"""Every fault on every wire, plain and streamed, in each place of a turn: what the person saw.

docs/faults.md holds it; `--rewrite` writes it anew. Nothing is retried here, and no model stands by: it is
the worst that can happen. With another model beside it, each turn is answered. The suite tries each fault in
one of the places; `--prove` and `--rewrite` in all of them.
"""

import asyncio
import itertools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from graphs.result import Result
from graphs.session import Orchestrator
from tests.behaviour.household import House
from tests.wires.brain import Brain, Call, Heard, Kind, Reply
from tests.wires.cards import at, key_of, variable_of
from tests.wires.clients import KINDS, OpenWire
from tests.wires.faults import FAULTS, ROWS, SLOW

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
LONG = " and please" * 1_000
PLACES: Mapping[str, Mapping[str, str]] = {
    "brain one": {"path": "two-brain", "orchestrator": "faulty", "responder": "well"},
    "the only model": {"path": "single", "orchestrator": "faulty"},
    "brain two": {"path": "two-brain", "orchestrator": "well", "responder": "faulty"},
    "plain chat": {"path": "direct", "responder": "faulty"},
}
WHY = re.compile(r"No model answered\. Model '\w+': (.+?)\)?$", re.MULTILINE)
NO_ANSWER = re.compile(
    r"Traceback|File \"|Error\b|Exception|Errno|\bNone\b|<\w|\{\W*(error|message|type|id|choices|name)\b"
)
"""Of a program's insides, of a provider's JSON, page or markup: nothing for a person to read."""


def _well(heard: Heard) -> Reply:
    """Look something up, then tell what came of it; as a writer, put what was found in words."""
    if summary := re.search(r"<summary>\n(.*)\n</summary>", heard.turns[-1].text, re.DOTALL):
        return Reply(text=f"I write: {summary[1] or 'without a summary'}")
    if heard.tools and not heard.results:
        expression = "6*7" if heard.wire == "gemini" else "7*6"  # a signed call must not come from another
        return Reply(calls=(Call("calculate", {"expression": expression}),))
    told = [r.text if r.text[0].isdigit() or "Rang" in r.text else f"{r.name} failed." for r in heard.results]
    return Reply(text=f"Found: {' '.join(told) or 'nothing.'}")


def _faulty(kind: Kind, stream: bool) -> Brain:
    """Do well, but for the fault that the request names: as planner in the second round, else at once."""

    def brain(heard: Heard) -> Reply:
        name = heard.request.split()[0]
        if name in SLOW:
            return SLOW[name](kind, stream)
        is_struck = not heard.tools or len(heard.results) == 1
        return FAULTS[name](kind, stream) if name in FAULTS and is_struck else _well(heard)

    return brain


@pytest.fixture
def furnished(open_wire: OpenWire, furnish):
    """Return a function that furnishes a house: a faulty model, the same in a hurry, one that is well."""

    def house(kind: Kind, stream: bool) -> House:
        wire = open_wire(kind, brain=_faulty(kind, stream))
        cards = {
            "faulty": at(wire, streaming=stream, timeout_s=60),
            "hasty": at(wire, streaming=stream, timeout_s=0.3, api_key_env=variable_of("faulty")),
            "well": at(open_wire("anthropic" if kind == "openai" else "openai", brain=_well), timeout_s=60),
        }
        guarded = {f"guarded-{name}": [name, "well"] for name in ("faulty", "hasty")}
        return furnish(cards, guarded)

    return house


def _names(kind: Kind, stream: bool) -> list[str]:
    return [*(name for name, *where in ROWS if where == [kind, stream]), *SLOW]


async def _turn(orchestrator: Orchestrator, house: House, name: str, place: Mapping[str, str]) -> Result:
    """Run a turn that the fault strikes, then one that it does not, in one conversation."""
    model = "hasty" if name in SLOW else "faulty"
    where = {key: value.replace("faulty", model) for key, value in place.items()}
    context = house.context(confirm_allow=["ring_bell"], **where)
    thread = f"{name} {sorted(where.items())}"
    async with asyncio.timeout(60):
        request = f"{name}{LONG if name == 'cut_prompt' else ''}"
        result = await orchestrator.ask(request, thread_id=thread, context=context)
        if result.tool_calls and name not in SLOW:
            after = await orchestrator.ask("And now?", thread_id=thread, context=context)
            assert after.stop_reason == "answered", "the conversation goes on"
    values = (await orchestrator.graph.aget_state({"configurable": {"thread_id": thread}})).values
    assert not any("breaks off" in message.text for message in values["messages"])
    _check(result)
    return result


def _check(result: Result) -> None:
    assert result.response.strip()
    assert not NO_ANSWER.search(result.response), result.response
    assert key_of("faulty") not in result.response
    assert result.stop_reason in {"answered", "model_failed", "truncated"}


def _seen(result: Result, rung: Iterable[str]) -> str:
    """Return a cell: what happened beside the lookup, and what the person read."""
    happened = [f"`{call['tool']}` {call['status']}" for call in result.tool_calls[1:]]
    happened += [f"rang {line}" for line in sorted(rung)]
    if not WHY.search(result.response):
        return ", ".join([*happened, f"“{' '.join(result.response.split())}”"])
    return ", ".join([*happened, *(["what was gathered"] if "42" in result.response else []), "why"])


async def _cell(orchestrator: Orchestrator, house: House, name: str, place: str) -> tuple[str, list[str]]:
    """Return what a fault came to in a place, and why where that is told."""
    before = len(house.rung())
    result = await _turn(orchestrator, house, name, PLACES[place])
    return _seen(result, house.rung()[before:]), WHY.findall(result.response)


async def _row(orchestrator: Orchestrator, house: House, name: str) -> str:
    cells, told = [], {}
    for place in PLACES:
        cell, why = await _cell(orchestrator, house, name, place)
        cells.append(cell)
        told.update(dict.fromkeys(why))
    return f"| {' | '.join([_title(name), *cells, ' / '.join(told)])} |"


def _title(name: str) -> str:
    return name.replace("_", " ")


LEARNED = {"cut_prompt"}
"""Faults that are noticed by what the whole table before has taught of the model; not in a sample."""
STREAMED = pytest.mark.parametrize(
    "stream",
    [
        pytest.param(False, id="plain", marks=pytest.mark.prove(sampled=False)),
        pytest.param(True, id="streamed"),
    ],
)
HEAD = ("fault", *PLACES, "why, where it is told")


def _section(title: str, rows: Iterable[str]) -> str:
    return "\n".join([f"## {title}", "", f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|", *rows, "", ""])


def _on_page(page: str, title: str) -> str:
    found = re.search(rf"^## {title}\n.*?(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    return found[0] if found else ""


def _rows(section: str) -> dict[str, dict[str, str]]:
    """Return a section's cells, by fault and then by head."""
    rows = [line[2:-2].split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {cells[0]: dict(zip(HEAD, cells, strict=True)) for cells in rows[1:]}


@pytest.mark.prove
@STREAMED
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
async def test_whatever_fails_the_person_reads_an_answer_or_what_to_do_as_the_page_says(
    furnished, request, proving, kind: Kind, stream
):
    title, names = f"{kind.capitalize()}, {'streamed' if stream else 'plain'}", _names(kind, stream)
    rewrite = request.config.getoption("--rewrite")
    house = furnished(kind, stream)
    async with house.open() as orchestrator:
        if proving or rewrite:
            section = _section(title, [await _row(orchestrator, house, name) for name in names])
        else:
            section = _on_page(PAGE.read_text(encoding="utf-8"), title)
            await _check_one_cell_a_row(orchestrator, house, names, _rows(section))
    assert set(house.rung()) <= {"3 hall", "1 hall"}, "no call that was cut short has run"
    assert house.rejected() == []
    if rewrite:
        page = PAGE.read_text(encoding="utf-8")
        old = _on_page(page, title)
        PAGE.write_text(page.replace(old, section) if old else page + section, encoding="utf-8")
    assert _on_page(PAGE.read_text(encoding="utf-8"), title) == section


async def _check_one_cell_a_row(orchestrator: Orchestrator, house: House, names, rows) -> None:
    assert list(rows) == [_title(name) for name in names]
    for name, place in zip(names, itertools.cycle(PLACES), strict=False):
        if name in LEARNED:
            continue
        cell, why = await _cell(orchestrator, house, name, place)
        row = rows[_title(name)]
        assert (name, place, cell) == (name, place, row[place])
        assert set(why) <= set(row[HEAD[-1]].split(" / "))


@pytest.mark.slow
@pytest.mark.prove
@STREAMED
@pytest.mark.parametrize("kind", KINDS)
async def test_with_another_model_beside_it_whatever_fails_the_turn_is_answered(
    furnished, proving, kind: Kind, stream
):
    house = furnished(kind, stream)
    names = _names(kind, stream) if proving else _names(kind, stream)[2 * stream :: 4]
    place = {"path": "two-brain", "orchestrator": "guarded-faulty", "responder": "guarded-faulty"}
    async with house.open() as orchestrator:
        results = await asyncio.gather(*(_turn(orchestrator, house, name, place) for name in names))
    assert {result.stop_reason for result in results} <= {"answered", "truncated"}
    assert house.rejected() == []
