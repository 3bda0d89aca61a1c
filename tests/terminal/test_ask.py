import json
import os
import re
import stat
import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

PROMPT = "1m>"


def test_an_answer_goes_to_standard_output_and_the_calls_beside_it(home):
    done = home.run("ask", "what is 12*7 and list files")
    assert "84" in done.stdout
    assert "✓" not in done.stdout
    assert "✓ calculate 12*7  84" in done.stderr
    assert "✓ list_files" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_terminal_shows_the_calls_the_answer_and_the_thread_in_turn(terminal):
    screen = terminal("ask", "what is 12*7")
    screen.sees("thinking", "✓", "calculate", "12*7 = 84", "thread ")
    screen.ends(0)


def test_no_color_leaves_neither_colours_nor_spinners_in_a_terminal(terminal):
    text = terminal("ask", "what is 12*7", NO_COLOR="1")
    text.expect("thread ")
    assert "\x1b" not in text.before
    assert "✓ calculate" in text.before
    assert "thinking" not in text.before
    text.ends(0)


def test_json_is_exactly_one_object_on_standard_output(home):
    done = home.run("ask", "what is 12*7", "--json", "--thread", "t1")
    result = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert result["thread_id"] == "t1"
    assert result["pending"] is None
    assert [call["tool"] for call in result["tool_calls"]] == ["calculate"]


def test_a_task_can_come_from_standard_input(home):
    assert "84" in home.run("ask", "-", stdin="what is 12*7\n").stdout


def test_words_without_quotes_are_one_task(home):
    assert "84" in home.run("ask", "what", "is", "12*7").stdout


def test_what_is_piped_comes_with_the_task_as_a_file(home):
    done = home.run("ask", "what", "is", "12*7", "--thread", "t1", stdin="The bins go out on Monday.")
    assert "84" in done.stdout
    [[words, file]] = [content for content in home.stored("t1") if isinstance(content, list)]
    assert words["text"] == "what is 12*7"
    assert (file["text"], file["metadata"]) == ("The bins go out on Monday.", {"name": "standard input"})


def test_files_that_are_attached_come_with_the_task(home):
    (home.directory / "a.txt").write_text("first")
    (home.directory / "b.md").write_text("second")
    home.run("ask", "what is 12*7", "-f", "a.txt", "-a", "b.md", "--thread", "t1")
    [[_, *files]] = [content for content in home.stored("t1") if isinstance(content, list)]
    assert [file["text"] for file in files] == ["first", "second"]


def test_a_file_cannot_steer_the_terminal_that_shows_it(home):
    home.write("evil.txt", "\x1b]0;owned\x07\x1b[2Jred \x1b[31mred\x9b1m\x08 \u202eend")
    done = home.run("ask", "read evil.txt")
    assert "red red" in done.stderr
    assert "red red" in done.stdout
    assert not set(done.stdout + done.stderr) & {"\x1b", "\x07", "\x9b", "\x00", "\x08", "\u202e"}
    printed = home.run("ask", "read evil.txt", "--json").stdout
    assert not set(printed) & {"\x1b", "\x9b", "\u202e"}
    assert "\u202e" in json.loads(printed)["tool_calls"][0]["result"]


def test_yes_answers_every_confirmation(home):
    home.run("ask", 'write "milk" to a.txt', "--yes")
    assert (home.workspace / "a.txt").read_text() == "milk"


def test_no_refuses_every_confirmation(home):
    result = home.json("ask", 'write "milk" to a.txt', "--no")
    assert [call["status"] for call in result["tool_calls"]] == ["denied"]
    assert not (home.workspace / "a.txt").exists()


@pytest.mark.parametrize("command", [("ask", "list files"), ("chat",), ("resume", "t1")])
def test_yes_and_no_at_once_are_refused(home, command):
    assert "contradict each other" in home.run(*command, "--yes", "--no", code=2).stderr
    assert not home.data.exists()


def test_the_version_is_told(home):
    assert home.run("--version").stdout.startswith("twobrain 0.")


@pytest.mark.slow
def test_a_user_whom_the_configuration_does_not_know_is_refused(home):
    home.configure('[users.alice]\nrole = "admin"\n')
    said = home.run("ask", "list files", "--user", "alcie", code=2).stderr
    for words in ("'alcie'", "local, alice", "[users.alcie]"):
        assert words in said
    home.run("ask", "list files", "--user", "alice")
    assert [row["user"] for row in home.json("threads")] == ["alice"]


def test_a_users_table_holds_for_whom_user_names(home):
    home.configure('[users.kid]\ntools = ["calculate"]\n')
    asked = home.json("ask", "what time is it in Tokyo", "--user", "kid")
    assert asked["tool_calls"] == []
    asked = home.json("ask", "what time is it in Tokyo")
    assert [call["status"] for call in asked["tool_calls"]] == ["executed"]


@pytest.mark.parametrize("command", [["ask", "hello", "-t"], ["approve"], ["reject"], ["resume"]])
def test_anothers_thread_is_refused(home, command):
    home.configure('[users.alice]\nrole = "user"\n[users.bob]\nrole = "user"\n')
    home.run("ask", 'write "hers" to a.txt', "-t", "hers", "--user", "alice", code=3)
    said = home.run(*command, "hers", "--user", "bob", code=2).stderr
    assert "There is no thread 'hers' of 'bob'" in said
    assert [(row["user"], row["status"]) for row in home.json("audit")] == [("alice", "waiting")]


@pytest.mark.slow
def test_going_on_with_a_turn_that_had_ended_says_so(home):
    home.run("ask", "what is 12*7", "-t", "t1")
    done = home.run("resume", "t1")
    assert "had ended" in done.stderr
    assert "84" in done.stdout
    assert len(home.json("audit")) == 1


def test_without_a_terminal_a_confirmation_waits_with_the_commands_that_answer_it(home):
    done = home.run("ask", 'write "milk" to a.txt', "--thread", "my list", code=3)
    assert "Confirm · write_file" in done.stdout
    assert "twobrain approve 'my list'" in done.stdout
    assert "twobrain reject 'my list' --reason" in done.stdout
    assert "\x1b" not in done.stdout
    assert [row["thread_id"] for row in home.json("pending")] == ["my list"]
    home.run("approve", "my list")
    assert (home.workspace / "a.txt").read_text() == "milk"
    assert home.json("pending") == []


@pytest.mark.slow
def test_a_rejection_carries_its_reason_to_the_planner(home):
    waiting = home.json("ask", 'write "milk" to a.txt', "-t", "t1", code=3)
    assert waiting["pending"]["action_requests"][0]["name"] == "write_file"
    result = home.json("reject", "t1", "--reason", "we have milk")
    assert "we have milk" in result["tool_calls"][0]["result"]
    assert not (home.workspace / "a.txt").exists()


@pytest.mark.slow
def test_lists_show_what_there_is_and_what_was_done(home):
    home.run("ask", "what is 12*7", "--thread", "t1")
    [thread] = home.json("threads")
    assert (thread["thread"], thread["status"]) == ("t1", "answered")
    [call] = home.json("audit", "--thread", "t1")
    assert (call["tool"], call["status"], call["user"]) == ("calculate", "executed", "local")
    assert {row["backend"] for row in home.json("usage")} == {"offline-planner", "offline-writer"}
    tools = {row["name"]: row for row in home.json("tools")}
    assert tools["write_file"]["confirm"] is True
    assert tools["calculate"].keys() >= {"role", "effect", "confirm", "available", "missing", "description"}
    models = {row["name"]: row for row in home.json("models", OPENAI_API_KEY="sk-nothing-here")}
    assert models["openai"]["roles"] == ["orchestrator", "chat"]
    listed = home.run("tools").stdout.splitlines()
    assert len(listed) == len(tools) + 1
    assert max(map(len, listed)) < 300
    table = home.run("audit").stdout
    assert "expression=12*7" in table
    assert "\x1b" not in table


def test_a_model_that_lacks_its_key_is_listed_with_the_variable(home):
    home.configure('[models.far]\nprovider = "google"\nmodel = "g"\napi_key_env = "FAR_KEY"\n')
    [model] = home.json("models")
    assert model["available"] is False
    assert "FAR_KEY" in model["missing"]


@pytest.mark.slow
def test_everything_in_the_data_directory_is_private(home, terminal):
    before = os.umask(0)
    try:
        home.run_anew("ask", 'write "x" to first.txt', "--yes")
        home.write("long.txt", "milk " * 1_000)
        screen = terminal("chat", "--yes")
        screen.sees(PROMPT)
        screen.sendline("read long.txt and remember that it rains then write milk to a.txt")
        screen.sees("✓", PROMPT)
        seen = modes(home)  # while the databases are open, with all that SQLite puts beside them
        screen.sendline("/exit")
        screen.ends(0)
    finally:
        os.umask(before)
    seen |= modes(home)
    kinds = {"checkpoints.db-wal", "ledger.db-shm", "store.db", "chat_history", "artifacts", "turns"}
    assert kinds <= {path.name for path in seen}
    assert {path.name: mode for path, mode in seen.items() if mode & 0o077} == {}


def modes(home):
    """Return the mode of all there is in the data directory but what a person put there."""
    found = [path for path in (home.data, *home.data.rglob("*")) if path.name != "long.txt"]
    return {path: stat.S_IMODE(path.stat().st_mode) for path in found}


@pytest.mark.slow
def test_a_days_allowance_counts_every_process_and_a_turn_it_refuses_has_failed(home):
    home.configure("[limits]\nmax_tokens_per_day = 100_000")
    home.run("ask", "what is 12*7", "-t", "t1")
    used = sum(row["input_tokens"] + row["output_tokens"] for row in home.json("usage"))
    home.configure(f"[limits]\nmax_tokens_per_day = {used}")
    refused = home.run("ask", "what is 2*3", "-t", "t1", code=1)
    assert f"{used:,} of {used:,} tokens" in refused.stdout
    assert len(home.json("audit")) == 1
    home.configure("")
    assert "6" in home.run("ask", "what is 2*3", "-t", "t1").stdout


def test_times_are_shown_on_the_persons_clock(home):
    zone = "Pacific/Pago_Pago"
    config = home.directory / "twobrain.toml"
    config.write_text(f'[users.local]\ntimezone = "{zone}"\n')
    home.run("ask", "what is 12*7", "-t", "t", TWOBRAIN_CONFIG=str(config))
    told = home.run("ask", "what time is it", TWOBRAIN_CONFIG=str(config), TZ="Europe/Paris").stdout
    assert f"({zone}, UTC-11:00)" in told
    for command in ("threads", "audit"):
        listed = home.run(command, TWOBRAIN_CONFIG=str(config), TZ="Europe/Paris").stdout
        shown, *_ = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d", listed)
        when = datetime.fromisoformat(shown).replace(tzinfo=ZoneInfo(zone))
        assert timedelta() <= datetime.now(UTC) - when < timedelta(minutes=3)


def test_a_new_thread_has_an_id_that_a_server_can_list_and_its_beginning_stands_for_it(home):
    asked = home.run("ask", 'write "milk" to a.txt', "--json", code=3)
    thread = json.loads(asked.stdout)["thread_id"]
    assert str(uuid.UUID(thread)) == thread
    short = thread[:8]
    assert thread in home.run("doctor", "-t", short).stdout
    assert home.json("approve", short)["thread_id"] == thread
    assert [row["thread"] for row in home.json("audit", "-t", short)] == [thread]
    assert home.json("ask", "what is 12*7", "-t", short)["thread_id"] == thread
    assert home.json("ask", "what is 12*7", "-t", "0" * 8)["thread_id"] == "0" * 8
