"""A conversation on Matrix, through the real clients, against a real Synapse."""

import pytest

from tests.channels.matrix.conftest import serving

pytestmark = pytest.mark.slow


async def test_a_message_is_answered_in_its_room(family):
    anna = await family.person("anna")
    async with serving(family):
        await anna.say("what is 12*7")
        answer = await anna.text("the value of 12*7")
    assert answer.content["m.mentions"] == {}


async def test_a_question_is_answered_by_a_reaction_on_it_once(family):
    anna = await family.person("anna")
    async with serving(family):
        await anna.say('write "buy milk" to notes.txt')
        card = await anna.text("Please confirm")
        assert "notes.txt" in card.text
        assert "👍 Approve · ❌ Reject" in card.text
        assert family.effects == []
        await anna.react(card.id, "👍")
        await anna.react(card.id, "✅")
        await anna.text("done: write_file")
        await anna.until(lambda: "approved by anna" in card.text and "react" not in card.text)
    assert family.effects == ["write_file"]
