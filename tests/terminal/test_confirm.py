import json
import re

import pytest

PROMPT = "1m>"
ASK = 'write "milk" to a.txt'
CHOICES = "reject >"
BACK = "b=back >"
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


def test_an_edit_is_made_in_a_form_and_shown_before_it_runs(home, terminal):
    screen = terminal("ask", ASK)
    screen.sees(CHOICES)
    screen.sendline("e")
    screen.sees("content > ", "milk")
    screen.send("\r")
    screen.sees("path > ", "a.txt")
    screen.send("\x15notes/b.txt\r")
    shown = screen.sees("Run it so?")
    assert str(home.workspace / "notes" / "b.txt") in shown.replace("\n", "")
    screen.sees(BACK)
    screen.send("\r")
    screen.sees("Please type y, e or b", BACK)
    assert not list(home.workspace.iterdir())
    screen.sendline("y")
    screen.sees("✓", "thread ")
    screen.ends(0)
    assert (home.workspace / "notes" / "b.txt").read_text() == "milk"
    assert not (home.workspace / "a.txt").exists()


def test_what_an_edit_leaves_alone_stays_exactly_that(home, terminal):
    call = {"content": " two\n\nlines \n", "path": "a.txt"}
    screen = terminal("ask", f"use write_file {json.dumps(call)}")
    screen.sees(CHOICES)
    screen.sendline("e")
    screen.sees("content > ", "lines")
    screen.send("\r")
    screen.sees("path > ")
    screen.send("\x15b.txt\r")
    screen.sees("Run it so?", BACK)
    screen.sendline("y")
    screen.sees("✓", "thread ")
    screen.ends(0)
    assert (home.workspace / "b.txt").read_text() == call["content"]


@pytest.mark.slow
def test_what_does_not_fit_the_tool_is_asked_for_again(home, terminal):
    home.configure('[users.local]\nconfirm_deny = ["web_fetch"]\n')
    screen = terminal("ask", 'use web_fetch {"url": "http://x.test", "links": true}')
    screen.sees(CHOICES)
    screen.sendline("e")
    screen.sees("url > ")
    screen.send("\x15\r")
    screen.sees("links > ", "true")
    screen.send("\x15perhaps\r")
    screen.sees("That is no boolean", "links > ")
    screen.send("\x15\r")
    screen.sees("Run it so?", BACK)
    screen.sendline("b")
    screen.sees(CHOICES)
    screen.sendeof()
    screen.ends(130)


@pytest.mark.slow
def test_a_value_is_changed_in_an_editor_and_a_failing_one_changes_nothing(home, terminal):
    editor = home.directory / "editor"
    editor.write_text("#!/bin/sh\n[ -e broken ] && exit 1\nprintf %s 'from the editor' > \"$1\"\n")
    editor.chmod(0o700)
    (home.directory / "broken").touch()
    words = " ".join(f"w{number}" for number in range(1_500))
    screen = terminal("ask", f'write "{words}" to a.txt', EDITOR=str(editor), VISUAL=str(editor))
    screen.sees(CHOICES)
    screen.sendline("e")
    screen.sees("content has", "o=open")
    screen.sendline("o")
    screen.sees("EDITOR names the program", "path > ")
    screen.send("\r")
    screen.sees("Run it so?", BACK)
    (home.directory / "broken").unlink()
    screen.sendline("e")
    screen.sees("o=open")
    screen.sendline("o")
    screen.sees("path > ")
    screen.send("\r")
    screen.sees("from the editor", "Run it so?", BACK)
    screen.sendline("y")
    screen.sees("✓", "thread ")
    screen.ends(0)
    assert (home.workspace / "a.txt").read_text() == "from the editor"


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
        screen.sees("Please type y, e, always, n", CHOICES)
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


def test_a_long_card_scrolls_a_screen_at_a_time(home, terminal):
    words = " ".join(f"w{number}" for number in range(900))
    screen = terminal("ask", f'write "{words}" to a.txt')
    card = seen = screen.sees("more lines: m shows them")
    assert card.count("\n") < 40
    assert re.search(r"path +a\.txt", card)
    assert "w899" not in card
    screen.sees(CHOICES)
    while "w899" not in seen.split("characters in all")[-1]:
        screen.sendline("m")
        seen += screen.sees(CHOICES)
    assert all(f"w{number}" in seen for number in range(900))
    assert not list(home.workspace.iterdir())
    screen.sendline("y")
    screen.sees("✓", "thread ")
    screen.ends(0)


def test_what_a_model_says_does_not_push_the_call_from_the_screen(home, terminal):
    lines = "\\n".join(f"line {number}" for number in range(80))
    screen = terminal("ask", f'use write_file {{"content": "{lines}", "path": "a.txt"}}')
    card = screen.sees("more lines")
    assert re.search(r"path +a\.txt", card)
    screen.sees(CHOICES)
    screen.sendline("y")
    screen.sees("✓", "thread ")
    screen.ends(0)


def test_a_card_says_who_asks_in_which_conversation_and_where_the_file_will_be(home, terminal):
    said = re.sub(r"[│\s]", "", terminal("ask", ASK).sees(CHOICES))
    assert 'Askedbyyou,in“write"milk"toa.txt”' in said
    assert f"Thefileis{home.workspace / 'a.txt'}" in said
    home.configure(FAMILY)
    home.run("ask", HOMEWORK, "-t", "t1", "--user", "kid", code=3)
    said = re.sub(r"[│\s]", "", terminal("resume", "t1", "--user", "mum").sees(CHOICES))
    assert "Askedbykid,in“write" in said
    assert f"Thefileis{home.workspace / '.people' / 'kid' / 'essay.txt'}" in said


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 200])
def test_a_card_fits_the_terminal_and_one_that_is_resized(home, terminal, columns):
    words = " ".join(f"w{number}" for number in range(900))
    screen = terminal("ask", f'write "{words}" to a.txt')
    screen.sees("m=more", CHOICES)
    screen.resize(24, columns)
    screen.sendline("m")
    card = screen.sees("Asked by you", "more lines")
    assert max(map(len, card.split("\n")[1:])) <= columns
    screen.sees(CHOICES)
    screen.sendeof()
    screen.ends(130)


def test_a_terminal_that_can_do_little_asks_as_well(home, terminal):
    screen = terminal("ask", ASK, TERM="dumb")
    screen.sees(CHOICES)
    screen.sendline("")
    screen.sees("Please type", CHOICES)
    screen.sendline("y")
    screen.sees("✓", "thread ")
    screen.ends(0)
    assert (home.workspace / "a.txt").read_text() == "milk"


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


@pytest.mark.slow
@pytest.mark.parametrize("leave", ["/exit", "Ctrl-D", "Ctrl-C"])
@pytest.mark.parametrize(
    "steps",
    [
        [],
        [("n", "Why not?")],
        [("e", "content > ")],
        [("e", "content > "), ("", "path > "), ("", "Run it so?")],
        [("always", "b=back >")],
        [("always", "b=back >"), ("1", "Until when?")],
        [("always", "b=back >"), ("1", "Until when?"), ("g", "How often?"), ("a", "y/n >")],
    ],
    ids=["question", "reason", "edit", "edited", "rule", "until", "agreed"],
)
def test_leaving_at_any_prompt_of_a_card_leaves_the_question_waiting(home, terminal, steps, leave):
    screen = terminal("ask", ASK, "-t", "t1")
    screen.sees(CHOICES)
    for typed, seen in steps:
        screen.send(f"{typed}\r")
        screen.sees(seen)
    screen.send("\x15")
    if leave == "/exit":
        screen.send(f"{leave}\r")
    elif leave == "Ctrl-D":
        screen.sendeof()
    else:
        screen.sendintr()
    screen.sees("Stopped. Go on with: twobrain resume t1")
    screen.ends(130)
    assert [row["thread_id"] for row in home.json("pending")] == ["t1"]
    assert home.json("rules") == []
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


def test_a_card_that_a_resize_has_torn_is_drawn_again(home, terminal):
    screen = terminal("ask", ASK)
    screen.sees(CHOICES)
    screen.resize(24, 50)
    screen.sendline("m")
    card = screen.sees("Asked by you", CHOICES)
    assert max(map(len, card.split("\n")[1:])) <= 50
    screen.sendline("y")
    screen.sees("✓", "thread ")
    screen.ends(0)
