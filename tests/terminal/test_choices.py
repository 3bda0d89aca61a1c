"""What a person chooses, in a chat and on the command line; and what the shell completes."""

import json

import pytest

PROMPT = "1m>"
MODELS = """
[models.one]
provider = "offline"
model = "planner"
label = "The first"
[models.two]
provider = "offline"
model = "writer"
[roles]
orchestrator = ["one"]
chat = ["two"]
[users.local]
path = "single"
[users.kid]
path = "direct"
writer = "two"
[users.tot]
role = "guest"
approvers = ["kid"]
[users.kid.roles]
orchestrator = ["two"]
chat = ["two"]
"""


def backends(home, *args, code=0):
    result = home.json("ask", "what is 12*7", *args, code=code)
    return result["backend"], [row["role"] for row in home.json("usage", "--by", "role")]


def test_models_path_and_persona_are_chosen_on_the_command_line(home):
    home.configure(MODELS)
    assert home.json("ask", "what is 12*7")["backend"] == "one"  # by the table
    assert home.json("ask", "what is 12*7", "--path", "two-brain")["backend"] == "two"
    assert home.json("ask", "hello", "--path", "direct", "--model", "two")["backend"] == "two"
    assert home.json("ask", "hello", "--user", "kid")["backend"] == "two"
    assert home.json("ask", "what is 12*7", "--path", "auto", "--writer", "two")["backend"] == "two"
    said = home.run("ask", "hello", "--model", "three", code=2).stderr
    assert "There is no role or model 'three'" in said
    assert "models there are: two" in home.run("ask", "hello", "-u", "kid", "--writer", "one", code=2).stderr
    assert "chosen in twobrain.toml" in home.run("ask", "hi", "-u", "tot", "--path", "direct", code=2).stderr
    assert "system" in home.run("ask", "hello", "--system", "x" * 50_001, code=2).stderr


def test_a_choice_of_a_table_that_does_not_exist_is_refused_with_its_line(home):
    home.configure('[users.local]\nmodel = "three"\n')
    said = home.run("ask", "hello", code=2).stderr
    assert "line 2" in said
    assert "'three'" in said


def test_a_chat_chooses_for_the_turns_to_come_and_shows_what_holds(home, terminal):
    home.configure(MODELS)
    screen = terminal("chat", "--thread", "t1")
    screen.sees(PROMPT)
    screen.sendline("/path")
    screen.sees("path: single", PROMPT)
    screen.sendline("/path third")
    screen.sees("path: Input should be", PROMPT)
    screen.sendline("/path two-brain")
    screen.sees("path: two-brain", PROMPT)
    screen.sendline("/model nope")
    screen.sees("There is no role or model 'nope'", PROMPT)
    screen.sendline("/model one")
    screen.sees("reasons: one (one)", "one  The first", PROMPT)
    screen.sendline("what is 12*7")
    screen.sees("= 84", "The first → two", PROMPT)
    screen.sendline("/tools get_time")
    screen.sees("timezone", PROMPT)
    screen.sendline("/tools nope")
    screen.sees("You have no tool 'nope'", PROMPT)
    screen.sendline("/usage")
    screen.sees("this thread, one: ", "today (UTC): ", PROMPT)
    screen.sendeof()
    screen.ends(0)


@pytest.mark.slow
def test_tab_completes_threads_by_their_titles_models_and_tools(home, terminal):
    home.run("ask", "what is 12*7", "-t", "about-sums")
    screen = terminal("chat")
    screen.sees(PROMPT)
    screen.send("/thread 12\t")
    screen.sees("about-sums")
    screen.send("\r")
    screen.sees("what is 12*7", "thread about-sums", PROMPT)
    screen.send("/tools calc\t")
    screen.sees("ulate")
    screen.send("\r")
    screen.sees("expression", PROMPT)
    screen.sendeof()
    screen.ends(0)


def completed(home, words, shell="bash"):
    env = {"_TWOBRAIN_COMPLETE": f"complete_{shell}", "COMP_WORDS": words, "_TYPER_COMPLETE_ARGS": words}
    env |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return home.run(COMP_CWORD=str(len(words.split(" ")) - 1), **env).stdout


def test_the_shell_completes_commands_threads_models_users_and_paths(home):
    assert completed(home, "twobrain ask -t ").split() == []
    assert not home.data.exists(), "nothing is made by completing"
    home.run("ask", "what is 12*7", "-t", "t1")
    home.run("ask", "list files", "-t", "other")
    assert completed(home, "twobrain app").split() == ["approve"]
    assert completed(home, "twobrain ask -t ").split() == ["other", "t1"]
    assert completed(home, "twobrain approve t").split() == ["t1"]
    assert "what is 12 7" in completed(home, "twobrain show t", "zsh")
    assert completed(home, "twobrain ask --path s").split() == ["single"]
    assert "offline-planner" in completed(home, "twobrain ask --model ")
    assert completed(home, "twobrain ask -u ").split() == ["local"]
    home.configure("nonsense")
    assert completed(home, "twobrain ask -t ").split() == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_was_said_is_nothing_that_a_shell_evaluates(home, shell):
    home.run("ask", "\\$(touch hacked) `touch hacked` ' \" ; what is 12*7", "-t", "t1")
    home.run("ask", "what is 2+3", "-t", "$(touch hacked)")
    said = completed(home, "twobrain ask -t ", shell)
    assert "t1" in said
    assert not {*"$`;\\"} & {*said.replace("_arguments '*: :", "")}


def test_completion_is_installed_for_a_shell(home):
    home.run("--install-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_TWOBRAIN_COMPLETE" in (home.directory / ".bash_completions" / "twobrain.sh").read_text()


EVENTS = {"thread", "token", "usage", "tool_started", "tool_finished", "confirmation", "done"}


def lines_of(done):
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_script_is_told_each_event_on_a_line_and_the_result_in_the_last(home):
    first, *events = lines_of(home.run("ask", 'write "x" to a.txt', "--json-stream", "-t", "t1", "--yes"))
    assert first == {"event": "thread", "thread_id": "t1"}
    assert {event["event"] for event in events} | {"thread"} == EVENTS
    assert events[-1]["event"] == "done"
    assert events[-1]["result"] == home.json("resume", "t1")
    [asked] = [event for event in events if event["event"] == "confirmation"]
    assert [action["name"] for action in asked["request"]["action_requests"]] == ["write_file"]
    said = "".join(event["text"] for event in events if event["event"] == "token")
    assert said.strip() == events[-1]["result"]["response"]


def test_a_script_is_told_questions_and_failures_as_events_with_the_usual_codes(home):
    *_, asked, done = lines_of(home.run("ask", 'write "x" to a.txt', "--json-stream", "-t", "t1", code=3))
    assert (asked["event"], done["event"]) == ("confirmation", "done")
    assert done["result"]["pending"]
    *_, failed = lines_of(home.run("ask", "hi", "--json-stream", "--model", "nope", code=2))
    assert (failed["event"], failed["code"]) == ("failed", 2)
    assert "'nope'" in failed["detail"]
    home.configure("[users.local]\nrole = 5\n")
    [failed] = lines_of(home.run("ask", "hi", "--json-stream", code=2))
    assert "line 2" in failed["detail"]


def test_a_tools_label_is_what_people_read_and_the_card_has_its_name_too(home, terminal):
    home.configure('[tools.run_command]\nenabled = true\n[users.local]\nrole = "admin"\n')
    screen = terminal("ask", 'use run_command {"command": "echo hello"}')
    screen.sees("Confirm", "Shell command (run_command)", "reject >")
    screen.sendline("y")
    screen.sees("✓", "Shell command", "echo hello", "done: Shell command", "thread ")
    screen.ends(0)
