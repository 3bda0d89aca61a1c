import socket

import pytest

SILENT = """
[models.silent]
provider = "openai"
model = "m"
base_url = "http://127.0.0.1:{port}"
max_retries = 0
[roles]
orchestrator = ["silent"]
chat = ["silent"]
"""
OFFLINE = '[models.p]\nprovider = "offline"\nmodel = "planner"\n[roles]\norchestrator = ["p"]\nchat = ["p"]\n'

PROMPT = "1m>"


@pytest.fixture
def silent_model(home):
    """Configure a model that accepts calls and never answers; calling waits for the next call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        home.configure(SILENT.format(port=server.getsockname()[1]))
        connections = []
        yield lambda: connections.append(server.accept()[0])
        for connection in connections:
            connection.close()


def test_ctrl_c_leaves_a_thread_that_resume_brings_to_its_answer(home, terminal, silent_model):
    screen = terminal("ask", "what is 12*7", "--thread", "t1")
    silent_model()
    screen.sendintr()
    screen.sees("Stopped. Go on with: twobrain resume t1")
    screen.ends(130)
    home.configure(OFFLINE)
    assert "84" in home.run("resume", "t1").stdout


@pytest.mark.slow
def test_a_script_is_told_that_a_turn_was_stopped(terminal, silent_model):
    screen = terminal("ask", "what is 12*7", "--thread", "t1", "--json-stream")
    screen.sees('{"event": "thread", "thread_id": "t1"}')
    silent_model()
    screen.sendintr()
    screen.sees('{"event": "stopped", "thread_id": "t1"}')
    screen.ends(130)


@pytest.mark.slow
def test_a_second_terminal_says_that_it_waits_for_the_turn_of_the_first(terminal, silent_model):
    first = terminal("ask", "what is 12*7", "--thread", "t1")
    silent_model()
    second = terminal("ask", "what is 3*3", "--thread", "t1")
    second.sees("waiting for another terminal's turn")
    first.sendintr()
    first.sees("Stopped.")
    first.ends(130)
    second.sees("thinking")
    silent_model()
    second.sendintr()
    second.sees("Stopped.")
    second.ends(130)


@pytest.mark.slow
def test_ctrl_c_in_a_chat_stops_the_turn_and_not_the_chat(home, terminal, silent_model):
    screen = terminal("chat", "--thread", "t1")
    screen.sees(PROMPT)
    screen.sendline("what is 12*7")
    silent_model()
    screen.sendintr()
    screen.sees("Stopped. /resume goes on", PROMPT)
    screen.sendline("/resume")
    silent_model()
    screen.sendintr()
    screen.sees("Stopped. /resume goes on", PROMPT)
    screen.sendline("/exit")
    screen.sees("thread t1")
    screen.ends(0)
