"""Finding tools by words, among those that may be called."""

from dataclasses import replace

import pytest

from tools.declaration import tool
from tools.find_tools import find_tools, matching, ranked
from tools.registry import open_registry
from tools.run import run_tool


@tool(effect="execute")
def dimLights() -> str:  # noqa: N802 (as some servers name theirs)
    """Dim a lamp.

    In steps of ten.
    """
    return ""


@tool(effect="read")
def forecast() -> str:
    """查询城市天气预报。พยากรณ์อากาศ 날씨를 봅니다."""
    return ""


@pytest.fixture
def tools(settings):
    return [*open_registry(settings), dimLights, forecast]


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("send a mail", "send_email"),
        ("what is on the calendar this week?", "list_events"),
        ("deleting files", "delete_file"),
        ("adding an event", "add_event"),
        ("remembering things", "remember"),
        ("lights", "dimLights"),
        ("明天的天气怎么样", "forecast"),
        ("อากาศ", "forecast"),
        ("오늘 날씨", "forecast"),
    ],
)
def test_the_best_match_comes_first_whatever_the_form_of_the_words(tools, query, best):
    assert matching(tools, query)[0].name == best


def test_what_fits_far_worse_than_the_best_is_left_out(tools):
    assert [each.name for each in matching(tools, "delete files")] == ["delete_file"]


def test_the_same_words_find_the_same_in_the_same_order(tools):
    assert ranked(tools, "read a file or a page") == ranked(tools, "a page or a file read")


async def test_a_planner_is_told_names_and_first_lines_of_what_its_person_may_call(here, tools):
    among = replace(here, offered=lambda: tools)
    ran = await run_tool(find_tools, among, {"query": "dim the light"})
    assert ran.text == "You can now call:\ndimLights: Dim a lamp."
    nobody = await run_tool(find_tools, here, {"query": "dim the light"})
    assert nobody.text.startswith("No tool matches 'dim the light'.")


@pytest.mark.parametrize("query", ["", "???", "xylophone"])
async def test_words_that_match_nothing_are_answered_with_that(here, tools, query):
    ran = await run_tool(find_tools, replace(here, offered=lambda: tools), {"query": query})
    assert (ran.status, "Try other words" in ran.text) == ("executed", True)
