"""The walk over our own modules that every rule of the house goes by."""

import ast
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = {
    "base": 1,
    "storage": 2,
    "ledger": 3,
    "schedules": 4,
    "models": 4,
    "tools": 5,
    "nodes": 6,
    "graphs": 7,
    "channels": 8,
    "doctor": 9,
    "server": 9,
    "terminal": 10,
    "cli": 11,
}
"""Each room and its floor; a room imports itself and lower floors."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


@dataclass(frozen=True)
class Module:
    """One of our files, read and parsed once."""

    path: Path

    @property
    def place(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def name(self) -> str:
        return self.place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def room(self) -> str:
        return self.name.split(".")[0]

    @cached_property
    def source(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def lines(self) -> list[str]:
        return self.source.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @property
    def functions(self) -> Iterator[Function]:
        return (node for node in self.nodes if isinstance(node, Function))

    @property
    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in self.nodes if isinstance(node, ast.ClassDef))

    @property
    def documented(self) -> Iterator[Documented]:
        return (node for node in self.nodes if isinstance(node, Documented))

    @cached_property
    def imported(self) -> tuple[str, ...]:
        """The name of every imported module, inside functions too; a relative one begins with a dot."""
        return tuple(name for node in self.nodes for name in _imported(node))

    @cached_property
    def uses(self) -> frozenset[str]:
        """The dotted names that an import may mean: `from a import b` is `a` and `a.b`."""
        names = (
            f"{node.module}.{alias.name}"
            for node in self.nodes
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        )
        return frozenset((*self.imported, *names))

    def at(self, node: ast.AST) -> str:
        return f"{self.place}:{getattr(node, 'lineno', 1)}"

    def code_lines(self, node: Function | None = None) -> int:
        """Count the lines that are neither blank, comment nor docstring, of a function or of the whole."""
        first, last = (node.lineno, node.end_lineno) if node else (1, None)
        lines = enumerate(self.lines[first - 1 : last], first)
        return sum(1 for n, line in lines if n not in self._words and line.strip() and line.strip()[0] != "#")

    @cached_property
    def _words(self) -> frozenset[int]:
        return frozenset(
            line
            for node in self.nodes
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        )


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield "." * node.level + (node.module or "")


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that the repository holds."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file())


def listed(offenders: Iterable[str]) -> str:
    """Return what a failing rule prints: all offenders, one a line."""
    return "\n" + "\n".join(offenders)


def _modules(*folders: str) -> list[Module]:
    paths = (
        path
        for folder in folders
        for path in (ROOT / f"{folder}.py", *ROOT.glob(f"{folder}/**/*.py"))
        if path.is_file()
    )
    return [Module(path) for path in sorted(paths)]


MODULES = _modules(*FLOORS)
TESTS = _modules("tests")
BENCHMARKS = _modules("benchmarks")
