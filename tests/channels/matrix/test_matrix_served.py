"""The development server serves Matrix, too, and goes on after it was killed."""

import pytest

from tests.server.serving import Server


@pytest.mark.slow
async def test_a_server_killed_while_a_question_waits_takes_the_answer_when_it_is_back(family, tmp_path):
    anna = await family.person("anna")
    (tmp_path / "server").mkdir()
    with Server(tmp_path / "server", family.config(), dict(family.home.environ)) as server:
        await anna.say('write "buy milk" to notes.txt')
        card = await anna.text("Please confirm")
        server.kill()
        await anna.react(card.id, "✅")
        server.start()
        await anna.text("I wrote “buy milk”")
        await anna.until(lambda: "approved by anna" in card.text)
        log = server.log
    assert "Blocking" not in log
    assert family.home.environ["MATRIX_ACCESS_TOKEN"] not in log
    assert [path.read_text() for path in tmp_path.rglob("notes.txt")] == ["buy milk"]
    assert len([each for each in anna.shown if "Please confirm" in each.text]) == 1
