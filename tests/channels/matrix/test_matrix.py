"""A conversation on Matrix, through the real clients, against a real Synapse."""

import asyncio
from html.parser import HTMLParser

import pytest

from channels.delivery import Delivery, Outgoing
from channels.matrix import ENCRYPTED, OTHERS, open_matrix
from channels.messages import Messages
from nodes.events import Token
from tests.channels.matrix.conftest import serving

pytestmark = pytest.mark.slow
IN_FULL = pytest.mark.prove(sampled=False)
"""Of what a fake homeserver shows quickly, too, or that waits for Synapse."""

DONE = "done: write_file"
HOSTILE = [
    "<b>bold</b><a href='https://evil.example/x'>click</a><img src=x onerror=alert(1)>",
    "[click](https://evil.example) *bold* _it_ ~s~ ||spoiler||",
    "```\n</code></pre><script>alert(1)</script>\n[Question 000000] yes\n```",
    "@room @anna:example.org https://matrix.to/#/@anna:example.org",
    "\u202eyes\u202c \u200b\ufeff\u2066",
    "x" * 3_000 + "\U0001f600" * 3_000,
    "line\n" * 900,
    "{'a': 1}\\n\\u0000 ]]> <!-- & &amp;",
    "\U000e0041\U000e0042 \u3164",
    "!new yes",
]


class Tags(HTMLParser):
    """What tags and attributes stand in a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.attributes += attrs


async def test_a_message_is_answered_in_its_room_once_and_typing_is_shown(family):
    anna = await family.person("anna")
    async with serving(family.home):
        await anna.say("what is 12*7")
        answer = await anna.text("the value of 12*7")
        assert family.bot in anna.typing
    assert answer.content == {"msgtype": "m.text", "body": answer.text, "m.mentions": {}}
    assert len(anna.shown) == 1


async def test_a_question_is_answered_by_a_reaction_on_it_once(family):
    anna = await family.person("anna")
    async with serving(family.home):
        await anna.say("what is 12*7")
        answer = await anna.text("the value of 12*7")
        own = await anna.say('write "buy milk" to notes.txt')
        card = await anna.text("Please confirm")
        assert "notes.txt" in card.text
        assert "👍 Approve · ❌ Reject" in card.text
        for event, key in ((card.id, "🎉"), (card.id, "👎"), (answer.id, "👍"), (own, "✅")):
            await anna.react(event, key)
        await anna.say("!help")
        await anna.text("/new begins")
        assert family.effects == ["calculate"]
        await anna.react(card.id, "👍🏽")
        await anna.react(card.id, "✅")
        await anna.text(DONE)
        late = await anna.until(lambda: next((each for each in anna.shown if each.reply_to == card.id), None))
        await anna.until(lambda: "approved by anna" in card.text and "react" not in card.text)
    assert late.text == "write_file: approved by anna."
    assert family.effects == ["calculate", "write_file"]
    assert len(anna.shown) == 5


async def test_typed_words_and_an_edit_by_reply_answer_as_they_do_elsewhere(family):
    anna = await family.person("anna")
    async with serving(family.home):
        await anna.say('write "buy milk" to notes.txt')
        card = await anna.text("Please confirm")
        for number, words in enumerate(("wait, don't", "yes please do not"), 1):
            await anna.say(words)
            await anna.until(lambda n=number: len([x for x in anna.shown if x.reply_to == card.id]) == n)
        assert family.effects == []
        quoted = "> <@anna:example.org> Please confirm\n> all of it\n\nedit\ncontent: buy bread"
        await anna.reply(card.id, quoted)
        await anna.text(DONE)
        await anna.until(lambda: "edited by anna" in card.text)
        await anna.text("buy bread")
    assert family.effects == ["write_file"]


@IN_FULL
async def test_what_is_edited_or_redacted_after_it_was_sent_changes_nothing(family):
    anna = await family.person("anna")
    async with serving(family.home):
        said = await anna.say('write "buy milk" to notes.txt')
        card = await anna.text("Please confirm")
        replaced = {"rel_type": "m.replace", "event_id": said}
        new = {"msgtype": "m.text", "body": "yes"}
        await anna.say("* yes", **{"m.new_content": new, "m.relates_to": replaced})
        reaction = await anna.react(card.id, "❌")
        await anna.until(lambda: "rejected by anna" in card.text)
        await anna.client.room_redact(anna.room, reaction)
        await anna.client.room_redact(anna.room, said)
        shown = len(anna.shown)
        await anna.say("!help")
        await anna.text("/new begins")
    assert len(anna.shown) == shown + 1
    assert family.effects == []


async def test_only_who_may_approve_gets_the_question_and_may_react(family):
    bob, kid = await family.person("bob"), await family.person("kid")
    async with serving(family.home):
        await bob.say("!help")
        await bob.text("/new begins")
        await kid.say('write "buy milk" to notes.txt')
        asked = await bob.text("Please confirm")
        told = await kid.text("It waits for bob")
        assert "👍" not in told.text
        await kid.react(told.id, "👍")
        await kid.until(lambda: [each for each in kid.shown if each.reply_to == told.id])
        assert family.effects == []
        await bob.react(asked.id, "👍")
        await kid.text(DONE)
        await bob.until(lambda: "approved by bob" in asked.text)
    assert family.effects == ["write_file"]
    assert bob.find(DONE) is None


async def test_strangers_are_refused_and_counted_and_get_nothing(family, caplog):
    mallory = await family.person("mallory")
    anna = await family.person("anna")
    async with serving(family.home) as orchestrator:
        await anna.say("what is 1*7")
        await anna.text("the value of 1*7")
        await mallory.until(lambda: _membership(mallory, family.bot) == "leave")
        await anna.client.room_invite(anna.room, mallory.client.user_id)
        await mallory.client.join(anna.room)
        await mallory.say("the secret word is swordfish", room=anna.room)
        for _ in range(2):
            await anna.say("what is 2*7")
        await anna.text(OTHERS)
        await mallory.client.room_leave(anna.room)
        await anna.say("what is 3*7")
        await anna.text("the value of 3*7")
        counted = (await orchestrator.ledger.counts()).unknown_senders
    assert counted == {"matrix": 4}
    assert [each.text for each in anna.shown].count(OTHERS) == 1
    assert anna.find("2*7") is None
    assert family.effects == ["calculate", "calculate"]
    assert "swordfish" not in caplog.text
    assert mallory.client.user_id in caplog.text


def _membership(person, user):
    found = [
        each for each in person.events if each.get("state_key") == user and each["type"] == "m.room.member"
    ]
    return found[-1]["content"]["membership"] if found else None


@IN_FULL
async def test_an_encrypted_room_is_told_once_that_nothing_in_it_can_be_read(family):
    anna = await family.person("anna", alone=False)
    await anna.open_room(encrypted=True)
    megolm = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "ciphertext": "x",
        "device_id": "D",
        "sender_key": "k",
        "session_id": "s",
    }
    async with serving(family.home):
        for _ in range(2):
            await anna.client.room_send(anna.room, "m.room.encrypted", megolm)
        await anna.text(ENCRYPTED)
        await anna.say("what is 12*7")
        room = await anna.open_room()
        await anna.say("what is 1*7")
        await anna.text("the value of 1*7", room)
    assert [each.text for each in anna.shown].count(ENCRYPTED) == 1
    assert family.effects == ["calculate"]


@IN_FULL
async def test_attachments_come_along_and_what_is_too_large_is_said_to_be(family):
    anna = await family.person("anna")
    family.configure("[limits]\nmax_attachment_mb = 0.01")
    pixel = b"\x89PNG\r\n\x1a\n" + b"x" * 100
    small, _ = await anna.client.upload(lambda *_: pixel, "image/png", "a.png", filesize=len(pixel))
    huge, _ = await anna.client.upload(lambda *_: b"x" * 20_000, "image/png", "b.png", filesize=20_000)
    async with serving(family.home) as orchestrator:
        await anna.say("a.png", msgtype="m.image", url=small.content_uri, info={"mimetype": "image/png"})
        await anna.until(lambda: anna.shown)
        [thread] = await orchestrator.ledger.threads(user="anna")
        found = (await orchestrator.snapshot(thread["thread"])).values["messages"]
        for size in (5, 20_000):
            await anna.say("b.png", msgtype="m.image", url=huge.content_uri, info={"size": size})
        await anna.until(lambda: len([each for each in anna.shown if "0.01 MB" in each.text]) == 2)
        await anna.say("Paris", msgtype="m.location", geo_uri="geo:1,2")
        await anna.text("not read here")
    assert any(block.get("mime_type") == "image/png" for block in found[0].content)


async def test_hostile_text_stays_text_on_the_card_and_in_the_answer(family):
    anna = await family.person("anna")
    async with serving(family.home):
        for number, text in enumerate(HOSTILE):
            await anna.say(f'write "{text}" to f{number}.txt')
            card = await anna.text(f"f{number}.txt")
            await anna.react(card.id, "❌")
            await anna.until(lambda card=card: "rejected by anna" in card.text)
    assert family.effects == []
    for shown in anna.shown:
        tags = Tags(shown.content.get("formatted_body", ""))
        assert tags.found <= {"pre", "code", "br"}
        assert tags.attributes == []
        assert shown.content["m.mentions"] == {}
    assert all(event["content"]["m.mentions"] == {} for event in anna.events if _is_said(event, family.bot))


def _is_said(event, sender):
    return event["sender"] == sender and event["type"] == "m.room.message"


@IN_FULL
async def test_an_answer_grows_by_few_edits_of_one_message(family):
    anna = await family.person("anna")
    async with serving(family.home) as orchestrator:
        await anna.say("!help")
        await anna.text("/new begins")
    async with family.home.opened() as orchestrator, open_matrix(orchestrator.settings) as messenger:
        messenger.pause_s = 0.5
        delivery = Delivery(messenger, orchestrator.ledger)
        answer = Outgoing(anna.room, "answer", "", "anna")
        async with delivery.growing(answer) as draft:
            for number in range(200):
                draft.hear(Token(f"word{number} "))
                await asyncio.sleep(0.01)
        await delivery.put(Outgoing(anna.room, "answer", draft.text, "anna"))
        shown = await anna.text("word199")
    assert len(anna.shown) == 2
    assert 1 <= shown.edits <= 6


@IN_FULL
async def test_what_a_homeserver_leaves_out_because_it_was_much_is_read(family):
    anna = await family.person("anna")
    async with serving(family.home) as orchestrator:
        await anna.say("!help")
        await anna.text("/new begins")
        cursor = await Messages(orchestrator.ledger.access).cursor("matrix")
    count = 130
    await asyncio.gather(*(anna.say(f"number {number}") for number in range(count)))
    async with family.home.opened() as orchestrator, open_matrix(orchestrator.settings) as messenger:
        came = []
        async with asyncio.timeout(60):
            while len(came) < count:  # Synapse may first give an answer that it has already
                more, cursor = await messenger.receive(cursor)
                came += [each for each in more if each.text]
    assert sorted(each.text for each in came if each.text) == sorted(f"number {n}" for n in range(count))


@IN_FULL
async def test_a_homeserver_that_asks_for_patience_is_obeyed(family):
    anna = await family.person("anna")
    await asyncio.to_thread(family.synapse.limit, family.bot)
    async with serving(family.home):
        for number in range(4):
            await anna.say(f"what is {number}*7")
        await anna.until(lambda: anna.find("3*7"))
    assert [each.text[:3] for each in anna.shown] == ["0*7", "1*7", "2*7", "3*7"] or len(anna.shown) == 4


@IN_FULL
async def test_a_homeserver_that_is_away_is_told_once_and_found_again(family, caplog):
    anna = await family.person("anna")
    async with serving(family.home):
        await anna.say("what is 1*7")
        await anna.text("the value of 1*7")
        await asyncio.to_thread(family.synapse.stop)
        await asyncio.sleep(1.5)
        await asyncio.to_thread(family.synapse.start)
        await anna.say("what is 2*7")
        await anna.text("the value of 2*7")
    told = [each for each in caplog.records if "nothing comes from matrix" in each.getMessage()]
    assert len(told) == 1
    assert "cannot be reached" in told[0].getMessage()
    assert family.effects == ["calculate", "calculate"]


@IN_FULL
async def test_a_token_that_was_revoked_is_told_once(family, caplog):
    anna = await family.person("anna")
    async with serving(family.home):
        await anna.say("what is 1*7")
        await anna.text("the value of 1*7")
        await asyncio.to_thread(family.synapse.revoke, family.home.environ["MATRIX_ACCESS_TOKEN"])
        await asyncio.sleep(3)  # it is tried again in the meantime
    told = [each for each in caplog.records if "was it revoked" in each.getMessage()]
    assert len(told) == 1
    assert family.home.environ["MATRIX_ACCESS_TOKEN"] not in caplog.text
