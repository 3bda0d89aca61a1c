import os
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]


def run(*args, home, path=HOUSE, options=(), before="pass"):
    return subprocess.run(
        [sys.executable, *options, "-c", f"{before}; import cli; cli.main()", *args],
        capture_output=True,
        text=True,
        env={"PATH": os.defpath, "PYTHONPATH": str(path), "HOME": str(home)},
        cwd=home,
        timeout=180,
        check=False,
    )


def test_help_lists_every_command_without_loading_langgraph_or_pydantic(tmp_path):
    done = run("--help", home=tmp_path, options=("-X", "importtime"))
    assert done.returncode == 0
    for command in (
        "ask",
        "chat",
        "pending",
        "approve",
        "reject",
        "resume",
        "threads",
        "usage",
        "audit",
        "doctor",
    ):
        assert f" {command} " in done.stdout
    assert "typer" in done.stderr
    for heavy in ("langgraph", "pydantic", "sqlalchemy", "prompt_toolkit"):
        assert heavy not in done.stderr


@pytest.mark.parametrize(
    "args", [("asks", "x"), ("ask",), ("ask", "x", "--path", "sideways"), ("usage", "--by", "x")]
)
def test_a_command_line_that_cannot_be_read_ends_with_code_2(tmp_path, args):
    done = run(*args, home=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "Value error" not in done.stderr, "that is a program's word"


@pytest.mark.parametrize("name", ["graphs", "nodes", "tools", "models", "ledger", "storage", "base"])
def test_a_package_of_another_distribution_that_hides_ours_is_named(tmp_path, name):
    intruder = tmp_path / "installed" / name
    intruder.mkdir(parents=True)
    (intruder / "__init__.py").touch()
    done = run("tools", home=tmp_path, path=f"{intruder.parent}{os.pathsep}{HOUSE}")
    assert done.returncode == 2
    assert str(intruder) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_command_ends_without_a_last_look_through_all_that_it_loaded(tmp_path):
    told_at_the_end = "atexit.register(lambda: print('to look through:', len(gc.get_objects())))"
    done = run("tools", home=tmp_path, before=f"import atexit, gc; {told_at_the_end}")
    assert done.returncode == 0
    assert int(done.stdout.rpartition("to look through:")[2]) < 1_000


@pytest.mark.slow
def test_the_server_without_its_packages_is_asked_for_by_name(tmp_path):
    done = run("serve", home=tmp_path, before="import sys; sys.modules['langgraph_api'] = None")
    assert done.returncode == 2
    assert "The server needs its extra." in done.stderr
    assert "-m pip install -c constraints.txt -e '.[server]'" in " ".join(done.stderr.split())
