import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BEHAVIOURS = (ROOT / "docs" / "behaviours.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TASKS = re.findall(r"^\| (.+) \| `([\w/]+\.py)` \| `(\w+)` \|$", CONTRIBUTING, re.MULTILINE)
"""Each everyday task, the file that answers it, and the name to look for there."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_pages_say_what_the_code_declares():
    from docs.generate import PAGES, generated

    for page in PAGES:
        assert generated(page) == page.read_text(encoding="utf-8"), "run .venv/bin/python docs/generate.py"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("server/page/static/app.css", ""),
        ("server/page/static/index.html", ""),
        ("server/page/static/form.js", "LONGEST_PATTERN"),
        ("terminal/commands/audit.py", "_COLUMNS"),
        ("terminal/commands/chat.py", "_COMMANDS"),
        ("storage/backup.py", "_LEFT_OUT"),
        ("base/redaction.py", "_SHAPES"),
        ("channels/dialogue.py", "_CODE"),
        ("nodes/prompt/tool_choice.py", "CORE"),
        ("channels/runner.py", "_FLOOD"),
        ("base/settings.py", "quiet_hours"),
        ("tools/mcp/config.py", "connect_timeout_s"),
        ("tools/policy/decision.py", "_NO_TOOL"),
        ("server/completions/request_shapes.py", "MODEL_NAME"),
    ],
)
def test_the_table_of_files_shows_what_a_maintainer_looks_for(path, name):
    (row,) = re.findall(rf"^\| `{re.escape(path)}` \| \S.* \| (.*) \|$", CONTRIBUTING, re.MULTILINE)
    assert not name or re.search(rf"\b{name}\b", row)


def test_the_readme_is_read_in_one_go():
    assert len(README.splitlines()) <= 200


@pytest.mark.slow
def test_what_the_readme_shows_of_the_terminal_is_what_it_prints(tmp_path):
    (task,) = re.findall(r"^\.venv/bin/(twobrain ask .*)$", README, re.MULTILINE)
    (shown,) = blocks("console")
    card, answered = re.split(r"y=approve .*\n", shown)

    told = _words(_asked(task, tmp_path, "--thread", "shown", code=3))
    whose_and_where = re.compile(r"Asked by you, in “.*?” (?=I'd)|The file is .*?(?=Write )")
    assert len(whose_and_where.findall(told)) == 2
    assert _words(card) in whose_and_where.sub("", told)
    printed = _words(_asked("twobrain approve shown", tmp_path))
    assert all(_words(line) in printed for line in answered.splitlines())


def test_every_make_target_that_the_readme_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake (\w+)", README)) - {"it"}
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))

    assert {"demo", "test"} <= named <= targets


def test_every_file_that_the_docs_link_to_exists():
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md", ROOT / "AGENTS.md"]:
        links = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8"))
        missing = [link for link in links if not (page.parent / link).exists()]
        assert not missing, f"{page.name} links to {missing}"


def test_every_file_of_ours_that_the_docs_name_exists():
    made_up = {"tools/garden.py", "models/providers/acme.py", "__init__.py"}
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", page.read_text(encoding="utf-8")))
        assert {name for name in named - made_up if not (ROOT / name).exists()} == set(), page.name


def test_the_everyday_tasks_are_answered_once_each():
    assert len({task for task, _, _ in TASKS}) == len(TASKS) >= 25


@pytest.mark.parametrize(("task", "path", "name"), TASKS, ids=[task for task, _, _ in TASKS])
def test_the_file_that_answers_an_everyday_task_holds_what_it_is_said_to(task, path, name):
    defined = re.compile(rf"^(?:(?:async )?def |class )?{name}\b(?=[\[(:= ])", re.MULTILINE)
    assert defined.search((ROOT / path).read_text(encoding="utf-8"))


def test_every_folder_of_the_house_is_drawn():
    for line in subprocess.run(
        ["git", "ls-files", "*/__init__.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines():
        assert f"| `{line.removesuffix('__init__.py')}` |" in CONTRIBUTING


def test_the_glossary_is_read_in_a_minute():
    (terms,) = re.findall(r"## The terms\n\n(.*?)\n\n", CONTRIBUTING, re.DOTALL)
    assert 12 <= len(terms.splitlines()) <= 25


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines()])
def test_every_twobrain_command_of_the_readme_is_understood(line, tmp_path):
    if not line.startswith(".venv/bin/twobrain"):
        assert line.startswith("make ")
        return
    assert "buy milk" in _asked(line, tmp_path, "--yes")


@pytest.mark.slow
def test_the_python_example_of_the_readme_runs(tmp_path):
    example = next(block for block in blocks("python") if "open_orchestrator" in block)
    script = tmp_path / "example.py"
    script.write_text(example, encoding="utf-8")
    printed = _printed([str(script)], ROOT, tmp_path)

    assert "I wrote “milk” to `list.txt`" in printed
    assert "Done(" in printed


def test_the_tool_example_of_the_readme_declares_a_tool_that_asks():
    example = next(block for block in blocks("python") if "@tool" in block)
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    (water,) = names["TOOLS"]

    assert (water.name, water.confirm, list(water.parameters["properties"])) == ("water", True, ["plant"])


@pytest.mark.slow
def test_the_tool_example_of_the_readme_is_tried_without_keys_as_the_readme_says(tmp_path):
    checkout = tmp_path / "checkout"
    for name in subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines():
        if not name.startswith(("tests/", "benchmarks/", "docs/")) and (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    (checkout / "tools" / "garden.py").write_text(
        next(block for block in blocks("python") if "@tool" in block), encoding="utf-8"
    )
    lint = [Path(sys.executable).parent / "ruff", "check", "--config", ROOT / "pyproject.toml"]
    linted = subprocess.run([*lint, "tools/garden.py"], cwd=checkout, capture_output=True, check=False)
    assert linted.returncode == 0, linted.stdout
    registry = checkout / "tools" / "registry.py"
    listed = registry.read_text(encoding="utf-8").replace(
        "from tools.declaration", "from tools import garden\nfrom tools.declaration"
    )
    listed = listed.replace("*find_tools.TOOLS,", "*find_tools.TOOLS, *garden.TOOLS,")
    registry.write_text(listed, encoding="utf-8")

    (command,) = re.findall(r"`\.venv/bin/(twobrain ask 'use water .*?')`", README)
    arguments = ["-c", "import cli; cli.main()", *shlex.split(command)[1:], "--yes"]
    assert "`water` returned: Watered the fern for local." in _printed(arguments, checkout, tmp_path)


def _printed(arguments: list[str], checkout: Path, folder: Path) -> str:
    """Return what Python prints on these arguments, with a checkout's modules and a home of its own."""
    environ = {**_environment(folder), "PYTHONPATH": str(checkout)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_configuration_is_accepted(tmp_path):
    from base.settings import load_settings

    settings = load_settings({"TWOBRAIN_CONFIG": str(ROOT / "twobrain.example.toml"), "HOME": str(tmp_path)})
    assert set(settings.roles) == {"orchestrator", "chat"}


def test_each_behaviour_names_tests_that_exist_and_make_test_runs_one():
    rows = re.findall(r"^\| (\d+) \|.*$", BEHAVIOURS, re.MULTILINE)
    assert len(rows) >= 18
    assert [int(number) for number in rows] == list(range(1, len(rows) + 1))
    for line in re.findall(r"^\| .*`tests/.*$", BEHAVIOURS, re.MULTILINE):
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", line)
        decorated = [_decorators(path, test) for path, test in named]
        assert any("pytest.mark.slow" not in each for each in decorated), f"make test does not show: {line}"


def test_the_table_of_providers_names_tests_and_cases_that_exist():
    page = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    assert "\N{EN DASH}" not in page, "a cell says nothing"
    letters = dict(re.findall(r"^\| ([A-Z]) \| (.*) \|$", page, re.MULTILINE))
    for path, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page):
        _decorators(path, test)
    cases = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*/**/*.py"))
    for letter, names in re.findall(r"(?<=[|,] )([A-Z])(?= )((?:,? `[^`]+`)*)", page.split("“Its words”")[0]):
        assert letter in letters
        assert all(f'"{name}"' in cases for name in re.findall(r"`([^`]+)`", names)), (letter, names)


def _decorators(path, test):
    """Return what stands over a test of a file: its decorators."""
    source = (ROOT / path).read_text(encoding="utf-8")
    found = re.search(rf"((?:^[@ )].*\n)*)^ *(?:async )?def {test}\(", source, re.MULTILINE)
    assert found, f"{path}::{test}"
    return re.findall(r"^@([\w.]+)", found[1], re.MULTILINE)


def _asked(line, home, *options, code=0):
    """Return what a twobrain command of the README prints, ended with an exit code."""
    command = [str(Path(sys.executable).parent / "twobrain"), *shlex.split(line)[1:], *options]
    done = subprocess.run(
        command, env=_environment(home), cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def _words(shown):
    """Return what stands on a screen without its frames and its line breaks."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", shown).split())


def _environment(tmp_path):
    return {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TWOBRAIN_DATA_DIR": str(tmp_path / "data")}
