"""A model gets what stands in `structuredContent` and not in the text beside it, and no more than once."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools.mcp.household import Household, definition

FAST = Path(__file__).with_name("fast_server.py")
PROJECTS = {"items": [{"id": 1, "title": "Größe"}, {"id": 2, "title": "bread"}]}
PAGE = {"useful": 1, "chunks": [{"text": "Example Domain", "url": "https://example.com"}]}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.fixture
def household(tmp_path: Path) -> Household:
    return Household(tmp_path)


SAYS_LESS = {
    "a count": ("2 items", PROJECTS),
    "an image service": ("list_projects returned 2 item(s).", PROJECTS),
    "a scraper": (
        "Scraped 1 URLs: 1 useful, 0 failed.\nTop evidence chunks are in structured content.",
        PAGE,
    ),
    "a file's particulars beside its text": ("milk\nbread", {"fileName": "a.txt", "fileType": "text"}),
    "done": ("Done.", {"ok": True}),
    "a list": ("See below.", [{"id": 7}]),
    "a number": ("The sum:", 42),
}


@pytest.mark.parametrize("maker", SAYS_LESS)
@pytest.mark.parametrize("is_error", [False, True])
async def test_what_the_text_does_not_say_is_given_too(household, maker, is_error):
    words, data = SAYS_LESS[maker]
    home = household.add("notes", definition("list"))
    result = {"content": [text(words)], "structuredContent": data, "isError": is_error}
    (home / "results.json").write_text(json.dumps({"list": result}))
    async with household.open() as house:
        told = await house.call("notes_list")
    assert told.status == ("failed" if is_error else "executed")
    assert told.text.removeprefix("Tool error: ") == f"{words}\n{json.dumps(data, ensure_ascii=False)}"


SAYS_ALL = {
    "the same as JSON": [text(json.dumps(PROJECTS))],
    "the same with indents": [text(json.dumps(PROJECTS, indent=2, ensure_ascii=False))],
    "a part for each": [text(json.dumps(each)) for each in PROJECTS["items"]],
    "a table": [text("| # | title |\n|---|---|\n| 1 | Größe |\n| 2 | bread |")],
    "a list for people": [text("Found:\n1. **Größe**\n2. **bread**\nTell me which.")],
}


@pytest.mark.parametrize("maker", SAYS_ALL)
async def test_what_the_text_says_is_not_said_again(household, maker):
    home = household.add("notes", definition("list"))
    result = {"content": SAYS_ALL[maker], "structuredContent": PROJECTS}
    (home / "results.json").write_text(json.dumps({"list": result}))
    async with household.open() as house:
        told = await house.call("notes_list")
    assert told.text == "\n".join(part["text"] for part in SAYS_ALL[maker])


async def test_where_there_is_no_text_it_is_given_whatever_it_holds(household):
    home = household.add("notes", definition("list"), definition("none"), definition("alone"))
    empty = {"content": [], "structuredContent": {"items": []}}
    alone = {"structuredContent": {"items": []}}
    picture = {
        "content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}],
        "structuredContent": PAGE,
    }
    (home / "results.json").write_text(json.dumps({"list": picture, "none": empty, "alone": alone}))
    async with household.open() as house:
        assert (await house.call("notes_none")).text == '{"items": []}'
        assert (await house.call("notes_alone")).text == '{"items": []}'
        assert (await house.call("notes_list")).text.endswith(json.dumps(PAGE))


async def test_a_part_of_a_kind_that_is_not_known_hides_no_other(household):
    home = household.add("notes", definition("list"))
    parts = [
        text("Went."),
        {"type": "video", "url": "https://example.com/v"},
        {"type": "image", "data": None},
    ]
    (home / "results.json").write_text(json.dumps({"list": {"content": parts}}))
    async with household.open() as house:
        told = await house.call("notes_list")
    assert (told.status, told.text) == ("executed", "Went.\n[video, not shown]\n[image, not shown]")


@pytest.mark.slow
async def test_a_fastmcp_servers_results_are_given_once(household):
    home = household.folder / "fast"
    names = [definition("names"), definition("record")]
    household.add("fast", *names, command=sys.executable, args=[str(FAST), str(home)])
    async with household.open() as house:
        assert (await house.call("fast_names")).text == 'gold\na "quoted" größe\n'
        told = json.loads((await house.call("fast_record")).text)
    assert told == {"name": "größe", "weight": 2.5, "inside": [{"name": "coin", "count": 3}]}
