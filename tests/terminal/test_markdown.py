"""Markdown as it streams: what a person sees of it, wherever the stream is cut."""

import io
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from terminal.markdown import MarkdownFlow

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown(*pieces, width=80):
    """Return what stands on the screen once all of a text has come."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, highlight=False, color_system="standard")
    flow = MarkdownFlow(console)
    for piece in pieces:
        flow.feed(piece)
    flow.end()
    lines = file.getvalue().split("\n")
    return "\n".join(
        ESCAPES.sub("", line.rpartition("\x1b[2K")[2]).rpartition("\r")[2].rstrip() for line in lines
    )


def test_headings_lists_tables_and_code_are_drawn():
    text = "# Week\n\n1. **First**\n2. `two`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```\n"
    said = shown(text)
    assert "#" not in said
    assert "**" not in said
    assert "`" not in said
    assert " 1 First" in said
    assert "─" in said
    assert "x = 1" in said


def test_an_address_is_seen_beside_what_it_is_called_and_tags_and_pictures_stay_text():
    said = shown("See [your bank](https://evil.example/x) and ![cat](http://a.example/c.png) <b>now</b>")
    assert "your bank (https://evil.example/x)" in said.replace("\n", " ")
    assert "http://a.example/c.png" in said
    assert "<b>now</b>" in said


def test_nothing_in_it_steers_the_terminal():
    said = shown("a\x1b[2Jb \x1b]0;title\x07c \u202ed")
    assert said.strip() == "ab c d"


def test_a_long_code_block_is_shown_as_it_comes_and_stays_code():
    lines = [f"*line* {number}" for number in range(200)]
    said = shown("```\n", *(f"{line}\n" for line in lines), "```\n\n*end*")
    found = re.findall(r"\*line\* (\d+)", said)
    assert sorted(set(map(int, found))) == list(range(200))
    assert said.rstrip().endswith("end")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=30))
def test_wherever_the_stream_is_cut_the_same_stands_there_in_the_end(cuts):
    text = "# A\n\n- one\n- two\n\n```\ncode\n```\n\nLast *word*."
    pieces, rest = [], text
    for size in cuts:
        pieces.append(rest[:size])
        rest = rest[size:]
    words = re.findall(r"\w+", shown(*pieces, rest))
    assert words[-2:] == ["Last", "word"]
    assert [words.count(each) >= 1 for each in ("A", "one", "two", "code")] == [True] * 4
