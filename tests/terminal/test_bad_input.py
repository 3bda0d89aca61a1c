import os
import socket

import pytest

OPENAI = '[models.m]\nprovider = "openai"\nmodel = "m"\n'


def complaint(home, *args, code=2, **options):
    """Return what a failing command says: one short paragraph, and nothing on standard output."""
    return said(home.run(*args, code=code, **options))


def said(done):
    assert done.stdout == ""
    assert 0 < len(done.stderr.strip()) < 500
    return done.stderr


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[models.m\n", "line 1"),
        ('[models.m]\nprovider = "gogle"\nmodel = "m"\n', "line 2"),
        (OPENAI + '[roles]\nchat = ["nobody"]\n', "nobody"),
        (OPENAI + "colour = 1\n", "line 4"),
        ("[limits]\nmax_rounds = 0\n", "max_rounds"),
    ],
)
def test_a_mistake_in_twobrain_toml_is_named_with_its_place(home, toml, expected):
    home.configure(toml)
    assert expected in complaint(home, "ask", "hi")


def test_a_configuration_that_does_not_exist_is_named(home):
    assert "nowhere.toml" in complaint(home, "tools", TWOBRAIN_CONFIG="nowhere.toml")


def test_a_missing_key_is_named_with_its_model(home):
    home.configure(OPENAI + 'api_key_env = "M_KEY"\n')
    told = complaint(home, "ask", "hi")
    assert "M_KEY" in told
    assert "'m'" in told


def test_an_endpoint_that_nobody_serves_fails_with_code_1(home):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    home.configure(f'{OPENAI}base_url = "http://127.0.0.1:{port}"\nmax_retries = 0\n')
    done = home.run("ask", "hi", code=1)
    assert done.stdout + done.stderr


@pytest.mark.parametrize("command", ["approve", "reject", "resume"])
def test_a_thread_that_does_not_exist_is_named(home, command):
    assert "'nothing'" in complaint(home, command, "nothing")


@pytest.mark.parametrize(
    "command", [["ask", "hi", "-t"], ["chat", "-t"], ["resume"], ["approve"], ["audit", "-t"]]
)
def test_an_id_that_no_thread_can_have_is_refused(home, command):
    assert "UTF-8" in complaint(home, *command, "a\udcffb")


def test_an_answer_to_nothing_is_refused(home):
    home.run("ask", "what is 12*7", "-t", "t1")
    assert "waits for no confirmation" in complaint(home, "approve", "t1")


@pytest.mark.parametrize("text", ["", "   ", "x" * 1_000_000])
def test_a_message_that_is_empty_or_huge_is_refused(home, text):
    complaint(home, "ask", "-", stdin=text)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("gone.txt", None, "gone.txt cannot be attached: No such file"),
        (".", None, ". is a folder"),
        (
            "prog.exe",
            b"MZ\x90\x00\x03\x00\x00\x00\xff\xff\x00",
            "'prog.exe' cannot be read: a message",
        ),
        ("big.bin", bytes(10_000_001), "big.bin has more than 10.0 MB"),
        ("long.txt", b"x" * 300_000, "The attached text has 300,000 characters; at most 200,000"),
        ("empty.txt", b"", "'empty.txt' is empty"),
    ],
)
def test_a_file_that_cannot_be_attached_is_named_with_why(home, name, data, words):
    if data is not None:
        (home.directory / name).write_bytes(data)
    assert words in complaint(home, "ask", "read it", "-f", name)
    assert home.json("threads") == []


@pytest.mark.parametrize(
    ("data", "words"),
    [("MZ\x00\x01\x02\x00", "'standard input' cannot be read"), ("x" * 300_000, "attached text has 300,000")],
)
def test_what_no_message_can_bring_is_refused_from_a_pipe_too(home, data, words):
    assert words in complaint(home, "ask", "sum it up", stdin=data)


def test_a_user_without_a_name_is_refused(home):
    assert "--user" in complaint(home, "ask", "hi", "--user", "")


def test_a_data_directory_that_is_a_file_is_named(home):
    home.data.write_text("")
    assert str(home.data) in complaint(home, "ask", "hi", code=1)


def test_a_data_directory_that_cannot_be_made_is_named(home):
    assert "/proc/nowhere" in complaint(home, "ask", "hi", code=1, TWOBRAIN_DATA_DIR="/proc/nowhere")


@pytest.mark.slow
def test_an_error_that_nobody_foresaw_is_logged_without_secrets(home):
    (home.directory / "sitecustomize.py").write_text(
        "import sys, uuid\nreal = uuid.uuid4\n\ndef fail():\n"
        "    if sys._getframe(1).f_globals['__name__'] == 'terminal.conversation':\n"
        "        raise KeyError('sesame-open')\n    return real()\n\nuuid.uuid4 = fail\n"
    )
    path = os.pathsep.join([str(home.directory), home.env()["PYTHONPATH"]])
    told = said(home.run_anew("chat", code=1, PYTHONPATH=path, DOOR_PASSWORD="sesame-open"))
    log = home.data / "errors.log"
    assert str(log) in told
    assert log.stat().st_mode & 0o777 == 0o600
    assert "Traceback" in log.read_text()
    assert "sesame-open" not in log.read_text() + told


@pytest.mark.parametrize("command", [["ask", "hi"], ["threads"], ["usage"], ["audit"], ["rules"]])
def test_a_user_whose_name_is_no_text_is_refused(home, command):
    assert "no text" in complaint(home, *command, "--user", "a\udcff")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["rules", "--revoke", "a\udcffb"], "no text in UTF-8"),
        (["doctor", "-t", "a\udcffb", "--repair"], "no text in UTF-8"),
        (["serve", "--host", "a\udcffb"], "no text in UTF-8"),
        (["ask", "a\udcffb"], "no text in UTF-8"),
        (["serve", "--host", "x" * 300], "that is no host's name"),
        (["serve", "--host", "."], "that is no host's name"),
        (["audit", "-n", "9" * 30], "--limit"),
        (["rules", "--revoke", "\n"], "There is no rule '\\n'"),
        (["prune", "--older-than", "9" * 30 + "w"], "is no age"),
        (["doctor", "-t", " "], "The thread's id is empty"),
    ],
)
def test_an_odd_command_gets_a_sentence(home, command, words):
    done = home.run(*command, code=2)
    assert words in done.stderr
    assert "unexpected" not in done.stderr


def test_a_line_break_in_a_name_begins_no_line_of_a_list(home):
    home.run("ask", "what is 12*7", "-t", "a\nfailed  b")
    assert "a\\nfailed  b" in home.run("threads").stdout
