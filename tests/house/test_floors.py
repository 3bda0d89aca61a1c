"""The rooms stand on their floors, and importing them does nothing."""

import json
import os
import subprocess
import sys
import tomllib

import pytest

from graphs.shadowing import PACKAGES, check_shadowing
from tests.house.modules import FLOORS, MODULES, ROOT, tracked


def test_every_module_of_the_house_stands_on_a_floor():
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    rooms = {*(each.rstrip("*") for each in packed["packages"]["find"]["include"]), *packed["py-modules"]}
    assert rooms == {module.room for module in MODULES}
    top_level = {path.relative_to(ROOT).parts[0] for path in tracked() if path.suffix == ".py"}
    assert top_level <= {*FLOORS, *(f"{name}.py" for name in FLOORS), "tests", "benchmarks", "docs"}


def test_a_room_imports_only_itself_and_lower_floors():
    above = [
        f"{module.place} imports {name}"
        for module in MODULES
        for name in module.imported
        if (other := name.split(".")[0]) != module.room and FLOORS.get(other, -1) >= FLOORS[module.room]
    ]
    assert above == []


def test_no_import_is_relative():
    relative = [f"{module.place} imports {name}" for module in MODULES for name in module.imported]
    assert [line for line in relative if " ." in line] == []


def test_each_of_our_names_resolves_to_our_file_and_is_watched():
    check_shadowing()
    assert {*PACKAGES, "cli", "server"} >= FLOORS.keys()


IMPORTING = """
import json, os, sys
from importlib import import_module

def watch(event, args):
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    acts = event in {"os.mkdir", "os.remove", "sqlite3.connect", "socket.connect", "subprocess.Popen"}
    if (writes and args[0] != os.devnull) or acts:
        print(event, args, file=sys.stderr)

sys.dont_write_bytecode = True
sys.addaudithook(watch)
loaded = {}
for name in sys.argv[1:]:
    import_module(name)
    loaded.setdefault(name, [*sys.modules])
print(json.dumps(loaded))
"""
OPENS = ("terminal.commands.ask", "graphs.orchestrator", "graphs.session")
"""What the terminal, a graph and a program begin with, imported in this order and before all others."""


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> tuple[str, dict[str, list[str]]]:
    """Import every module in a bare process; return what it printed, and what each import had loaded."""
    folder = tmp_path_factory.mktemp("bare")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING, *OPENS, *(module.name for module in MODULES)],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *printed, loaded = done.stdout.splitlines()
    left = [path.name for path in folder.iterdir()]
    return "\n".join([*printed, done.stderr, *left]), json.loads(loaded)


@pytest.mark.slow
def test_importing_any_module_does_nothing(imported):
    did, loaded = imported
    assert did == ""
    assert loaded.keys() == {module.name for module in MODULES}


@pytest.mark.slow
@pytest.mark.parametrize("module", OPENS)
def test_opening_the_graph_loads_no_providers_package(module, imported):
    _, loaded = imported
    providers = ("langchain_google_genai", "langchain_openai", "langchain_anthropic", "openai", "anthropic")
    assert [n for n in loaded[module] if n in providers or n.startswith("google.genai")] == []


@pytest.mark.slow
def test_the_terminal_loads_nothing_that_only_some_turns_use(imported):
    _, loaded = imported
    idle = {
        "numpy",
        "aiosqlite",
        "mcp",
        "tools.mcp.servers",
        "prompt_toolkit",
        "sqlalchemy.dialects.postgresql",
    }
    assert idle & set(loaded["terminal.commands.ask"]) == set()


def test_the_tests_are_no_packages_for_those_would_hide_the_rooms():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_the_server_finds_the_orchestrator():
    graphs = json.loads((ROOT / "langgraph.json").read_text())["graphs"]
    file, name = graphs["orchestrator"]["path"].split(":")
    assert (ROOT / file).is_file()
    assert f"\n{name} = " in (ROOT / file).read_text()
