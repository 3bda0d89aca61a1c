"""A fact stands in one place: what a message is, what a step tells its watchers."""

import ast
from collections import Counter

from tests.house.modules import MODULES, Module, listed

MESSAGES = {
    "AIMessage",
    "AIMessageChunk",
    "BaseMessage",
    "HumanMessage",
    "RemoveMessage",
    "SystemMessage",
    "ToolMessage",
}
MOST = 3
NODES = [module for module in MODULES if module.room == "nodes"]


def _names(node: ast.AST | None) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} if node else set()


def _tests_a_message(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, types]):
            return bool(_names(types) & MESSAGES)
        case ast.MatchClass(cls=kind):
            return bool(_names(kind) & MESSAGES)
        case ast.Compare(left=ast.Attribute(attr="type"), comparators=[ast.Constant(value=kind)]):
            return kind in {"ai", "human", "tool", "system"}
    return False


def test_three_files_of_the_steps_at_most_look_at_what_kind_a_message_is():
    tests = [(module.place, node) for module in NODES for node in module.nodes if _tests_a_message(node)]
    files = Counter(place for place, _ in tests)
    assert len(files) <= MOST, listed(f"{place}: {times} times" for place, times in files.items())


def _raw_events(module: Module) -> list[str]:
    return [
        module.at(node)
        for node in module.nodes
        if isinstance(node, ast.Dict)
        and any(isinstance(key, ast.Constant) and key.value == "event" for key in node.keys)
    ]


def test_steps_tell_their_watchers_by_classes_and_no_raw_dicts():
    steps = [module for module in NODES if module.name != "nodes.events"]  # where the classes are
    raw = [place for module in steps for place in _raw_events(module)]
    assert not raw, listed(raw)
