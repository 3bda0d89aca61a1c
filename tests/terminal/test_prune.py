import sqlite3
from contextlib import closing

import pytest

ASK = 'write "milk" to a.txt'


def age(home):
    """Make all that was done look a year old."""
    with closing(sqlite3.connect(home.data / "ledger.db")) as database, database:
        assert database.execute("UPDATE threads SET updated_at = updated_at - 31536000").rowcount


def threads(home):
    return [row["thread"] for row in home.json("threads")]


def furnish(home):
    home.run("ask", "what is 12*7", "-t", "old")
    home.run("ask", ASK, "-t", "gate", code=3)
    age(home)
    home.run("ask", "what is 12*7", "-t", "new")


@pytest.mark.slow
def test_old_finished_threads_are_deleted_and_the_others_are_not(home):
    furnish(home)
    assert home.json("prune", "--dry-run") == {"threads": ["old"], "dry_run": True}
    listed = home.run("prune", "--dry-run")
    assert [line.split()[:3] for line in listed.stdout.splitlines()[1:]] == [["old", "local", "answered"]]
    assert "what is 12*7" in listed.stdout
    assert "1 thread would go." in listed.stderr
    assert threads(home) == ["old", "gate", "new"]
    assert "Deleted 1 thread and 0 long results" in home.run("prune", "--yes").stdout
    assert threads(home) == ["gate", "new"]
    assert [row["thread"] for row in home.json("audit")] == ["old", "gate", "new"]
    home.run("approve", "gate")
    assert home.json("prune", "--older-than", "0h", "--audit", "--yes")["threads"] == ["new", "gate"]
    assert [row["thread"] for row in home.json("audit")] == ["old"]


@pytest.mark.slow
def test_a_person_is_asked_and_only_yes_deletes(home, terminal):
    furnish(home)
    for typed, left in (
        ("", ["old", "gate", "new"]),
        ("maybe", ["old", "gate", "new"]),
        ("y", ["gate", "new"]),
    ):
        screen = terminal("prune", "--older-than", "8w")
        screen.sees("Delete 1 finished thread not used for 8w, for good? [y/N]")
        screen.sendline(typed)
        screen.sees("Deleted 1 thread" if typed == "y" else "Nothing was deleted.")
        screen.ends(0)
        assert threads(home) == left


@pytest.mark.slow
def test_without_a_person_to_ask_and_without_yes_nothing_is_deleted(home):
    furnish(home)
    assert "--yes" in home.run("prune", code=2).stderr
    assert "30d" in home.run("prune", "--older-than", "soon", "--yes", code=2).stderr
    assert threads(home) == ["old", "gate", "new"]
