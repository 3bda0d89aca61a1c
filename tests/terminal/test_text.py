from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from terminal.text import Flow, plain


def flowed(pieces, width):
    written = []
    flow = Flow(written.append, width)
    for piece in pieces:
        flow.feed(piece)
    flow.end()
    return "".join(written)


def test_streamed_words_are_not_broken_at_the_edge():
    text = flowed(["one tw", "o three fo", "ur five"], 10)
    assert text == "one two\nthree four\nfive\n"


def test_wide_characters_fill_a_line_and_no_more():
    lines = flowed(["漢字かな" * 10], 21).splitlines()
    assert [cell_len(line) for line in lines] == [20, 20, 20, 20]


def test_indented_lines_keep_their_indent():
    assert flowed(["def f():\n    re", "turn 1\n"], 40) == "def f():\n    return 1\n"


def test_a_pipe_gets_long_lines_whole():
    assert flowed(["word " * 100], None) == "word " * 99 + "word\n"


@given(st.lists(st.text(alphabet="ab 漢\n\t"), max_size=8), st.integers(4, 12))
def test_no_letter_is_lost_or_doubled_wherever_the_stream_is_cut(pieces, width):
    assert "".join(flowed(pieces, width).split()) == "".join("".join(pieces).split())


@given(st.text())
def test_plain_text_holds_no_control_characters_and_stays_as_it_is(text):
    cleaned = plain(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in cleaned)
    assert plain(cleaned) == cleaned
