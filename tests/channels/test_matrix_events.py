"""What Matrix events bring, and what is sent as one; and how a homeserver's refusals are taken."""

import json
from html.parser import HTMLParser
from typing import Any

import pytest

from channels.matrix_events import content_of, edit_of, length, read
from channels.messenger import Button, File, Incoming

CAME = Incoming("$1", "!room:example.org", "@anna:example.org", is_private=True)


def said(**content: Any) -> dict[str, Any]:
    return {"type": "m.room.message", "content": {"msgtype": "m.text", **content}}


def reaction(key: Any, event: Any = "$card", kind: str = "m.annotation") -> dict[str, Any]:
    return {
        "type": "m.reaction",
        "content": {"m.relates_to": {"rel_type": kind, "event_id": event, "key": key}},
    }


@pytest.mark.parametrize("key", ["👍", "👍🏽", "👍\ufe0f", "✅"])
def test_a_thumb_up_or_a_tick_presses_approve_on_that_very_message(key):
    found = read(reaction(key), CAME)
    assert found is not None
    assert (found.pressed, found.message) == ("👍", "$card")


def test_a_cross_presses_reject():
    found = read(reaction("❌"), CAME)
    assert found is not None
    assert (found.pressed, found.message) == ("❌", "$card")


@pytest.mark.parametrize(
    "event",
    [
        *map(reaction, ("👎", "🎉", "yes", "👍👍", " 👍", "", None, 7, ["👍"])),
        reaction("👍", event=None),
        reaction("👍", kind="m.thread"),
        {"type": "m.reaction", "content": {}},
        {"type": "m.reaction", "content": {"m.relates_to": "👍"}},
        said(body="* yes", **{"m.relates_to": {"rel_type": "m.replace", "event_id": "$1"}}),
        said(msgtype="m.notice", body="yes"),
        {"type": "m.room.message", "content": {}},
        {"type": "m.room.redaction", "content": {"redacts": "$1"}},
        {"type": "m.room.member", "content": {"membership": "join"}},
        {"type": "m.room.message"},
        {},
    ],
    ids=lambda event: json.dumps(event)[:60],
)
def test_other_reactions_edits_redactions_and_notices_are_nothing(event):
    assert read(event, CAME) is None


def test_a_reply_is_about_its_message_without_the_quote_that_older_clients_put_before_it():
    relation = {"m.in_reply_to": {"event_id": "$card"}}
    quoted = "> <@bot:example.org> Please confirm\n> yes\n\nno: too early"
    found = read(said(body=quoted, **{"m.relates_to": relation}), CAME)
    assert found is not None
    assert (found.text, found.reply_to) == ("no: too early", "$card")
    in_thread = {**relation, "rel_type": "m.thread", "event_id": "$root", "is_falling_back": True}
    assert read(said(body="yes", **{"m.relates_to": in_thread}), CAME) == read(said(body="yes"), CAME)


@pytest.mark.parametrize(
    ("words", "text"),
    [("!new buy", "/new buy"), ("!stop", "/stop"), ("!newer", "!newer"), ("a !new", "a !new")],
)
def test_commands_begin_with_an_exclamation_mark_too(words, text):
    assert getattr(read(said(body=words), CAME), "text", None) == text


def test_files_come_with_name_type_size_and_caption():
    info = {"mimetype": "image/png", "size": 7}
    image = said(
        msgtype="m.image", body="our cat", filename="cat.png", url="mxc://example.org/abc", info=info
    )
    found = read(image, CAME)
    assert found is not None
    assert found.files == (File("mxc://example.org/abc", "cat.png", "image/png", 7),)
    assert found.text == "our cat"


@pytest.mark.parametrize(
    "content",
    [
        {"msgtype": "m.image", "body": "x", "url": "https://evil.example/x"},
        {"msgtype": "m.image", "body": "x", "file": {"url": "mxc://example.org/x"}},
        {"msgtype": "m.location", "body": "Paris", "geo_uri": "geo:1,2"},
        {"msgtype": 7, "body": "yes"},
        {"body": ["yes"]},
    ],
)
def test_what_cannot_be_read_is_said_to_be_and_decides_nothing(content):
    found = read(said(**content), CAME)
    assert found is not None
    assert found.text == ""
    assert found.files == ()
    assert "not read here" in found.refused


class Tags(HTMLParser):
    """What tags, attributes and texts stand in a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text = set[str](), list[Any](), ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self.text += "\n" if tag == "br" else ""

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = [
    "<b>bold</b><a href='https://evil.example/x'>click</a><img src=x onerror=alert(1)>",
    "</code></pre><script>alert(1)</script>",
    "[click](https://evil.example) *bold* _it_ ~s~ ||spoiler||",
    "@room @anna:example.org https://matrix.to/#/@anna:example.org",
    "&lt;b&gt; &amp; &#60;img&#62; \"'`",
    "\u202eyes\u202c \u200b\ufeff\ud800",
    "<mx-reply>x</mx-reply><font data-mx-color=red>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_anybody_wrote_becomes_html_or_a_mention(text):
    card = f"Please confirm:\n\n```\nwrite_file\ncontent: {text}\n```\n\n{text}"
    for content in (content_of(card), edit_of("$1", card)["m.new_content"], content_of(text)):
        found = Tags(content.get("formatted_body", ""))
        assert found.tags <= {"pre", "code", "br"}
        assert found.attributes == []
        assert content["m.mentions"] == {}
    shown = text.replace("\ud800", "\ufffd")
    assert Tags(content_of(card)["formatted_body"]).text.count(shown) == 2
    assert content_of(text) == {"msgtype": "m.text", "body": shown, "m.mentions": {}}
    assert edit_of("$1", text)["m.mentions"] == {}


def test_the_reactions_that_stand_for_buttons_are_named_and_no_others():
    buttons = [[Button("Approve", "a1", "👍"), Button("Reject", "r1", "❌")], [Button("Always", "o1")]]
    assert content_of("Please confirm", buttons)["body"] == (
        "Please confirm\n\nOr react to this message: 👍 Approve · ❌ Reject."
    )


@pytest.mark.parametrize(
    "text", ["x" * 23_700, "\n" * 11_000 + "x", '"\\' * 5_900, "```\n" + "&" * 23_000 + "\n```"]
)
def test_no_edit_is_larger_than_an_event_may_be(text):
    assert length(text) <= 24_000
    assert len(json.dumps(edit_of("$1" * 30, text), ensure_ascii=False).encode()) < 63_000
