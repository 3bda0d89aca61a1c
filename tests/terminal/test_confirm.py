import re

import pytest

PROMPT = "1m>"
ASK = 'write "milk" to a.txt'
CHOICES = "reject >"
FAMILY = '[users.mum]\nrole = "user"\n[users.kid]\napprovers = ["mum"]\n[users.bob]\nrole = "admin"\n'
HOMEWORK = 'write "homework" to essay.txt'


def test_approving_a_card_runs_the_call_it_shows(home, terminal):
    screen = terminal("ask", ASK)
    card = screen.sees("Confirm", CHOICES)
    assert "a.txt" in card
    assert "milk" in card
    assert not (home.workspace / "a.txt").exists()
    screen.sendline("a")
    screen.sees("✓", "write_file", "thread ")
    screen.ends(0)
    assert (home.workspace / "a.txt").read_text() == "milk"


def test_rejecting_a_card_asks_why_and_tells_the_planner(home, terminal):
    screen = terminal("ask", ASK)
    screen.sees(CHOICES)
    screen.sendline("reject")
    screen.sees("Why not?")
    screen.sendline("we have milk")
    screen.sees("we have milk", "was refused: we have milk")
    screen.ends(0)
    assert not (home.workspace / "a.txt").exists()


@pytest.mark.slow
def test_an_edit_is_asked_again_until_it_is_json_that_fits_the_tool(home, terminal):
    screen = terminal("ask", ASK)
    screen.sees(CHOICES)
    screen.sendline("e")
    screen.sees('"content": "milk"')
    screen.sendline('\x15{"path": ')
    screen.sees("That is not JSON", "Arguments")
    screen.sendline('\x15{"path": "b.txt"}')
    screen.sees("content", "missing", "Arguments", '{"path": "b.txt"}')
    screen.sendline('\x15{"path": "b.txt", "content": "bread"}')
    screen.sees("✓", "thread ")
    screen.ends(0)
    assert [path.name for path in home.workspace.iterdir()] == ["b.txt"]
    assert (home.workspace / "b.txt").read_text() == "bread"


@pytest.mark.slow
def test_an_edit_is_looked_at_before_the_next_call_is_asked_about(home, terminal):
    screen = terminal("ask", 'write "milk" to a.txt and write "bread" to b.txt')
    screen.sees("Confirm 1 of 2", CHOICES)
    screen.sendline("e")
    screen.sees("Arguments")
    screen.sendline('\x15{"path": "c.txt"}')
    between = screen.sees("missing", "Arguments")
    assert "Confirm 2 of 2" not in between
    screen.sendline("\x15")
    screen.sees(CHOICES)
    screen.sendline("a")
    screen.sees("Confirm 2 of 2", CHOICES)
    screen.sendline("a")
    screen.sees("✓", "✓", "thread ")
    screen.ends(0)
    assert sorted(path.name for path in home.workspace.iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.slow
def test_several_waiting_calls_are_answered_one_by_one(home, terminal):
    screen = terminal("ask", 'write "milk" to a.txt and write "bread" to b.txt')
    screen.sees("Confirm 1 of 2", CHOICES)
    screen.sendline("r")
    screen.sees("Why not?")
    screen.sendline("")
    screen.sees("Confirm 2 of 2", CHOICES)
    screen.sendline("a")
    screen.sees("✓", "thread ")
    screen.ends(0)
    assert [path.name for path in home.workspace.iterdir()] == ["b.txt"]


def test_nothing_but_a_plain_choice_is_consent(home, terminal):
    screen = terminal("ask", ASK)
    screen.sees(CHOICES)
    for typed in ("", "yes please", "\x1b[A"):
        screen.sendline(typed)
        screen.sees("Please type approve, edit, whenever, reject", CHOICES)
    screen.sendintr()
    screen.sees("Stopped. Go on with: twobrain resume ")
    screen.ends(130)
    assert not (home.workspace / "a.txt").exists()
    assert len(home.json("pending")) == 1


def test_a_plain_yes_or_no_at_a_card_is_one(home, terminal):
    screen = terminal("ask", f"{ASK} and {ASK.replace('a.txt', 'b.txt')}")
    screen.sees("Confirm 1 of 2", CHOICES)
    screen.sendline("Ja.")
    screen.sees("Confirm 2 of 2", CHOICES)
    screen.sendline("нет")
    screen.sees("Why not?")
    screen.sendline("")
    screen.ends(0)
    assert (home.workspace / "a.txt").exists()
    assert not (home.workspace / "b.txt").exists()


@pytest.mark.slow
def test_a_long_argument_is_cut_until_the_person_asks_to_see_it_whole(home, terminal):
    words = " ".join(f"w{number}" for number in range(500))
    screen = terminal("ask", f'write "{words}" to a.txt')
    card = screen.sees("characters in all", "show >")
    assert "w499" not in card
    screen.sendline("s")
    screen.sees("w499", "show >")
    screen.sendline("a")
    screen.sees("✓", "thread ")
    screen.ends(0)


def test_a_card_spells_out_what_a_person_could_not_see(home):
    done = home.run("ask", 'write "a\x1b[2Jb\u202ec" to a.txt', code=3)
    assert r"a\x1b[2Jb\u202ec" in done.stdout
    assert "\x1b" not in done.stdout
    unseen = "\u3164\uffa0\u034f\U000e0100\u2800\u202f\u200b"
    done = home.run("ask", f'use write_file {{"path": "a{unseen}.txt", "content": "{unseen}"}}', code=3)
    call = re.split(r"│ +path ", done.stdout)[1]  # what comes before are the planner's own words
    assert not {*unseen} & {*call}
    assert done.stdout.count(r"\u3164\uffa0\u034f\U000e0100\u2800\u202f\u200b") >= 3  # path, content, preview


@pytest.mark.slow
def test_a_waiting_thread_is_taken_up_at_its_card(home, terminal):
    home.run("ask", ASK, "-t", "t1", code=3)
    screen = terminal("resume", "t1")
    screen.sees("Confirm", CHOICES)
    screen.sendline("a")
    screen.sees("✓", "thread ")
    screen.ends(0)
    assert (home.workspace / "a.txt").read_text() == "milk"


@pytest.mark.parametrize("leave", ["/exit", None])
@pytest.mark.parametrize("at", ["the question", "Why not?", "Arguments", "Rule"])
def test_leaving_at_any_prompt_of_a_card_leaves_the_question_waiting(home, terminal, at, leave):
    screen = terminal("ask", ASK, "-t", "t1")
    screen.sees(CHOICES)
    if at != "the question":
        screen.sendline({"Why not?": "r", "Arguments": "e", "Rule": "w"}[at])
        screen.sees(at)
    if leave:
        screen.sendline(f"\x15{leave}")
    else:
        screen.send("\x15")
        screen.sendeof()
    screen.sees("Stopped. Go on with: twobrain resume t1")
    screen.ends(130)
    assert [row["thread_id"] for row in home.json("pending")] == ["t1"]
    assert not (home.workspace / "a.txt").exists()


@pytest.mark.slow
def test_exit_at_a_card_leaves_the_chat_and_the_question_waits(home, terminal):
    screen = terminal("chat", "-t", "t1")
    screen.sees(PROMPT)
    screen.sendline(ASK)
    screen.sees(CHOICES)
    screen.sendline("r")
    screen.sees("Why not?")
    screen.sendline("/exit")
    screen.sees("thread t1")
    screen.ends(0)
    assert [row["thread_id"] for row in home.json("pending")] == ["t1"]


def test_a_message_typed_at_a_question_stands_at_the_next_prompt(home, terminal):
    screen = terminal("chat", "-t", "t1")
    screen.sees(PROMPT)
    screen.sendline(ASK)
    screen.sees(CHOICES)
    screen.sendline("what is 12*7")
    screen.sees("not lost", CHOICES)
    screen.sendline("a")
    screen.sees("✓", PROMPT, "what is 12*7")
    screen.sendline("")
    screen.sees("= 84", PROMPT)
    screen.sendeof()
    screen.ends(0)


def test_a_message_typed_at_the_question_of_one_task_is_shown_back(home, terminal):
    screen = terminal("ask", ASK)
    screen.sees(CHOICES)
    screen.sendline("and what is 12*7")
    screen.sees("not lost", CHOICES)
    screen.sendline("a")
    screen.sees("it was not sent: and what is 12*7")
    screen.ends(0)


def test_what_is_typed_before_a_question_stands_there_is_no_answer_to_it(home, terminal):
    screen = terminal("chat", "-t", "t1")
    screen.sees(PROMPT)
    screen.send(f"{ASK}\r")
    screen.sees("thinking")
    screen.send("a\n")
    screen.send("what is 12*7\n")
    screen.sees("typed before this was asked", CHOICES)
    assert not (home.workspace / "a.txt").exists()
    screen.sendline("r")
    screen.sees("Why not?")
    screen.sendline("")
    screen.sees(PROMPT, "what is 12*7")
    screen.sendintr()  # clears the line
    screen.sendintr()
    screen.ends(0)


def test_a_childs_request_waits_for_a_parent_who_answers_it_by_name(home):
    home.configure(FAMILY)
    said = home.run("ask", HOMEWORK, "-t", "t1", "--user", "kid", "--yes", code=3).stdout
    assert "It waits for mum." in said
    assert "Waiting for the yes or no of mum:" in said
    assert "twobrain approve t1 --user mum" in said
    for command in (["approve", "t1"], ["approve", "t1", "--user", "kid"]):
        assert "Only mum may agree to this." in home.run(*command, code=3).stdout
    assert "There is no thread" in home.run("approve", "t1", "--user", "bob", code=2).stderr
    assert "kid's: mum may answer" in home.run("ask", "hello", "-t", "t1", "--user", "mum", code=2).stderr
    assert home.json("pending", "--user", "bob") == []
    [waiting] = home.json("pending", "--user", "mum")
    assert (waiting["thread_id"], waiting["user"]) == ("t1", "kid")
    assert not (home.workspace / ".people" / "kid" / "essay.txt").exists()

    home.run("approve", "t1", "--user", "mum")
    assert (home.workspace / ".people" / "kid" / "essay.txt").read_text() == "homework"
    [row] = home.json("audit")
    assert (row["user"], row["decided_by"], row["status"]) == ("kid", "mum", "executed")
    assert "executed\tcontent=homework, path=essay.txt\tkid\tapproved by mum\t" in home.run("audit").stdout


def test_a_chat_asks_nobody_who_may_not_agree(home, terminal):
    home.configure(FAMILY)
    screen = terminal("chat", "-t", "t1", "--user", "kid")
    screen.sees(PROMPT)
    screen.sendline(HOMEWORK)
    screen.sees("Waiting for the yes or no of mum", PROMPT)
    screen.sendline("/exit")
    screen.ends(0)
    screen = terminal("chat", "-t", "t1", "--user", "mum")
    screen.sees(PROMPT)
    screen.sendline("/resume")
    screen.sees(CHOICES)
    screen.sendline("a")
    screen.sees("homework", PROMPT)
    screen.sendline("/exit")
    screen.ends(0)
    assert [row["decided_by"] for row in home.json("audit")] == ["mum"]
