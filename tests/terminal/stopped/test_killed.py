"""A process that is killed while a command of it runs."""

import os

from tests.tools.processes import stays

COMMAND = 'use run_command {"command": "sleep 60 & echo $! > child; echo > begun; wait"}'


def test_after_a_kill_no_command_runs_on_and_whether_it_happened_is_asked(home, terminal):
    home.configure('[tools.run_command]\nenabled = true\n[users.local]\nrole = "admin"\n')
    home.workspace.mkdir(parents=True)
    os.mkfifo(home.workspace / "begun")
    screen = terminal("ask", COMMAND, "--thread", "t1", "--yes")
    (home.workspace / "begun").read_text()
    screen.process.kill()
    assert not stays(int((home.workspace / "child").read_text()))
    screen = terminal("resume", "t1")
    card = screen.sees("Did it happen?", "count it as done >")
    assert "still be running" in " ".join(card.split())
    for typed in ("", "y", "n", "r"):  # neither a yes nor a no says whether it did
        screen.sendline(typed)
        screen.sees("Please type again, done.", "count it as done >")
    screen.sendline("done")
    screen.sees("unknown whether done: Shell command")
    screen.ends(0)
