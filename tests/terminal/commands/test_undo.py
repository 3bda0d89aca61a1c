"""`twobrain undo`: the newest call, or one from the list, after a card."""


def test_the_newest_call_is_shown_and_undone_once_its_person_agrees(home, terminal):
    home.run("ask", 'write "milk" to a.txt', "-t", "t1", "--yes")
    home.run("ask", 'write "rye" to b.txt', "-t", "t1", "--yes")
    with terminal("undo") as screen:
        screen.sees("write_file", "Delete b.txt, which was not there before", "reject >")
        screen.sendline("reject")
        screen.sees("Why not?")
        screen.sendline("")
        assert screen.ends(1)
    assert (home.workspace / "b.txt").exists()
    with terminal("undo") as screen:
        screen.sees("Delete b.txt, which was not there before", "reject >")
        screen.sendline("approve")
        screen.sees("Deleted b.txt")
        assert screen.ends(0)
    assert not (home.workspace / "b.txt").exists()
    assert (home.workspace / "a.txt").read_text() == "milk"


def test_what_can_be_undone_is_listed_and_undone_by_its_number(home):
    assert "nothing that can be undone" in home.run("undo", code=1).stderr
    home.run("ask", 'write "milk" to a.txt', "-t", "t1", "--yes")
    (row,) = home.json("undo", "--list")
    assert (row["tool"], row["thread"]) == ("write_file", "t1")
    heading, line = home.run("undo", "--list").stdout.splitlines()
    assert heading.split("\t") == ["number", "when", "tool", "arguments"]
    assert line.startswith(f"{row['number']}\t20")
    waits = home.run("undo", str(row["number"]), code=3)
    assert "twobrain undo" in waits.stderr
    assert (home.workspace / "a.txt").exists()
    done = home.json("undo", row["call_id"], "--yes")
    assert done["receipts"][0]["status"] == "executed"
    assert not (home.workspace / "a.txt").exists()
    assert "undone already" in home.run("undo", str(row["number"]), "--yes", code=2).stderr
    undo = home.json("audit")[-1]
    assert (undo["tool"], undo["decided_by"], undo["status"]) == ("undo", "local", "executed")


def test_what_has_changed_since_is_said_and_left(home):
    home.run("ask", 'write "milk" to a.txt', "--yes")
    home.write("a.txt", "tea")
    assert "changed since" in home.run("undo", "--yes", code=2).stderr
    assert (home.workspace / "a.txt").read_text() == "tea"


def test_what_undoes_a_call_is_in_a_backup(home):
    home.write("a.txt", "before")
    home.run("ask", 'write "milk" to a.txt', "--yes")
    home.run("backup", str(home.directory / "copy"))
    home.run("restore", str(home.directory / "copy"), "--force")
    home.run("undo", "--yes")
    assert (home.workspace / "a.txt").read_text() == "before"
