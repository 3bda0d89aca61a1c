"""Private names stay private: ours everywhere, other packages' but where the first line says so."""

import ast
from collections.abc import Iterator

import pytest

from tests.house.modules import BENCHMARKS, FLOORS, MODULES, TESTS, Module, listed


def _private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def _reached_into(module: Module) -> Iterator[str]:
    """Yield where a module uses a name that another package or class keeps to itself."""
    for node in module.nodes:
        match node:
            case ast.Import(names=names) if any(_private(alias.name) for alias in names):
                yield f"{module.at(node)} imports {', '.join(alias.name for alias in names)}"
            case ast.ImportFrom(module=str(source), names=names):
                if _private(source) or any(_private(alias.name) for alias in names):
                    yield f"{module.at(node)} imports {', '.join(f'{source}.{a.name}' for a in names)}"
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]):
                if _private(name):
                    yield f"{module.at(node)} takes {name}"
            case ast.Attribute(attr=name) if "SLF001" in module.lines[node.lineno - 1] and _private(name):
                yield f"{module.at(node)} takes {name}"


def _first_line(module: Module) -> str:
    return (ast.get_docstring(module.tree) or "").split("\n")[0]


@pytest.mark.slow
def test_only_a_file_whose_first_line_says_so_reaches_into_anothers_private_names():
    silent = [
        place
        for module in (*MODULES, *BENCHMARKS, *TESTS)
        if "private" not in _first_line(module).lower()
        for place in _reached_into(module)
    ]
    assert not silent, listed(silent)


def test_our_own_private_names_are_reached_into_nowhere():
    ours = [
        place
        for module in (*MODULES, *BENCHMARKS, *TESTS)
        for place in _reached_into(module)
        if place.split(" imports ")[-1].split(".")[0] in FLOORS
    ]
    assert not ours, listed(ours)
