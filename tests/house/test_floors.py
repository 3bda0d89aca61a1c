"""The house stands as it is drawn: floors, imports, sizes, pins."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from graphs.shadowing import OURS, check_house

HOUSE = Path(__file__).parents[1]
FLOORS = {
    "base": 1,
    "storage": 2,
    "ledger": 3,
    "models": 4,
    "tools": 4,
    "nodes": 5,
    "graphs": 6,
    "doctor": 7,
    "server": 7,
    "terminal": 8,
    "cli": 9,
}
MODULES = sorted(
    path
    for room in FLOORS
    for path in (HOUSE / f"{room}.py", *HOUSE.glob(f"{room}/**/*.py"))
    if path.is_file()
)
TRACKED = [
    path
    for name in subprocess.run(
        ["git", "ls-files"], cwd=HOUSE, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    if (path := HOUSE / name).is_file()
]

each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOUSE)))


def _name(path: Path) -> str:
    place = path.relative_to(HOUSE).with_suffix("")
    return ".".join(place.parts).removesuffix(".__init__")


def _imported(path: Path) -> Iterator[str]:
    """Yield the name of every imported module, inside functions too; a relative one begins with a dot."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def _code_lines(tree: ast.AST, source: str) -> int:
    """Count the lines that are neither blank, comment nor docstring."""
    words = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    first, last = getattr(tree, "lineno", 1), getattr(tree, "end_lineno", None)
    lines = list(enumerate(source.splitlines(), 1))[first - 1 : last]
    return sum(1 for n, line in lines if n not in words and line.strip() and not line.strip().startswith("#"))


def test_every_module_of_the_house_stands_on_a_floor():
    packed = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["setuptools"]
    rooms = {*(each.rstrip("*") for each in packed["packages"]["find"]["include"]), *packed["py-modules"]}
    assert rooms == {_name(path).split(".")[0] for path in MODULES}
    top_level = {path.relative_to(HOUSE).parts[0] for path in TRACKED if path.suffix == ".py"}
    assert top_level <= {*FLOORS, *(f"{name}.py" for name in FLOORS), "tests", "benchmarks", "docs"}


@each_module
def test_a_room_imports_only_itself_and_lower_floors(path):
    room = _name(path).split(".")[0]
    above = [
        name
        for name in _imported(path)
        if (other := name.split(".")[0]) != room and FLOORS.get(other, -1) >= FLOORS[room]
    ]
    assert above == []


@each_module
def test_no_import_is_relative(path):
    assert [name for name in _imported(path) if name.startswith(".")] == []


@each_module
def test_modules_and_functions_stay_short(path):
    source = path.read_text()
    tree = ast.parse(source)
    assert _code_lines(tree, source) <= 200
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {f.name: size for f in functions if (size := _code_lines(f, source)) > 40} == {}


def test_each_of_our_names_resolves_to_our_file_and_is_watched():
    check_house()
    assert {*OURS, "cli", "server"} >= FLOORS.keys()


def _in_a_bare_process(script: str, directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=directory,
        env={"PATH": os.defpath, "HOME": str(directory), "PYTHONPATH": str(HOUSE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


WATCHED_IMPORT = """
import os, sys
from importlib import import_module

def watch(event, args):
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    acts = event in {"os.mkdir", "os.remove", "sqlite3.connect", "socket.connect", "subprocess.Popen"}
    if (writes and args[0] != os.devnull) or acts:
        print(event, args)

sys.dont_write_bytecode = True
sys.addaudithook(watch)
"""


def test_importing_any_module_does_nothing(tmp_path):
    imports = "".join(f"import_module({_name(path)!r})\n" for path in MODULES)
    assert _in_a_bare_process(WATCHED_IMPORT + imports, tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["graphs.orchestrator", "graphs.session"])
def test_opening_the_graph_loads_no_providers_package(module, tmp_path):
    loaded = _in_a_bare_process(f"import sys, {module}\nprint(*sys.modules)", tmp_path).split()
    providers = ("langchain_google_genai", "langchain_openai", "langchain_anthropic", "openai", "anthropic")
    assert [name for name in loaded if name in providers or name.startswith("google.genai")] == []


def test_the_terminal_loads_nothing_that_only_some_turns_use(tmp_path):
    loaded = _in_a_bare_process("import sys, terminal.commands.ask\nprint(*sys.modules)", tmp_path).split()
    idle = {
        "numpy",
        "aiosqlite",
        "mcp",
        "tools.mcp.servers",
        "prompt_toolkit",
        "sqlalchemy.dialects.postgresql",
    }
    assert idle & set(loaded) == set()


def test_the_tests_are_no_packages_for_those_would_hide_the_rooms():
    assert list((HOUSE / "tests").rglob("__init__.py")) == []


def test_the_server_finds_the_orchestrator():
    graphs = json.loads((HOUSE / "langgraph.json").read_text())["graphs"]
    file, name = graphs["orchestrator"]["path"].split(":")
    assert (HOUSE / file).is_file()
    assert f"\n{name} = " in (HOUSE / file).read_text()


def _needed(requirements: list[str], extras: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the distributions that requirements bring into this environment, their own included."""
    queue = [(Requirement(text), extras) for text in requirements]
    seen = set()
    while queue:
        wanted, extras = queue.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        holds = wanted.marker is None or any(wanted.marker.evaluate({"extra": e}) for e in extras | {""})
        if not holds or key in seen:
            continue
        seen.add(key)
        yield key[0]
        queue += [(Requirement(r), key[1]) for r in importlib.metadata.requires(wanted.name) or []]


def test_every_distribution_of_a_fresh_install_is_pinned_to_what_is_tested():
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    lines = (HOUSE / "constraints.txt").read_text().split()
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    needed = set(_needed([*project["dependencies"], *project["optional-dependencies"]["dev"]]))
    assert {name: importlib.metadata.version(name) for name in needed} == {n: pins.get(n) for n in needed}


def test_no_lock_file_and_no_index_address_is_kept():
    locks = ("uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "pylock.toml")
    assert [path for path in TRACKED if path.name in locks] == []
    address = re.compile(r"(index|find)-(url|links)\b|pythonhosted|https?://\S+/simple\b")
    others = [path for path in TRACKED if path != Path(__file__)]
    assert [path for path in others if address.search(path.read_text(errors="replace"))] == []
    assert "/" not in (HOUSE / "constraints.txt").read_text()
