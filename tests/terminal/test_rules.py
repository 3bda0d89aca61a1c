"""Rules: made at a card, listed, and revoked."""

import re

import pytest

WRITE = 'write "milk" to notes/a.txt'
CHOICES = "reject >"
BACK = "b=back >"


def agree(screen, *answers):
    """Answer the questions about a rule; an empty line is no answer to any."""
    screen.sees(CHOICES)
    screen.sendline("always")
    screen.sees("without asking?")
    told = screen.sees(BACK)
    for answer, question in zip(answers, ("Until when?", "How often?", "y/n >"), strict=False):
        screen.sendline("")
        screen.sees("Please type")
        screen.sendline(answer)
        screen.sees(question)
    return told


def test_a_card_asks_in_words_for_a_rule_that_is_said_before_it_is_kept(home, terminal):
    screen = terminal("ask", WRITE)
    told = agree(screen, "2", "2099-12-01", "2")
    assert "2  Writing files that end in .txt in notes/" in told
    assert "{" not in told
    assert home.json("rules") == []
    screen.sendline("y")
    screen.sees("✓")
    told = screen.sees("Rule", "thread ")

    screen.ends(0)
    [rule] = home.json("rules")
    assert f"twobrain rules --revoke {rule['id']}" in " ".join(told.split())
    assert (rule["user"], rule["tool"], rule["where"]) == (
        "local",
        "write_file",
        {"path": "notes/+([!/]).txt"},
    )
    assert (rule["uses_left"], rule["holds"]) == (2, True)
    listed = home.run("rules").stdout
    for text in (rule["id"], "write_file", "path=notes/", "2099", "yes"):
        assert text in listed

    home.run("ask", WRITE)
    assert home.json("rules")[0]["uses_left"] == 1
    assert home.json("audit")[-1]["decided_by"] == rule["id"]

    assert rule["id"] in home.run("rules", "--revoke", rule["id"]).stderr
    assert home.json("rules") == []
    home.run("ask", WRITE, code=3)


def test_a_rule_that_is_said_is_none_before_a_yes(home, terminal):
    screen = terminal("ask", WRITE, "-t", "t1")
    agree(screen, "1", "g", "a")
    screen.sendline("n")
    screen.sees(CHOICES)
    screen.sendline("y")
    screen.sees("✓", "thread ")
    screen.ends(0)
    assert home.json("rules") == []


@pytest.mark.slow
def test_a_person_says_what_each_text_may_be(home, terminal):
    screen = terminal("ask", WRITE)
    screen.sees(CHOICES)
    screen.sendline("always")
    [other] = re.findall(r"(\d+)  Other calls", screen.sees(BACK))
    screen.sendline(other)
    screen.sees("content > ")
    screen.send("\x15*\r")
    screen.sees("path > ")
    screen.send("\x15elsewhere/*\r")
    for typed, seen in (
        ("1999-01-01", "a day to come"),
        ("t", "How often?"),
        ("a", "y/n >"),
        ("y", "call itself"),
    ):
        screen.sendline(typed)
        screen.sees(seen)
    screen.sees(CHOICES)
    screen.sendline("always")
    screen.sees(BACK)
    screen.sendline(other)
    screen.sees("content > ")
    screen.send("\x15*\r")
    screen.sees("path > ")
    screen.send("\x15notes/*\r")
    for typed, seen in (("g", "How often?"), ("a", "path matches notes/*"), ("y", "Rule")):
        screen.sendline(typed)
        screen.sees(seen)
    screen.sees("thread ")
    screen.ends(0)
    [rule] = home.json("rules")
    assert (rule["where"], rule["uses_left"], rule["until"]) == ({"path": "notes/*"}, None, None)


def test_after_the_third_approval_a_rule_is_offered_on_the_card_and_comes_first(home, terminal):
    for _ in range(3):
        home.run("ask", WRITE, "--yes")
    screen = terminal("ask", WRITE)
    told = screen.sees("without asking, 20 times", "always", CHOICES)
    assert "{" not in told, "what other programs are told"
    screen.sendline("always do")
    screen.sees("Please type", CHOICES)
    screen.sendline("always")
    screen.sees("1  Writing notes/a.txt without asking, 20 times", BACK)
    screen.sendline("1")
    screen.sees("y/n >")
    screen.sendline("y")
    screen.sees("Rule", "thread ")
    screen.ends(0)
    [rule] = home.json("rules")
    assert (rule["where"], rule["uses_left"]) == ({"path": "notes/a.txt"}, 20)
    assert rule["until"]
    home.run("ask", WRITE)


def test_revoking_what_is_not_there_says_how_to_find_what_is(home):
    done = home.run("rules", "--revoke", "r9", code=2)
    assert "'r9'" in done.stderr
    assert "twobrain rules" in done.stderr


def test_without_rules_the_list_says_how_one_is_made(home):
    assert "always" in home.run("rules").stderr
    assert home.json("rules") == []
