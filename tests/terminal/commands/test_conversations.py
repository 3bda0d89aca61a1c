"""Conversations that are gone on with, shown, found, exported, renamed and deleted."""

import json

import pytest

PROMPT = "1m>"


@pytest.fixture
def talked(home):
    home.run("ask", "what is 12*7", "-t", "t1")
    home.run("ask", 'write "milk" to a.txt', "-t", "t1", code=3)
    home.run("ask", "remember that the bin goes out on Monday", "-t", "t2", "--yes")
    return home


def test_the_last_conversation_is_gone_on_with_and_shown(talked):
    said = talked.run("ask", "what is 2+3", "-c", "--json").stdout
    assert json.loads(said)["thread_id"] == "t2"
    shown = talked.run("show").stdout
    assert "> remember that the bin goes out on Monday" in shown
    assert "2+3 = 5" in shown


def test_a_conversation_that_waits_is_shown_with_what_it_waits_for(talked):
    done = talked.run("show", "t1")
    assert "> what is 12*7" in done.stdout
    assert "12*7 = 84" in done.stdout
    assert "twobrain approve t1" in done.stdout
    told = talked.json("show", "t1")
    assert [each["role"] for each in told["messages"]] == ["user", "assistant", "user"]
    assert told["result"]["pending"]["action_requests"][0]["name"] == "write_file"


def test_conversations_are_found_by_what_was_said(talked):
    [found] = talked.json("search", "MONDAY", "bin")
    assert found["thread"] == "t2"
    assert "Monday" in found["said"]
    assert "Monday" in talked.run("search", "monday").stdout
    assert [row["thread"] for row in talked.json("search", "84")] == ["t1"]
    assert "Nothing that was said holds all of that" in talked.run("search", "84", "bin").stderr


def test_a_conversation_is_exported_for_its_owner_alone_and_over_nothing(talked):
    text = talked.run("export", "t1").stdout
    assert text.startswith("# ")
    assert "## You\n\nwhat is 12*7" in text
    assert "write_file" in text
    file = talked.directory / "out.json"
    talked.run("export", "t1", "--json", "-o", "out.json")
    assert json.loads(file.read_text())["messages"][0]["text"] == "what is 12*7"
    assert file.stat().st_mode & 0o077 == 0
    assert "is there already" in talked.run("export", "t1", "-o", "out.json", code=1).stderr


def test_a_conversation_is_renamed_and_keeps_that_name(talked):
    talked.run("rename", "t1", "Sums", "and", "milk")
    talked.run("ask", "what is 1+1", "-t", "t1")
    assert {row["thread"]: row["title"] for row in talked.json("threads")}["t1"] == "Sums and milk"


def test_one_conversation_is_deleted_once_that_is_said_and_its_audit_stays(talked, terminal):
    assert "say --yes" in talked.run("delete", "t1", code=2).stderr
    screen = terminal("delete", "t1")
    screen.sees("[y/N]")
    screen.sendline("")
    screen.sees("Nothing was deleted.")
    screen.ends(1)
    talked.run("delete", "t1", "--yes")
    assert [row["thread"] for row in talked.json("threads")] == ["t2"]
    assert [row["tool"] for row in talked.json("audit", "-t", "t1")] == ["calculate", "write_file"]
    assert not (talked.workspace / "a.txt").exists()


@pytest.mark.parametrize(
    "command", [["show", "no"], ["export", "no"], ["rename", "no", "x"], ["delete", "no", "--yes"]]
)
def test_a_conversation_that_is_not_there_is_named(talked, command):
    assert "'no'" in talked.run(*command, code=2).stderr


@pytest.mark.parametrize("command", [["show"], ["export"], ["ask", "x", "-c"]])
def test_where_nothing_was_said_yet_that_is_said(home, command):
    assert "There is no conversation yet" in home.run(*command, code=2).stderr


def test_a_chat_shows_where_one_left_off_and_says_what_is_new(talked, terminal):
    screen = terminal("chat", "-t", "t1")
    screen.sees("12*7 = 84", "It waits for your answer", PROMPT)
    screen.sendeof()
    screen.ends(0)
    new = terminal("chat", "-t", "t9")
    new.sees("There is no thread t9 yet: this begins it.", PROMPT)
    new.sendeof()
    new.ends(0)


def test_a_conversation_is_picked_from_the_last(talked, terminal):
    screen = terminal("chat", "-r")
    screen.sees("1  ", "remember that the bin", "2  ", 'write "milk" to a.txt', "Which one?")
    screen.sendline("2")
    screen.sees("12*7 = 84", "Type /help", PROMPT)
    screen.sendeof()
    assert "thread t1" in screen.ends(0)
