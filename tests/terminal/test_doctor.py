import os
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.behaviour.crashes import process
from tests.behaviour.crashes.power import cut_short

FAKE_CLAUDE = Path(__file__).parents[1] / "models" / "fake_claude.py"


def findings(home, code=0, **options):
    """Return what a look at everything finds: name to state and text."""
    told = home.json("doctor", code=code, **options)
    assert told["ok"] == (code == 0)
    return {one["name"]: (one["state"], one["text"]) for one in told["findings"]}


def change(home, file, statement):
    with closing(sqlite3.connect(home.data / file)) as database, database:
        assert database.execute(statement).rowcount


@pytest.mark.slow
def test_a_house_that_nobody_used_yet_and_one_in_use_are_in_order(home):
    assert findings(home)["checkpoints"] == ("good", "none yet")
    assert not home.data.exists()
    home.run("ask", "what is 12*7")
    home.run("ask", 'write "x" to a.txt', "-t", "t2", code=3)
    found = findings(home)
    assert found["threads"] == ("good", "2 conversations")
    assert found["waiting"][1].startswith("t2 ")
    assert found["orchestrator"] == ("good", "offline-planner")
    assert "send_email" in found["tools"][1]
    said = home.run("doctor").stdout
    assert all(line[0] in "✓·" for line in said.splitlines())
    assert said == "".join(f"{line.rstrip()}\n" for line in said.splitlines())


def test_what_is_not_in_order_is_named_and_ends_with_code_1(home):
    home.configure('[models.m]\nprovider = "openai"\nmodel = "m"\napi_key_env = "M_KEY"\n')
    state, text = findings(home, code=1)["orchestrator"]
    assert state == "bad"
    assert "M_KEY" in text
    home.configure("[limits]\nmax_rounds = 0\n")
    state, text = findings(home, code=1)["settings"]
    assert state == "bad"
    assert "line 2" in text


def test_a_variable_that_a_table_names_and_nobody_set_is_named_with_its_line(home):
    home.configure(
        '[tools.inbox.local]\nhost = "127.0.0.1"\nuser = "ada"\npassword_env = "ADA_PASSWORD"\n'
        '[tools.email]\nhost = "127.0.0.1"\nsender = "a@b.example"\n'
        'user = "a"\npassword_env = "SMTP_PASSWORD"\n'
    )
    told = [one["text"] for one in home.json("doctor", code=1)["findings"] if one["name"] == "variables"]
    assert [text.split(":")[0].rsplit(", ", 1)[1] for text in told] == ["line 4", "line 9"]
    assert "ADA_PASSWORD, which is not set" in told[0]
    lacks = {one["name"]: one["missing"] for one in home.json("tools")}
    assert "ADA_PASSWORD" in lacks["list_mail"]
    findings(home, ADA_PASSWORD="secret-of-ada", SMTP_PASSWORD="secret-of-smtp")
    home.configure("[channels.telegram]\n")
    assert findings(home, code=1)["messengers"][0] == "bad"


def test_it_says_where_each_persons_files_are(home):
    assert findings(home)["workspace"] == ("good", str(home.workspace))
    home.configure('[users.alice]\nrole = "user"\n[users."*"]\nrole = "guest"\n')
    alice, shared = home.workspace / ".people" / "alice", home.workspace / "shared"
    assert findings(home)["people"] == ("good", f"alice: {alice}; everybody: {shared}")


def test_files_that_others_can_read_are_told_and_closed(home):
    home.run("ask", "what is 12*7")
    (home.data / "checkpoints.db").chmod(0o644)
    home.data.chmod(0o755)
    state, text = findings(home, code=1)["data"]
    assert state == "bad"
    assert "checkpoints.db" in text
    home.run("doctor", "--repair")
    assert findings(home)["data"][0] == "good"


@pytest.mark.slow
@pytest.mark.parametrize("file", ["checkpoints.db", "ledger.db", "store.db"])
def test_a_damaged_file_is_told_by_doctor_and_by_every_command_that_needs_it(home, file):
    home.run("ask", "what is 12*7", "-t", "t1")
    content = (home.data / file).read_bytes()
    (home.data / file).write_bytes(b"x" * len(content))
    said = home.run("doctor", code=1).stdout
    assert f"✗ {'memories' if file == 'store.db' else file.removesuffix('.db')}" in said
    assert "put back a copy" in said
    told = home.run("ask", "what is 12*7", code=1).stderr
    assert file in told
    assert "put back a copy" in told


def test_a_record_that_nobody_waited_for_and_that_could_not_be_written_is_told(home):
    home.run("ask", "what is 12*7", "-t", "t1")
    assert "errors" not in findings(home)
    refusal = "CREATE TRIGGER no BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'no more'); END"
    change(home, "ledger.db", refusal)
    assert "84" in home.run("ask", "what is 12*7", "-t", "t1").stdout
    state, text = findings(home)["errors"]
    assert state == "note"
    assert "what nobody waited for was not written" in text
    assert "no more" in text
    assert str(home.data / "errors.log") in text


def test_a_newer_schema_is_told(home):
    home.run("ask", "what is 12*7")
    change(home, "ledger.db", "UPDATE ledger_schema SET version = 99")
    state, text = findings(home, code=1)["threads"]
    assert state == "bad"
    assert "schema 99" in text
    assert "update twobrain" in text


@pytest.mark.slow
def test_a_damaged_thread_is_found_explained_repaired_and_talked_on_in(home):
    home.run("ask", "what is 12*7", "-t", "t1")
    home.run("ask", 'write "x" to a.txt', "-t", "t2", code=3)
    change(home, "checkpoints.db", "UPDATE checkpoints SET checkpoint = x'c1' WHERE thread_id = 't2'")
    assert "t2" in findings(home, code=1)["to repair"][1]
    assert "'t2' is damaged" in home.json("pending")[0]["request"]["message"]
    assert "damaged" in home.run("pending").stdout
    assert "twobrain doctor --thread t2" in home.run("approve", "t2", code=1).stderr
    done = home.run("doctor", "--thread", "t2", code=1)
    assert "Thread 't2' is damaged: " in done.stdout
    assert "--repair would take out what cannot be read" in done.stderr
    assert "Repaired: took out " in home.run("doctor", "--thread", "t2", "--repair").stdout
    assert "84" in home.run("ask", "what is 12*7", "-t", "t2").stdout
    assert findings(home)["threads"] == ("good", "2 conversations")
    assert not (home.workspace / "a.txt").exists()


def test_a_thread_that_waits_is_explained_with_the_commands_that_answer_it(home):
    home.run("ask", 'write "x" to a.txt', "-t", "t1", code=3)
    said = home.run("doctor", "-t", "t1").stdout
    assert "twobrain approve t1" in said
    assert "twobrain reject t1" in said


@pytest.mark.slow
def test_a_thread_is_explained_as_json(home):
    home.run("ask", "what is 12*7", "-t", "t1")
    told = home.json("doctor", "--thread", "t1")
    assert (told["condition"], told["remedies"]) == ("answered", [])
    assert "'nothing'" in home.run("doctor", "-t", "nothing", code=2).stderr


@pytest.mark.slow
def test_a_lost_ledger_is_told_and_gets_what_the_conversations_tell(home):
    home.run("ask", "what is 12*7", "-t", "t1")
    home.run("ask", 'write "x" to a.txt', "-t", "t2", code=3)
    (home.data / "ledger.db").unlink()

    assert findings(home, code=1)["ledger"] == ("note", "none, though there are checkpoints")
    state, text = findings(home, code=1)["missing records"]
    assert state == "bad"
    assert text.startswith("t1, t2: not, or not wholly, in the ledger")
    for command in ("threads", "pending"):
        told = home.run(command)
        assert "no record of 2 conversations" in told.stderr
        assert "There are no threads" not in told.stdout + told.stderr
        assert home.json(command) == []
    said = home.run("doctor", "-t", "t1", code=1)
    assert "no record of it, nor of 1 call of it: it was lost" in said.stdout
    assert "--repair would note in the ledger" in said.stderr

    for thread in ("t1", "t2"):
        home.run("doctor", "-t", thread, "--repair")
    found = findings(home)
    assert "missing records" not in found
    assert found["waiting"][1].startswith("t2 ")
    assert [(row["thread"], row["status"]) for row in home.json("threads")] == [
        ("t1", "answered"),
        ("t2", "waiting"),
    ]
    assert [(row["tool"], row["status"]) for row in home.json("audit")] == [("calculate", "executed")]
    assert not (home.workspace / "a.txt").exists()


def test_a_ledger_put_back_from_an_older_copy_is_told(home):
    home.run("ask", "what is 12*7", "-t", "t1")
    older = (home.data / "ledger.db").read_bytes()
    home.run("ask", "what is 7*7", "-t", "t1")
    (home.data / "ledger.db").write_bytes(older)

    assert findings(home, code=1)["missing records"][1].startswith("t1: ")
    assert "no record of 1 call of it" in home.run("doctor", "-t", "t1", code=1).stdout
    home.run("doctor", "-t", "t1", "--repair")
    assert "missing records" not in findings(home)


async def test_an_approval_of_what_was_cut_short_is_told_how_to_go_on_though_the_ledger_is_lost(home):
    await cut_short(process.Home(home.directory), "remember that it rains", "remember")
    for file in home.data.glob("ledger.db*"):
        file.unlink()

    told = home.run("approve", "t1", code=2).stderr.replace("\n", " ")
    assert "was cut short while remember ran, and nobody knows whether that happened" in told
    assert "twobrain resume t1" in told
    assert "The ledger has no record of it" in told


def test_a_claude_program_that_is_not_logged_in_is_told_of_wherever_it_is_replaced(home):
    program = home.directory / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{FAKE_CLAUDE.read_text()}")
    program.chmod(0o755)
    environ = {"PATH": f"{program.parent}{os.pathsep}{os.defpath}", "FAKE_CLAUDE": "not logged in"}
    why = "Claude Code: Not logged in · Please run /login. Run `claude` once and log in"
    for _ in range(2):
        result = home.json("ask", "what is 12*7", **environ)
        assert result["backend"] == "offline-writer"
        assert f"Model 'offline-writer' answered, as others could not. {why}" in result["response"]
        assert [(each["model"], each["cause"]) for each in result["failed_models"]] == [
            ("claude-code", "missing_key")
        ]
    log = (home.data / "errors.log").read_text()
    assert re.search(rf"WARNING models\.call \[.*\]: {re.escape(why)}", log)
    found = {one["name"]: one for one in home.json("doctor", **environ)["findings"]}
    assert "its last call failed: its key or program is missing" in found["claude-code"]["text"]
    assert why in found["errors"]["text"]
    environ["FAKE_CLAUDE"] = "answer"
    assert "could not" not in home.run("ask", "what is 12*7", **environ).stdout
    assert "claude-code" not in {one["name"] for one in home.json("doctor", **environ)["findings"]}


def test_models_without_keys_says_what_is_missing_and_how_to_set_it(home):
    done = home.run("models")
    for told in ("GEMINI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "claude", "twobrain init"):
        assert told in done.stderr
    assert len(home.json("models")) == 2


@pytest.mark.parametrize(
    ("place", "why"), [("/", "your home"), ("~", "your home"), ("a.txt", "no folder"), ("~/data", "the data")]
)
def test_a_workspace_that_would_lay_open_more_than_files_is_told(home, place, why):
    (home.directory / "a.txt").write_text("")
    place = place.replace("~", str(home.directory))
    state, told = findings(home, code=1, TWOBRAIN_WORKSPACE=place)["workspace"]
    assert state == "bad"
    assert why in told
    assert "TWOBRAIN_WORKSPACE" in told


def test_an_env_that_others_read_or_with_a_slip_is_told_and_closed(home):
    place = home.directory / ".config" / "twobrain" / ".env"
    place.parent.mkdir(parents=True)
    place.write_text("GEMNI_API_KEY=x\nNOTES_TOKEN=y\nSTRANGE=z\nOTEL_SERVICE_NAME=t\n")
    place.chmod(0o644)
    home.configure('[mcp.servers.n]\ncommand = "notes-mcp-of-nobody"\nenv_from = ["NOTES_TOKEN"]\n')
    found = findings(home, code=1)
    assert found[".env"] == ("bad", f"others can read {place}; --repair closes that")
    assert found["mcp n"][0] == "bad"
    assert "'notes-mcp-of-nobody' is not on PATH" in found["mcp n"][1]
    assert found["PATH"][0] == "note"
    home.run("doctor", "--repair", code=1)
    state, told = findings(home, code=1)[".env"]
    assert state == "note"
    assert "did you mean GEMINI_API_KEY?" in told
    assert "STRANGE" in told
    assert "OTEL" not in told
    assert "NOTES_TOKEN" not in told


def test_an_env_that_is_a_folder_stops_nothing_and_is_told(home):
    (home.directory / ".env").mkdir()
    home.run("models")
    assert "is a folder" in findings(home)[".env"][1]


def test_path_says_how_to_put_it_there_by_what_is_at_hand(home):
    programs = home.directory / "bin"
    programs.mkdir()

    def told():
        return findings(home, PATH=str(programs))["PATH"]

    assert "ln -s" in told()[1]
    for name in ("pipx", "uv"):
        (programs / name).write_text("")
        (programs / name).chmod(0o755)
        assert told()[1].startswith(f"twobrain is not on it: {name} ")
    (programs / "twobrain").write_text("")
    (programs / "twobrain").chmod(0o755)
    assert told() == ("good", str(programs / "twobrain"))
