"""Nothing grows past what one reads at a time, and nothing small stands apart for no reason."""

from collections import Counter
from fnmatch import fnmatch

from tests.house.modules import BENCHMARKS, MODULES, ROOT, Module, listed, tracked

MODULE_LINES, FUNCTION_LINES = 300, 40  # of code
FOLDER_FILES = 15
ROOMS_LINES, BENCHMARKS_LINES = 44_800, 2_070  # docstrings and blank ones too
SMALL_LINES = 80
STANDS_ALONE = {
    "cli": "the command itself",
    "ledger.*": "the operations on one table",
    "graphs.orchestrator": "langgraph.json names it",
    "graphs.routes": "every fork of the picture, as the orchestrator is every step",
    "models.providers.*": "a provider is one file",
    "nodes.prompt.fences": "the fence around untrusted content is looked for by its name",
    "nodes.*": "a step bears the name it has in the graph",
    "terminal.commands.*": "a command is one file that bears its name",
    "terminal.commands.setup.*": "as above",
    "terminal.commands.upkeep.*": "as above",
    "terminal.commands.conversations.*": "as above",
    "tools.*": "a family of tools is one file that the registry lists",
    "tools.*.tools": "or one file of a folder",
}
"""Modules, by pattern without a dot in `*`, that may be small though only one module imports them."""


def test_modules_and_functions_stay_short():
    sizes = {module.place: module.code_lines() for module in MODULES}
    long = [f"{name}: {lines}" for name, lines in sizes.items() if lines > MODULE_LINES]
    long += [
        f"{module.at(function)} {function.name}: {lines}"
        for module in MODULES
        for function in module.functions
        if (lines := module.code_lines(function)) > FUNCTION_LINES
    ]
    assert not long, listed(long)


def test_no_folder_holds_more_files_than_one_overlooks():
    folders = Counter(
        str(path.parent.relative_to(ROOT))
        for path in tracked()
        if path.suffix == ".py" and path.name != "__init__.py"
    )
    full = [f"{folder}: {files}" for folder, files in folders.items() if files > FOLDER_FILES]
    assert not full, listed(full)


def _stands_alone(module: Module) -> bool:
    name = module.name
    return module.path.name == "__init__.py" or any(
        fnmatch(name, pattern) and name.count(".") == pattern.count(".") for pattern in STANDS_ALONE
    )


def test_a_small_module_with_one_importer_is_part_of_it():
    small = [
        f"{module.place} ({len(module.lines)} lines) belongs into {users[0].place}"
        for module in MODULES
        if len(module.lines) < SMALL_LINES
        and not _stands_alone(module)
        and len(users := [other for other in MODULES if module.name in other.uses]) == 1
    ]
    assert not small, listed(small)


def _lines_of(modules: list[Module]) -> Counter[str]:
    lines: Counter[str] = Counter()
    for module in modules:
        lines[module.room] += len(module.lines)
    return lines


def test_the_whole_stays_small():
    for modules, limit in ((MODULES, ROOMS_LINES), (BENCHMARKS, BENCHMARKS_LINES)):
        lines = _lines_of(modules)
        assert lines.total() <= limit, listed(f"{room}: {count}" for room, count in lines.items())
