"""A model whose stream breaks off halfway, and one that takes over."""

import pytest

from tests.wires.brain import Heard, Reply
from tests.wires.cards import at, configure

CHAT = "One two three. " * 20


@pytest.fixture
def broken(home, open_wire) -> dict[str, str]:
    """Configure a model that breaks off and its fallback; return what the environment must hold."""
    first = at(open_wire("openai", brain=lambda heard: Reply(text=CHAT, cut=True)))
    spare = at(open_wire("anthropic", brain=lambda heard: Reply(text="The whole answer.")))
    roles = {"orchestrator": ["first", "spare"], "chat": ["first", "spare"]}
    return configure(home.directory, {"first": first, "spare": spare}, roles)


@pytest.mark.slow
def test_a_pipe_gets_the_answer_once_and_nothing_of_what_broke_off(home, broken):
    said = home.run("ask", "hi", "--path", "direct", **broken).stdout
    assert said.startswith(
        "The whole answer.\n\nModel 'spare' answered, as others could not. Model 'first': "
    )
    assert "One two" not in said
    result = home.json("ask", "hi", "--path", "direct", **broken)
    assert (result["response"], result["backend"]) == (said.strip(), "spare")


def test_a_terminal_says_that_the_answer_begins_anew_and_shows_it_once(home, terminal, broken):
    screen = terminal("ask", "hi", "--path", "direct", "--plain", **broken)
    assert "One two" in screen.sees("first broke off; the answer begins anew.")
    text = screen.ends(0)
    assert text.count("The whole answer.") == 1
    assert "One two" not in text


@pytest.mark.slow
def test_a_chat_from_a_pipe_ends_with_code_1_where_no_model_answers(home, open_wire):
    def brain(heard: Heard) -> Reply:
        return Reply(status=500, error="gone")

    environ = configure(home.directory, {"m": at(open_wire("openai", brain=brain))}, {"chat": ["m"]})
    done = home.run("chat", "--path", "direct", stdin="hi\nhello\n", code=1, **environ)
    assert "'m'" in done.stdout
    assert [row["title"] for row in home.json("threads", **environ)] == ["hi"]
