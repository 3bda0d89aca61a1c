"""Rules: made at a card, listed, and revoked."""

import pytest

WRITE = 'write "milk" to notes/a.txt'
CHOICES = "reject >"


@pytest.mark.slow
def test_a_card_makes_a_rule_that_is_listed_and_can_be_revoked(home, terminal):
    screen = terminal("ask", WRITE)
    screen.sees(CHOICES)
    screen.sendline("w")
    screen.sees("such calls unasked", '"path": "notes/a.txt"')
    screen.sendline('\x15{"where": {"path": "b/*"}}')
    screen.sees("call itself.", "Rule")
    screen.sendline('\x15{"where": {"path": "notes/*"}, "until": "2099-12-01T00:00:00Z", "uses": 2}')
    screen.sees("✓")
    told = screen.sees("Rule", "thread ")

    screen.ends(0)
    [rule] = home.json("rules")
    assert f"twobrain rules --revoke {rule['id']}" in " ".join(told.split())
    assert (rule["user"], rule["tool"], rule["where"]) == ("local", "write_file", {"path": "notes/*"})
    assert (rule["uses_left"], rule["holds"]) == (2, True)
    listed = home.run("rules").stdout
    for text in (rule["id"], "write_file", "path=notes/*", "2099", "yes"):
        assert text in listed

    home.run("ask", WRITE)
    assert home.json("rules")[0]["uses_left"] == 1
    assert home.json("audit")[-1]["decided_by"] == rule["id"]

    assert rule["id"] in home.run("rules", "--revoke", rule["id"]).stderr
    assert home.json("rules") == []
    home.run("ask", WRITE, code=3)


def test_after_the_third_approval_a_rule_is_offered_on_the_card_and_taken_by_a_word(home, terminal):
    for _ in range(3):
        home.run("ask", WRITE, "--yes")
    screen = terminal("ask", WRITE)
    told = screen.sees("without asking, 20 times", "always", CHOICES)
    assert "{" not in told, "what other programs are told"
    screen.sendline("always do")
    screen.sees("Please type", CHOICES)
    screen.sendline("always")
    screen.sees("Rule", "thread ")
    screen.ends(0)
    [rule] = home.json("rules")
    assert (rule["where"], rule["uses_left"]) == ({"path": "notes/a.txt"}, 20)
    assert rule["until"]
    home.run("ask", WRITE)


@pytest.mark.slow
def test_a_rule_that_does_not_say_how_often_it_holds_is_used_up_at_some_point(home, terminal):
    screen = terminal("ask", WRITE)
    screen.sees(CHOICES)
    screen.sendline("w")
    screen.sees("Rule")
    screen.sendline('\x15{"where": {"path": "notes/*"}}')
    screen.sees("✓", "--revoke", "thread ")
    screen.ends(0)
    assert [rule["uses_left"] for rule in home.json("rules")] == [20]


def test_revoking_what_is_not_there_says_how_to_find_what_is(home):
    done = home.run("rules", "--revoke", "r9", code=2)
    assert "'r9'" in done.stderr
    assert "twobrain rules" in done.stderr


def test_without_rules_the_list_says_how_one_is_made(home):
    assert "whenever" in home.run("rules").stderr
    assert home.json("rules") == []
