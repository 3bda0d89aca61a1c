import pytest


@pytest.mark.slow
def test_a_terminal_killed_at_the_gate_leaves_a_thread_that_another_lists_and_approves(home, terminal):
    asking = terminal("ask", 'what is 12*7 and write "buy milk" to notes.txt', "-t", "t1")
    asking.sees("write_file", "approve")
    asking.process.kill()
    asking.process.join()

    [waiting] = home.json("pending")
    assert waiting["thread_id"] == "t1"
    said = home.run("approve", "t1").stdout
    assert "buy milk" in said
    assert (home.workspace / "notes.txt").read_text() == "buy milk"
    assert home.json("pending") == []
    assert [(row["tool"], row["status"]) for row in home.json("audit")] == [
        ("calculate", "executed"),
        ("write_file", "executed"),
    ]
