import re

import pytest

WRITE = 'write "milk" to a.txt'


def test_beside_an_answer_stands_in_one_line_what_was_done(home):
    assert (
        "\ndone: calculate (2), list_files\n"
        in home.run("ask", "what is 1+1 and what is 2*3 and list files").stderr
    )


def test_under_an_answer_stands_which_models_gave_it_and_what_that_took(home):
    home.configure(
        '[models.p]\nprovider = "offline"\nmodel = "planner"\nlabel = "Planner One"\n'
        '[models.w]\nprovider = "offline"\nmodel = "writer"\n'
        '[roles]\norchestrator = ["p"]\nchat = ["w"]\n'
    )
    told = home.run("ask", "what is 1+1").stderr
    assert re.search(r"\nPlanner One → w · 3 model calls · [\d,]+ tokens · \d+\.\d s\n", told), told


def test_beside_an_answer_that_no_tool_stands_behind_it_says_so(home):
    done = home.run("ask", "I have sent the mail, haven't I?")
    assert "no tool was used" in done.stderr
    assert "no tool was used" not in done.stdout


def test_what_was_refused_stands_beside_what_was_done(home):
    done = home.run("ask", f"{WRITE} and what is 1+1", "--no")
    assert "\ndone: calculate · denied: write_file\n" in done.stderr


@pytest.mark.slow
def test_what_waited_when_the_person_went_on_is_said_to_be_not_done(home):
    home.run("ask", WRITE, "-t", "t1", code=3)
    done = home.run("ask", "what is 1+1", "-t", "t1")
    assert "write_file superseded  Not executed: superseded by a newer message." in done.stderr
    assert "\ndone: calculate · superseded: write_file\n" in done.stderr
    assert not (home.workspace / "a.txt").exists()


@pytest.mark.slow
def test_a_turn_taken_up_at_its_gate_shows_what_it_has_done_so_far(home):
    home.run("ask", f"{WRITE} and what is 1+1", "-t", "t1", code=3)
    assert "done: calculate\n" in home.run("resume", "t1", code=3).stderr


@pytest.mark.slow
def test_where_no_model_can_answer_what_was_done_is_shown_all_the_same(home):
    home.configure(
        '[models.p]\nprovider = "offline"\nmodel = "planner"\n'
        '[models.w]\nprovider = "openai"\nmodel = "w"\nbase_url = "http://127.0.0.1:9"\nmax_retries = 0\n'
        '[roles]\norchestrator = ["p"]\nchat = ["w"]\n'
    )
    assert "\ndone: calculate\n" in home.run("ask", "what is 1+1", code=1).stderr
