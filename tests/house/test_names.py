"""A name is a term of the field, and means one thing in the whole house."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from tests.house.modules import MODULES, Module, listed

HOMEMADE = {
    "amounts": "numbers read from text",
    "asking": "a model call",
    "basis": "what was known when it was decided: snapshot, version",
    "desk": "semaphore, queue",
    "entries": "messages, calls, rows",
    "folded": "normalised, cached",
    "forgotten": "missing record",
    "guest": "untrusted caller (the role alone is called so)",
    "house": "checkout, package",
    "kept": "cache, memo, stored",
    "late": "stale answer",
    "masked": "escaped, encoded",
    "places": "lanes, semaphore",
    "resting": "garbage collection, idle",
    "salvage": "recovery of damaged rows",
    "spelled": "a call written as text",
    "spent": "superseded, obsolete; used (of a budget)",
    "standing": "remembered rule, open question",
    "strangers": "untrusted content",
    "tail": "the messages of the turn",
}
"""Words of our own making, and what a reader would search for instead."""
NOUNS = {"closing", "embedding", "pruning", "shadowing"}
"""Words that end as a participle does and are terms of the field."""
DOCSTRING_WORDS = 12


def _words(name: str) -> set[str]:
    """Return the words of an identifier, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def _assigned(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Assign):
        yield from node.targets
    elif isinstance(node, ast.AnnAssign):
        yield node.target


def _names(module: Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield each name that others may meet: of the module, its classes, functions and attributes."""
    yield module.tree, module.path.stem
    for node in module.nodes:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, node.name
        if isinstance(node, ast.Module | ast.ClassDef):
            targets = [target for child in node.body for target in _assigned(child)]
            yield from ((target, target.id) for target in targets if isinstance(target, ast.Name))
        yield from ((target, target.attr) for target in _assigned(node) if isinstance(target, ast.Attribute))


def test_names_are_words_of_the_field():
    homemade = [
        f"{module.at(node)} {name}: {word} -> {HOMEMADE[word]}"
        for module in MODULES
        for node, name in _names(module)
        for word in sorted(_words(name) & HOMEMADE.keys())
    ]
    assert not homemade, listed(homemade)


def test_no_module_but_a_steps_is_named_by_a_participle():
    participles = [
        module.place
        for module in MODULES
        if not module.name.startswith("terminal.commands.")
        and re.search(r"(ing|ed)$", word := module.path.stem.split("_")[-1])
        and word not in NOUNS
    ]
    assert not participles, listed(participles)


def test_no_module_name_stands_in_two_rooms_but_a_commands():
    named = defaultdict(list)
    for module in MODULES:
        is_named_by_us = module.path.stem not in {"__init__", "app"}  # Typer's and FastAPI's are called so
        if is_named_by_us and not module.name.startswith("terminal.commands."):
            named[module.path.stem].append(module)
    twice = [
        ", ".join(module.place for module in modules)
        for modules in named.values()
        if len({module.room for module in modules}) > 1
    ]
    assert not twice, listed(twice)


def test_no_class_name_stands_twice():
    named = defaultdict(list)
    for module in MODULES:
        for node in module.classes:
            named[node.name].append(module.at(node))
    twice = [f"{name}: {', '.join(where)}" for name, where in named.items() if len(where) > 1]
    assert not twice, listed(twice)


def _is_tool(node: ast.AST) -> bool:
    return any(
        isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == "tool"
        for each in getattr(node, "decorator_list", ())
    )


def test_the_first_line_of_a_docstring_is_short():
    long = [
        f"{module.at(node)} {len(line.split())}: {line}"
        for module in MODULES
        for node in module.documented
        if not _is_tool(node)  # a model reads that, and it says what the tool is for
        and len((line := (ast.get_docstring(node) or "").split("\n")[0]).split()) > DOCSTRING_WORDS
    ]
    assert not long, listed(long)
