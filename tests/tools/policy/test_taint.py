from dataclasses import replace

import pytest

from tools.declaration import Here, tool
from tools.policy.taint import links_in, points_at


@tool(effect="read", untrusted=True)
def read_channel(here: Here, channel: str, newest: int = 10) -> str:
    """Read what people wrote in a channel."""
    return ""


@pytest.mark.parametrize(
    ("request_", "args", "pointed"),
    [
        ("What is new in General?", {"channel": "general"}, True),
        ("What are the 5 newest in general?", {"channel": "general", "newest": 5}, True),
        ("What is new in general (newest 5)?", {"channel": "general", "newest": 5}, True),
        ("What is new in general?", {"channel": "general", "newest": 10}, True),
        ("Summarise notes/a.txt", {"channel": "notes/a.txt"}, True),
        ("Find a vegan place in Zürich", {"channel": "vegan zürich"}, True),
        ("What is new generally?", {"channel": "general"}, False),
        ("What is new in general?", {"channel": "general random"}, False),
        ("What is new in general?", {"channel": "general", "newest": 5}, False),
        ("What are the 500 newest in general?", {"channel": "general", "newest": 5000}, False),
        ("What are the 5,000 newest in general?", {"channel": "general", "newest": 5}, False),
        ("What is above .5 in general?", {"channel": "general", "newest": 5}, False),
        ("What is above -5 in general?", {"channel": "general", "newest": 5}, False),
        ("What is above 5 in general?", {"channel": "general", "newest": -5}, False),
        ("What is above 5 in general?", {"channel": "general", "newest": 5.0}, False),
        ("What is new in general?", {"channel": "general", "newest": True}, False),
        ("What is new in general?", {"channel": "general", "newest": None}, False),
        ("What are the 5 newest in general?", {"channel": ["general", [5, 6]]}, False),
        ("What is new in general?", {"channel": ["general", {"random": "general"}]}, False),
        ("What is the channel called?", {"newest": 5}, False),
        ("What is new?", {"channel": "."}, False),
        ("What is new?", {}, False),
        ("general", "general", False),
        ("", {"channel": "general"}, False),
    ],
)
def test_a_request_points_at_what_a_call_reads_if_every_word_and_number_of_its_arguments_is_in_it(
    request_, args, pointed
):
    assert points_at(request_, read_channel, args) is pointed


@pytest.mark.parametrize("changed", [{"outbound": True}, {"effect": "execute"}, {"effect": "write"}])
def test_nobody_points_at_the_open_web_or_at_what_a_call_changed(changed):
    other = replace(read_channel, **changed)
    assert not points_at("What is new in general?", other, {"channel": "general"})


def test_the_links_of_a_text_are_parsed_once_however_often_they_are_asked_for():
    said = [f"See https://example.org/{number}." for number in range(1_000)]
    parsed = [links_in(text) for text in said]
    assert all(links_in("".join(text)) is links for text, links in zip(said, parsed, strict=True))
