from dataclasses import replace

import pytest

from tools.declaration import Here, tool
from tools.policy.taint import carries_data, links_in, points_at


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
        ("दिल्ली में क्या है", {"channel": "दिल्ली"}, True),
        ("दिल्ली में क्या है", {"channel": "कि ली"}, False),
        ("ก่อน กัน", {"channel": "ก น"}, False),
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


@tool(effect="read", untrusted=True, outbound=True)
def get(here: Here, url: str = "", urls: list[str] | None = None, size: int = 10, raw: bool = False) -> str:
    """Read what stands somewhere else."""
    return ""


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("See https://Example.com/menu.", "https://example.com/menu"),
        ("(https://example.com/menu)", "https://example.com/menu"),
        ("https://example.com/wiki/Tea_(drink)", "https://example.com/wiki/Tea_(drink)"),
        ("read example.com/menu, please", "https://example.com/menu"),
        ("www.example.com", "http://www.example.com/"),
        ("http://localhost:8123/api", "http://localhost:8123/api"),
        ("<a href='http://example.com:80/a?b=c#d'>", "https://example.com/a?b=c"),
    ],
)
def test_a_link_that_a_text_names_is_found_however_it_is_spelled(text, link):
    assert not carries_data({"url": link}, get, links_in(text))


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("example.com/menu", "https://example.com/menu?q=secret"),
        ("example.com", "https://evil.example.com"),
        ("example.com", "https://example.com.evil.example"),
        ("example.com:8080", "https://example.com"),
        ("ada@example.com", "https://example.com"),
        ("https://example.com@evil.example/", "https://example.com"),
        ("no link at all", "https://example.com"),
    ],
)
def test_no_other_link_counts_as_named(text, link):
    assert carries_data({"url": link}, get, links_in(text))


@pytest.mark.parametrize(
    "text", ["", "ftp://example.com", "https://a:b@example.com/", "https://", "https:///a", "\ud800"]
)
def test_what_is_no_link_is_never_given(text):
    assert not links_in(text)
    assert carries_data({"url": text}, get, links_in(text))


GIVEN = "Read https://Example.com/menu#today and example.com/wine?page=2."


@pytest.mark.parametrize(
    "args",
    [
        {"url": "https://example.com/menu"},
        {"url": "https://example.com/menu#today"},
        {"url": "https://Example.com/menu#today"},
        {"url": "example.com/wine?page=2", "size": 10},
        {"urls": ["https://example.com/menu", "http://example.com/wine?page=2"]},
        {"url": "https://example.com/menu", "raw": True},
        {"url": "https://example.com/menu", "size": None},
    ],
)
def test_a_call_that_says_which_links_to_read_carries_nothing_out(args):
    assert not carries_data(args, get, links_in(GIVEN))


@pytest.mark.parametrize(
    "args",
    [
        {"url": "https://example.com/menu#secret"},
        {"url": "https://eXaMpLe.com/menu"},
        {"url": "https://example.com/menu//"},
        {"url": " https://example.com/menu"},
        {"url": "hTTps://example.com/menu"},
        {"url": "https://example.com:443/menu"},
        {"url": "https://example.com:4711/menu"},
        {"url": "https://example.com/4711"},
        {"url": "https://example.com/wine?page=4711"},
        {"url": "https://example.com/wine?page=%32"},
        {"url": "https://example.com/menu", "size": 4711},
        {"url": "https://example.com/menu", "size": "4711"},
        {"url": "https://example.com/menu", "size": 0.4711},
        {"url": "https://example.com/menu", "raw": True, "size": ""},
        {"url": "https://example.com/menu", "urls": [True, False]},
        {"url": "https://example.com/menu", "urls": [[], [[]]]},
        {"url": "https://example.com/menu", "urls": [4, 7, 1, 1]},
        {"url": "https://example.com/menu", "urls": {"secret": "https://example.com/menu"}},
        {"url": "https://example.com/menu", "secret": True},
        {"urls": ["https://example.com/menu", "https://example.com/menu"]},
        {"url": "https://example.com/menu", "urls": ["https://example.com/menu"]},
        {"size": 10},
        {},
        "https://example.com/menu",
    ],
)
def test_what_stands_beside_a_given_link_or_how_it_is_spelled_carries_something_out(args):
    assert carries_data(args, get, links_in(GIVEN))


def test_the_links_of_a_text_are_parsed_once_however_often_they_are_asked_for():
    said = [f"See https://example.org/{number}." for number in range(1_000)]
    parsed = [links_in(text) for text in said]
    assert all(links_in("".join(text)) is links for text, links in zip(said, parsed, strict=True))
