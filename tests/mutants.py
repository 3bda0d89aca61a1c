"""Change the code of promises at random; see whether a test notices.

    python -m tests.mutants 150 --seed 1

Prints what became of each mutant. Only the tests that its room's line names are run, the quick ones first.
"""

import argparse
import ast
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import pytest

from tests.house.modules import ROOT as HOUSE

_REPLAYS = "tests/behaviour/test_replayed_writes.py tests/behaviour/test_replays.py"
_GATE = f"tests/behaviour/gate tests/behaviour/turn tests/behaviour/crashes {_REPLAYS}"
_ROOMS = {
    "tools/policy/*": "tests/tools/policy tests/behaviour/gate",
    "nodes/gate/*": f"{_GATE} tests/server/test_queued_answers.py",
    "ledger/c*": f"tests/ledger tests/behaviour/crashes {_REPLAYS} tests/behaviour/gate",
    "ledger/decisions.py": f"tests/ledger tests/behaviour/gate tests/behaviour/crashes {_REPLAYS}",
    "storage/thread_lock.py": "tests/graphs tests/behaviour/crashes tests/terminal/stopped",
    "storage/checkpoints/saver.py": "tests/storage tests/graphs tests/behaviour/crashes",
    "models/call.py": "tests/models tests/wires tests/behaviour/test_fallbacks.py tests/behaviour/prompt "
    "tests/behaviour/turn tests/behaviour/crashes",
    "tools/web/guard.py": "tests/tools/web tests/tools/policy",
    "server/*": "tests/server",
}
_SWAPS: dict[type[Any], type[Any]] = {
    ast.In: ast.NotIn,
    ast.Is: ast.IsNot,
    ast.Eq: ast.NotEq,
    ast.And: ast.Or,
}
_SWAPS |= {there: here for here, there in _SWAPS.items()}
_SWAPS |= {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
}
_LONGEST_S = 900.0


class Mutant(NamedTuple):
    """A node of a file, and what stands there instead."""

    path: str
    node: Any
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.node.lineno}: {ast.unparse(self.node)}  ->  {self.text}"


def _instead(node: Any) -> str | None:
    """Return what may stand in a node's place; None: nothing."""
    text = None
    match node:
        case ast.Compare(left, [op], [right]) if type(op) in _SWAPS:
            text = f"({ast.unparse(ast.Compare(left, [_SWAPS[type(op)]()], [right]))})"
        case ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in _SWAPS:
            there = {**vars(node), "op": _SWAPS[type(op)]()}
            text = f"({ast.unparse(type(node)(**there))})"
        case ast.UnaryOp(ast.Not(), operand):
            text = f"({ast.unparse(operand)})"
        case ast.Constant(bool() | int() | float() as value):
            text = str(not value if isinstance(value, bool) else value + 1)
        case ast.IfExp(test, body, other):
            text = f"({ast.unparse(ast.IfExp(test, other, body))})"
        case ast.Return(value=value) if value is not None and ast.unparse(value) != "None":
            text = "return None"
        case ast.Raise() | ast.Assign() | ast.AugAssign() | ast.Expr(ast.Call() | ast.Await()):
            text = "pass"
    return text


def _mutants() -> Iterator[Mutant]:
    """Yield every mutant of the rooms, inside functions."""
    for path in sorted(path for pattern in _ROOMS for path in HOUSE.glob(pattern) if path.suffix == ".py"):
        tree = ast.parse(path.read_bytes())
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        for node in {n: None for function in functions for part in function.body for n in ast.walk(part)}:
            if text := _instead(node):
                yield Mutant(str(path.relative_to(HOUSE)), node, text)


def _notice(mutant: Mutant, copy: Path) -> str | None:
    """Return the test that fails in a copy of the house with the mutant, and not without it."""
    place, node = copy / mutant.path, mutant.node
    whole = place.read_bytes()
    lines = whole.splitlines(keepends=True)
    start = len(b"".join(lines[: node.lineno - 1])) + node.col_offset
    end = len(b"".join(lines[: node.end_lineno - 1])) + node.end_col_offset
    tests = next(tests for pattern, tests in _ROOMS.items() if fnmatch(mutant.path, pattern))
    place.write_bytes(whole[:start] + mutant.text.encode() + whole[end:])
    try:
        failed = _failure(["--quick", *tests.split()], copy) or _failure(tests.split(), copy)
    finally:
        place.write_bytes(whole)
    alone = [failed] if failed and "::" in failed else []
    if alone and _failure(alone, copy):
        raise RuntimeError(f"{failed} fails without {mutant}, too")
    return failed


def _failure(tests: list[str], copy: Path) -> str | None:
    """Return the first test that fails, or what ended them all; None: none failed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    env = {**os.environ, "PYTHONPATH": str(copy)}
    with suppress(subprocess.TimeoutExpired):
        ended = subprocess.run(
            command, cwd=copy, env=env, capture_output=True, text=True, timeout=_LONGEST_S, check=False
        )
        named = re.search(r"^(?:FAILED|ERROR) (tests/.+?)(?: - |$)", ended.stdout, re.MULTILINE)
        failed = ended.returncode not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
        return (named[1] if named else "a run that broke off") if failed else None
    return "a run that did not end"


def main() -> None:
    """Try a random sample of mutants, as many at once as there are cores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at", default="", help="only those of the sample in whose line this stands")
    asked = parser.parse_args()
    everyone = list(_mutants())
    sample = random.Random(asked.seed).sample(everyone, asked.count)
    sample = [mutant for mutant in sample if asked.at in str(mutant)]
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(cores) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(cores):
            copies.put(Path(folder, str(number)))
            subprocess.run(["git", "clone", "-q", HOUSE, f"{folder}/{number}"], check=True)

        def tried(mutant: Mutant) -> bool:
            copy = copies.get()
            try:
                test = _notice(mutant, copy)
                print(f"noticed  {mutant}  by {test}" if test else f"SURVIVED {mutant}", flush=True)  # noqa: T201 (it is what it is run for)
            except RuntimeError as error:
                test = None
                print(f"UNCLEAR  {error}", flush=True)  # noqa: T201
            finally:
                copies.put(copy)
            return bool(test)

        noticed = sum(pool.map(tried, sample))
    print(f"{noticed} of {len(sample)} were noticed; there are {len(everyone)} in all.")  # noqa: T201


if __name__ == "__main__":
    main()
