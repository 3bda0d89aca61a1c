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


def test_a_chat_attaches_files_by_command_and_by_name_and_says_so(home, terminal):
    (home.directory / "a.txt").write_text("first")
    (home.directory / "b c.txt").write_text("second")
    screen = terminal("chat", "--thread", "t1")
    screen.sees(PROMPT)
    screen.sendline("/file gone.txt")
    screen.sees("gone.txt cannot be attached", PROMPT)
    screen.sendline("/file a.txt")
    screen.sees("With the next message: a.txt (5 bytes)", PROMPT)
    screen.sendline('what is 12*7 @"b c.txt" @anna')
    screen.sees("Attached: b c.txt (6 bytes)", PROMPT)
    screen.sendline("what is 2+3")
    screen.sees("= 5", PROMPT)
    screen.sendline("exit")
    screen.ends(0)
    said = [content for content in home.stored("t1") if isinstance(content, list)]
    assert [[file["text"] for file in files] for _, *files in said] == [["first", "second"]]


def test_a_text_of_several_lines_is_one_message(home, terminal):
    screen = terminal("chat", "--thread", "t1")
    screen.sees(PROMPT)
    screen.send("what is\\\r12*7\r")
    screen.sees("model call", PROMPT)
    screen.send("hello\x1b\rworld\r")
    screen.sees("model call", PROMPT)
    screen.sendline("quit")
    screen.ends(0)
    assert [text for text in home.stored("t1") if "\n" in text[:9]] == ["what is\n12*7", "hello\nworld"]


@pytest.mark.slow
def test_ctrl_c_clears_what_was_typed_and_leaves_where_nothing_was(terminal):
    screen = terminal("chat")
    screen.sees(PROMPT)
    screen.send("delete everything")
    screen.sendintr()
    screen.send("what is 12*7\r")
    screen.sees("= 84", PROMPT)
    screen.sendintr()
    screen.ends(0)


@pytest.mark.slow
def test_tab_completes_commands_and_paths(home, terminal):
    (home.directory / "report.txt").write_text("it")
    screen = terminal("chat")
    screen.sees(PROMPT)
    screen.send("/fi\t")
    screen.sees("le")
    screen.send(" rep\t")
    screen.sees("ort.txt")
    screen.send("\r")
    screen.sees("With the next message: report.txt (2 bytes)", PROMPT)
    screen.sendeof()
    screen.ends(0)


@pytest.mark.slow
def test_an_editor_writes_the_next_message(home, terminal):
    editor = home.directory / "editor"
    editor.write_text("#!/bin/sh\necho 'what is 12*7' > \"$1\"\n")
    editor.chmod(0o700)
    screen = terminal("chat", EDITOR=str(editor))
    screen.sees(PROMPT)
    screen.sendline("/edit")
    screen.sees("what is 12*7")
    screen.send("\r")
    screen.sees("= 84", PROMPT)
    screen.sendeof()
    screen.ends(0)


def test_a_chat_tells_what_came_due_and_a_plan_is_listed_paused_and_forgotten(home, terminal):
    home.run("schedule", "add", "what", "is", "2+3", "--cron", "0 7 * * 1-5")
    [planned] = home.json("schedule", "list")
    for command, status in (("pause", "paused"), ("resume", "active")):
        home.run("schedule", command, planned["id"])
        assert [row["status"] for row in home.json("schedule", "list")] == [status]
    home.run("schedule", "run", planned["id"])
    assert [row["title"] for row in home.json("threads")] == ["what is 2+3"]
    screen = terminal("chat")
    screen.sees("Done: what is 2+3", PROMPT)
    screen.sendline("what is 12*7")
    screen.sees("= 84", PROMPT)
    screen.sendeof()
    assert "Done:" not in screen.ends(0)
    home.run("schedule", "remove", planned["id"])
    assert home.json("schedule", "list") == []
    assert "no schedule 'nope'" in home.run("schedule", "pause", "nope", code=2).stderr
    assert "five fields" in home.run("schedule", "add", "x", "--cron", "61", code=2).stderr


def test_a_file_that_no_message_can_bring_is_refused_at_once(home, terminal):
    (home.directory / "odd.bin").write_bytes(bytes(range(256)))
    screen = terminal("chat")
    screen.sees(PROMPT)
    screen.sendline("/file odd.bin")
    screen.sees("cannot be read", PROMPT)
    screen.sendline("/file")
    screen.sees("Say which: /file PATH", PROMPT)
    screen.sendline("what is 12*7")
    screen.sees("= 84", PROMPT)
    screen.sendeof()
    screen.ends(0)
