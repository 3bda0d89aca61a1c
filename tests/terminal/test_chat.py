import pytest

PROMPT = "1m>"


def test_a_chat_keeps_to_one_thread_until_a_new_one_is_asked_for(home, terminal):
    screen = terminal("chat", "--thread", "t1")
    screen.sees(PROMPT)
    screen.sendline("")
    screen.sees(PROMPT)
    screen.sendline("/help")
    screen.sees("/resume", PROMPT)
    screen.sendline("/nonsense")
    screen.sees("There is no command /nonsense", PROMPT)
    screen.sendline("what is 12*7")
    screen.sees("= 84", PROMPT)
    screen.sendline("/thread")
    screen.sees("thread t1", PROMPT)
    screen.sendline("/new")
    screen.sees("thread ", PROMPT)
    screen.sendline("what is 2+3")
    screen.sees("= 5", PROMPT)
    screen.sendeof()
    screen.ends(0)
    titles = [row["title"] for row in home.json("threads")]
    assert titles == ["what is 12*7", "what is 2+3"]


@pytest.mark.slow
def test_a_chat_recalls_what_was_typed_in_an_earlier_one(terminal):
    screen = terminal("chat")
    screen.sees(PROMPT)
    screen.sendline("what is 12*7")
    screen.sees("= 84", PROMPT)
    screen.sendline("/exit")
    screen.ends(0)
    later = terminal("chat")
    later.sees(PROMPT)
    later.send("\x1b[A\x1b[A\r")
    later.sees("= 84", PROMPT)
    later.sendeof()
    later.ends(0)


def test_lines_from_a_pipe_are_answered_until_one_waits_for_consent(home):
    done = home.run("chat", stdin='what is 12*7\nwrite "milk" to a.txt\nlist files\n', code=3)
    assert "84" in done.stdout
    assert "twobrain approve " in done.stdout
    assert "list_files" not in done.stderr
