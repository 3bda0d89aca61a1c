import asyncio
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from base.errors import ConfigurationError
from base.processes import Output, run
from base.settings import load_settings
from tests.tools.processes import LINGERING, is_left_by, stays
from tools.registry import open_registry
from tools.run import run_tool

HOUSE = Path(__file__).parents[2]


@pytest.fixture
def configure(tmp_path):
    def make(table: str = "enabled = true"):
        source = tmp_path / "twobrain.toml"
        source.write_text(f"[tools.run_command]\n{table}\n")
        return load_settings(
            {
                "TWOBRAIN_DATA_DIR": str(tmp_path / "data"),
                "TWOBRAIN_CONFIG": str(source),
                "PATH": os.environ["PATH"],
                "MAIL_PASSWORD": "hunter2-and-more",
            }
        )

    return make


@pytest.fixture
def settings(configure):
    return configure()


@pytest.fixture
def brief(configure, here):
    """Run a command that may take 0.3 seconds."""
    settings = configure("enabled = true\ntimeout_s = 0.3")
    tool = open_registry(settings).get("run_command")

    async def run(command):
        return await run_tool(tool, replace(here, settings=settings), {"command": command})

    return run


def process_of(file: Path) -> int:
    return int(file.read_text())


def open_handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_command_runs_in_the_workspace_and_tells_its_status_and_output(call, root):
    outcome = await call("run_command", command="echo hello > a.txt; cat a.txt; pwd")
    assert (outcome.status, outcome.text) == ("executed", f"Exit status 0.\nhello\n{root.resolve()}")


async def test_errors_and_output_come_in_the_order_they_were_written(call):
    outcome = await call("run_command", command="echo one; echo two >&2; echo three; exit 7")
    assert (outcome.status, outcome.text) == ("executed", "Exit status 7.\none\ntwo\nthree")


async def test_a_command_without_output_that_is_killed_says_by_what(call):
    assert (await call("run_command", command="kill -9 $$")).text == "Killed by SIGKILL."


async def test_a_command_inherits_no_secret_and_its_input_is_closed(call, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "not for commands")
    lines = (await call("run_command", command="env; cat; true")).text.splitlines()
    names = {line.partition("=")[0] for line in lines[1:]}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "HOME", "LANG", "TERM", "TWOBRAIN_PROGRAM"}


async def test_of_much_output_head_and_tail_are_kept_and_the_rest_is_counted(call):
    text = (await call("run_command", command="seq 1 100000")).text
    assert text.startswith("Exit status 0.\n1\n2\n")
    assert text.endswith("\n99999\n100000")
    assert "\n… (572,895 bytes left out) …\n" in text
    assert len(text) < 17_000


async def test_output_without_end_is_stopped_before_its_time(call):
    outcome = await call("run_command", command="yes")
    assert outcome.status == "failed"
    assert "wrote more than 50,000,000 bytes and was stopped" in outcome.text


async def test_output_that_is_no_text_is_shown_as_far_as_it_goes(call):
    assert (
        await call("run_command", command=r"printf 'a\377b'")
    ).text == "Exit status 0.\na\N{REPLACEMENT CHARACTER}b"


FORKING = {
    "a child that ignores the request": "sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 60; done'",
    "a child in the background": "sleep 60 & echo $! > child; wait",
    "a child in a session of its own": "setsid sh -c 'echo $$ > child; exec sleep 60' & wait",
    "a silent one": "setsid sh -c 'echo $$ > child; exec sleep 60' > /dev/null 2>&1 < /dev/null & sleep 60",
    "a tree": "for i in 1 2 3; do (sleep 60; sleep 60) & done; echo $! > child; wait",
}


@pytest.mark.parametrize("command", FORKING.values(), ids=FORKING)
async def test_a_command_that_forks_and_hangs_is_stopped_whole_when_its_time_is_up(brief, root, command):
    outcome = await brief(f"echo so far; {command}")
    assert outcome.status == "failed"
    assert outcome.text == (
        "Tool error: The command took longer than 0.3 s and was stopped with all that it had started. "
        "It had written:\nso far"
    )
    assert not stays(process_of(root / "child"))
    assert outcome.duration_ms < 3_000


async def test_what_a_finished_command_left_in_the_background_is_stopped_and_said(call, root):
    began = time.monotonic()
    outcome = await call("run_command", command="sleep 60 & echo $! > child; echo done")
    assert outcome.text == "Exit status 0.\ndone\n(What it left running in the background was stopped.)"
    assert not stays(process_of(root / "child"))
    assert time.monotonic() - began < 40


async def test_a_program_that_heeds_the_request_may_tidy_up(brief, root):
    await brief("trap 'echo tidy > tidied; exit' TERM; sleep 60 & wait")
    assert (root / "tidied").read_text() == "tidy\n"


@pytest.mark.parametrize("command", FORKING.values(), ids=FORKING)
async def test_a_cancelled_call_leaves_nothing_running(call, root, command):
    root.mkdir(parents=True)
    os.mkfifo(root / "begun")
    begun = asyncio.get_running_loop().run_in_executor(None, (root / "begun").read_text)
    task = asyncio.create_task(
        call("run_command", command=f"(until [ -s child ]; do :; done; echo > begun) & {command}")
    )
    await begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not stays(process_of(root / "child"))


@pytest.mark.parametrize("moments", range(4))
async def test_a_program_that_is_cancelled_while_it_starts_leaves_nothing_running(tmp_path, moments):
    command = ("/bin/sh", "-c", LINGERING)
    starting = run(*command, env=os.environ, limit_s=60, output=Output(), cwd=tmp_path)
    assert not await is_left_by(starting, tmp_path, moments)


async def test_no_file_handle_is_left_open(call):
    await call("run_command", command="true")
    before = open_handles()
    for _ in range(5):
        await call("run_command", command="echo x")
    assert open_handles() == before


@pytest.mark.parametrize("command", ["", "  ", "echo a\0b"])
async def test_a_line_that_is_no_command_is_refused(call, command):
    assert "give a line for /bin/sh" in (await call("run_command", command=command)).text


async def test_a_line_that_the_system_cannot_start_is_a_result_in_words(call):
    outcome = await call("run_command", command=f"echo {'x' * 200_000}")
    assert outcome.text == "Tool error: The command could not be started: Argument list too long."


async def test_a_person_sees_the_command_and_where_it_will_run(preview, root):
    assert (
        await preview("run_command", command="rm -r old") == f"Run in {root}, for at most 60 s:\n$ rm -r old"
    )


def test_it_is_offered_to_admins_alone_and_only_where_it_is_enabled(configure):
    def offered(role, settings):
        return "run_command" in [tool.name for tool in open_registry(settings).offered(role, None, settings)]

    assert offered("admin", configure())
    assert not offered("user", configure())
    assert not offered("admin", configure("enabled = false"))
    assert not offered("admin", load_settings({}))
    tool = open_registry(configure("timeout_s = 600")).get("run_command")
    assert (tool.confirm, tool.role, tool.timeout_s > 600) == (True, "admin", True)
    assert tool.missing(load_settings({})) == "set enabled = true in [tools.run_command] of twobrain.toml"


@pytest.mark.parametrize(("table", "line"), [("enabled = 'x'", 2), ("enabled = true\nshell = 'zsh'", 3)])
def test_an_unusable_table_is_refused_at_the_start_with_its_line(configure, table, line):
    with pytest.raises(ConfigurationError, match=rf"twobrain\.toml, line {line}: tools\.run_command\."):
        open_registry(configure(table))


KILLED = """
import asyncio, sys
from pathlib import Path
from base.processes import Output, run

async def main():
    env = {"PATH": "/usr/bin:/bin"}
    await run("/bin/sh", "-c", sys.argv[1], env=env, limit_s=600, output=Output(), cwd=Path(sys.argv[2]))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "command",
    [
        *FORKING.values(),
        "env -i sleep 60 & echo $! > child; wait",
        "setsid env --unset=NOTHING sh -c 'echo $$ > child; exec sleep 60' & wait",
    ],
    ids=[*FORKING, "without an environment", "a daemon"],
)
def test_a_command_ends_with_the_process_that_was_killed(tmp_path, command):
    os.mkfifo(tmp_path / "begun")
    line = f"(until [ -s child ]; do :; done; echo > begun) & {command}"
    with subprocess.Popen([sys.executable, "-c", KILLED, line, str(tmp_path)], cwd=HOUSE) as process:
        (tmp_path / "begun").read_text()
        process.kill()
    assert not stays(process_of(tmp_path / "child"))


def test_a_command_ends_with_a_process_that_was_killed_while_it_started_it(tmp_path):
    command = "env -i sleep 60 & echo $! > child; kill -9 $PPID; wait"
    subprocess.run([sys.executable, "-c", KILLED, command, str(tmp_path)], cwd=HOUSE, check=False)
    assert not stays(process_of(tmp_path / "child"))


async def test_each_admins_commands_run_in_their_own_folder_which_shows_the_shared_one(here, root):
    run_command = open_registry(here.settings).get("run_command")
    admin = replace(here, user="alice", user_role="admin")
    args = {"command": "pwd && echo x > mine.txt && echo y > shared/ours.txt && ls"}
    for _ in range(2):
        outcome = await run_tool(run_command, admin, args)
    folder = root / ".people" / "alice"
    assert outcome.text == f"Exit status 0.\n{folder}\nmine.txt\nshared\n".strip()
    assert (root / "shared" / "ours.txt").read_text() == "y\n"
    assert str(folder) in await run_command.preview(admin, args)
