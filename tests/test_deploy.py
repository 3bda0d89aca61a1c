"""What docs/deploy.md says, and the files beside it: run where that can be done here, else read."""

import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "deploy"
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
IMAGE = (FOLDER / "aegra.Dockerfile").read_text(encoding="utf-8")
UNIT = (FOLDER / "twobrain.service").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
SECRET = (".env", ".env.local", "twobrain.toml", ".git/config", ".venv/bin/python", ".langgraph_api/x.pckl")
LEFT_OUT = (*SECRET, "ledger.db", "ledger.db-wal", "tests/conftest.py", "base/__pycache__/errors.pyc")


def tried() -> list[str]:
    """Return the blocks of the page that can be run where there is no systemd."""
    return re.findall(r"^```sh try\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_commands_for_one_machine_do_what_is_said_one_after_the_other(tmp_path):
    stubs = tmp_path / "opt" / "twobrain" / ".venv" / "bin"
    stubs.mkdir(parents=True)
    for name in ("systemctl", "git", "pip"):
        (stubs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/called\n')
        (stubs / name).chmod(0o755)
    environ = {
        "PATH": f"{stubs}:{BIN}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "BACKUPS": str(tmp_path / "backups"),
        "OUT": str(tmp_path),
        "TWOBRAIN_DATA_DIR": str(tmp_path / "data"),
        "TWOBRAIN_CONFIG": str(tmp_path / "twobrain.toml"),
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    }
    (tmp_path / "twobrain.toml").touch()

    def run(script: str) -> str:
        moved = script.replace("/opt/twobrain", str(tmp_path / "opt" / "twobrain"))
        done = subprocess.run(
            ["sh", "-e", "-c", moved], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, script + done.stdout + done.stderr
        return done.stdout + done.stderr

    run("twobrain ask 'write \"buy milk\" to list.txt' --yes")
    said = "".join(run(block) for block in tried())
    assert said.count("Backed up ") == 2
    assert said.count("Restored to ") == 2
    assert "Up to date: schema" in said
    assert (tmp_path / "backups" / "check" / "workspace" / "list.txt").read_text() == "buy milk"
    assert (tmp_path / "Dockerfile").exists()
    assert len(list(tmp_path.glob("data.before-*"))) == 1
    called = (tmp_path / "called").read_text().splitlines()
    assert called.count("systemctl stop twobrain") == called.count("systemctl start twobrain") == 2


def test_every_twobrain_command_of_the_page_exists():
    from terminal.upkeep_app import app

    commands = {command.callback.__name__ for command in app.registered_commands if command.callback}
    named = set(re.findall(r"(?:^|[ `(/])twobrain ([a-z]+)\b", PAGE, re.MULTILINE))
    assert named >= {"backup", "restore", "migrate", "doctor", "serve", "pending"}
    assert named - commands == {"pull"}  # git's, of a folder of that name


def test_the_unit_updates_the_tables_before_it_serves_on_loopback():
    found = dict(re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE))
    assert found["ExecStartPre"].endswith("/twobrain migrate")
    assert re.fullmatch(r"\S+/twobrain serve --port \d+", found["ExecStart"])
    assert int(found["TimeoutStopSec"]) >= 30
    assert (found["UMask"], found["StateDirectoryMode"], found["User"]) == ("0077", "0700", "twobrain")
    for name in ("WorkingDirectory", "EnvironmentFile"):
        assert found[name] in PAGE
    if analyze := shutil.which("systemd-analyze"):
        said = subprocess.run(
            [analyze, "verify", FOLDER / "twobrain.service"], capture_output=True, text=True, check=False
        )
        wrong = [line for line in said.stderr.splitlines() if "twobrain.service" in line]
        assert [line for line in wrong if "is not executable" not in line] == []


@pytest.mark.parametrize("file", ["Caddyfile", "nginx.conf"])
def test_the_proxies_stream_and_wait_for_the_server_on_loopback(file):
    text = (FOLDER / file).read_text(encoding="utf-8")
    assert "127.0.0.1:2024" in text
    assert re.search(r"flush_interval -1|proxy_buffering off", text)
    assert re.search(r"read_timeout 1h", text)
    assert text.count("{") == text.count("}")


def test_the_workers_have_every_setting_that_the_page_names_and_start_after_the_tables_are_made():
    table = dict(re.findall(r"^\| `(\w+)`(?:, `\w+`)? \| `?([^`|]+?)`?(?:,[^|]*)? \| ", PAGE, re.MULTILINE))
    assert {"AUTH_TYPE", "AEGRA_CONFIG", "AEGRA_CHECKPOINT_DURABILITY"} <= table.keys()
    worker = COMPOSE["services"]["worker"]
    given = dict(re.findall(r"(\w+)=([^\s\\]+)", IMAGE)) | worker["environment"]
    for name, value in table.items():
        if name != "WORKER_COUNT":
            assert name in given
            told = "…" in value or " " in value or name == "AEGRA_CONFIG"
            assert told or given[name] == value
    assert given["AEGRA_CONFIG"] == "/app/langgraph.json"
    assert given["DATABASE_URL"] == given["TWOBRAIN_DATABASE_URL"]
    assert worker["deploy"]["replicas"] == 2
    assert worker["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert COMPOSE["services"]["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert "twobrain migrate && " in COMPOSE["services"]["migrate"]["command"][-1]
    named = {volume for service in COMPOSE["services"].values() for volume in service.get("volumes", ())}
    assert {volume.split(":")[0] for volume in named} == COMPOSE["volumes"].keys()
    assert "useradd" in IMAGE
    assert "USER twobrain" in IMAGE


def test_no_password_and_no_key_stands_in_a_file_of_the_deployment():
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?i)(password|key|token)\s*[:=]\s*[\"']?[a-z0-9]{4}", text), path.name
    assert "${POSTGRES_PASSWORD:?}" in COMPOSE["x-twobrain"]["environment"]["DATABASE_URL"]


def test_an_image_holds_every_room_and_nothing_of_whoever_builds_it():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.removeprefix("**/") for line in lines if line and not line.startswith("#")]

    def is_ignored(name: str) -> bool:
        parts = name.split("/")
        return any(fnmatch(part, pattern) for part in parts for pattern in patterns)

    assert [name for name in LEFT_OUT if not is_ignored(name)] == []
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    rooms = [name for name in listed.stdout.split() if not name.startswith(("tests/", "benchmarks/", "."))]
    assert [name for name in rooms if is_ignored(name)] == []
    assert {"pyproject.toml", "langgraph.json", "README.md", "LICENSE"} <= set(rooms)


@pytest.mark.slow
def test_the_official_image_is_made_of_what_langgraph_json_names(tmp_path):
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
    command = [BIN / "langgraph", "dockerfile", tmp_path / "Dockerfile"]
    subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, check=True)
    text = (tmp_path / "Dockerfile").read_text()
    declared = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))
    assert text.startswith("FROM langchain/langgraph-api:3.")
    assert "\nADD . /deps/" in text
    assert "psycopg[binary,pool]" in text
    for table, key in (("auth", "path"), ("http", "app"), ("checkpointer", "path"), ("store", "path")):
        assert declared[table][key].removeprefix("./") in text
    assert declared["graphs"]["orchestrator"]["path"].removeprefix("./") in text
    for name in declared["env"]:  # it does not come into the image, so the page has it given
        assert name not in text
        assert f"-e {name}=" in PAGE
    assert [
        line for line in text.splitlines() if re.match(r"RUN .*[^'\"]>=", line)
    ] == []  # a shell's redirection
