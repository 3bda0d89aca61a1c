"""Thoughts between tags: the same words are left however the text is cut, in a time that grows with it."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.thoughts import Words, without_thoughts
from tests.models.makers import BLANK, THINKING

TEXTS = [text for text, _ in THINKING.values()]
PARTS = ["<think>", "</think>", "<thinking>", "[THINK]", "[/THINK]", "```", "`", "\n", " ", "<", "x", "noon"]
HOSTILE = [
    "<think></think>",
    "<think>\n",
    "</think>`",
    "`</think>",
    "<\n",
    "\n",
    " ",
    "```\n",
    "<think>a</think>\n",
]


def _heard(text: str, size: int) -> str:
    words = Words()
    return "".join(words.take(text[i : i + size]) for i in range(0, len(text), size)) + words.rest()


@pytest.mark.parametrize("text", [*TEXTS, BLANK["never ended"], BLANK["nothing behind"]])
def test_in_whatever_pieces_a_text_comes_the_same_words_are_heard(text):
    assert {_heard(text, size) for size in range(1, len(text) + 1)} == {without_thoughts(text)}


@given(st.lists(st.sampled_from(PARTS)).map("".join), st.integers(1, 9))
def test_no_piece_of_a_text_is_lost_or_heard_twice_wherever_it_is_cut(text, size):
    assert _heard(text, size) == _heard(text, len(text) + 1)


@given(st.text(alphabet=" \n`<>ab/"))
def test_a_text_without_a_tag_stays_as_it_is(text):
    assert without_thoughts(text) == text


@pytest.mark.parametrize("piece", HOSTILE)
def test_what_a_text_takes_grows_with_it_whatever_it_repeats(piece):
    short, long = (_steps(piece * (chars // len(piece))) for chars in (4_000, 40_000))
    assert long < 12 * short


def _steps(text: str) -> int:
    """Return how many functions are called: a measure that no clock is."""
    count = 0

    def called(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(called)
    try:
        _heard(text, 4)
        without_thoughts(text)
    finally:
        sys.setprofile(None)
    return count
