"""What is counted of JSON is what it holds, in whatever pieces it comes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.json_size import JsonSize, values_in

TEXTS = st.text(st.sampled_from('ab"\\,[{}]\n\r\u2028é'), max_size=12)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)
TAIL = b" " * 16


def marks_in(value: Any) -> int:
    """Return how many brackets open in a JSON value, and how many commas stand between its parts."""
    if not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(0, len(value) - 1) + sum(map(marks_in, inner))


def size_of(text: bytes, step: int) -> JsonSize:
    size = JsonSize()
    for start in range(0, len(text), step):
        size.add(text[start : start + step])
    return size


@given(VALUES, st.booleans(), st.integers(1, 40))
def test_it_counts_what_stands_outside_of_texts(value, is_ascii, step):
    text = json.dumps(value, ensure_ascii=is_ascii).encode()
    assert values_in(text) == marks_in(value)
    size = size_of(text + TAIL, step)
    assert (size.values, size.bytes) == (marks_in(value), len(text) + len(TAIL))


@given(st.lists(VALUES, min_size=1, max_size=4), st.sampled_from(["\n", "\r\n", "\r"]), st.integers(1, 40))
def test_each_event_of_a_stream_counts_by_itself(values, end, step):
    events = [f': a "{end}event: "{end}data: {json.dumps(value)}{end}{end}' for value in values]
    text = "".join(events).encode() + TAIL
    size = size_of(text, step)
    lines = 3
    assert (size.values - lines, size.bytes) == (marks_in(values[-1]), len(events[-1].encode()) + len(TAIL))


@pytest.mark.parametrize("between", [b"\n", b"\n\n", b"\r\n\r\n[", b"\ntrue,", b"\r\n", b"\ndata: "])
def test_lines_that_one_reader_may_join_count_together(between):
    assert size_of(between.join([b"[],[]"] * 100) + TAIL, 7).values >= 399
