"""Write what the code declares into the docs.

    .venv/bin/python docs/generate.py

A test fails where a page says otherwise.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from base.settings import Limits, ModelCard, RuleCard, Settings, UserCard
from channels.hooks import HookCard
from graphs.orchestrator import graph
from nodes.context import Context, docstrings_of
from tools.registry import open_registry

_HERE = Path(__file__).parent
_ROOMS = [
    "base",
    "channels",
    "doctor",
    "graphs",
    "ledger",
    "models",
    "nodes",
    "schedules",
    "server",
    "storage",
    "terminal",
    "tools",
]
_FIRST_COMMENTS = {".js": r"\A// (.*)", ".css": r"\A/\* (.*) \*/", ".html": r"<!-- (.*) -->"}
_CONSTANT = re.compile(r"_?(?!TOOLS$)[A-Z][A-Z0-9_]+")
_TABLES = ast.Dict | ast.Set | ast.List | ast.Tuple | ast.DictComp | ast.SetComp | ast.ListComp
_MAKERS = {"dict", "frozenset", "fromkeys", "maketrans", "tuple", "timedelta", "compile", "get_args"}
_PART = re.compile(r"(<!-- (\w+): generated -->\n).*?(<!-- end -->)", re.DOTALL)


def generated(page: Path) -> str:
    """Return a page's text with every generated part as the code has it now."""
    text = page.read_text(encoding="utf-8")
    parts = PAGES[page]
    if {name for _, name, _ in _PART.findall(text)} != parts.keys():
        raise ValueError(f"{page} must have a place for each of {', '.join(parts)}.")
    return _PART.sub(lambda found: f"{found[1]}{parts[found[2]]()}\n{found[3]}", text)


def drawing() -> str:
    """Return the graph as a mermaid block."""
    return f"```mermaid\n{graph.get_graph().draw_mermaid(with_styles=False).strip()}\n```"


def table_of(model: type[BaseModel]) -> str:
    """Return a table of a model's fields: name, default, and what its docstring says."""
    told = docstrings_of(model)
    rows = [
        f"| `{name}` | {_default(field.default)} | {_words(told.get(name))} |"
        for name, field in model.model_fields.items()
    ]
    return "\n".join(["| field | default | meaning |", "|---|---|---|", *rows])


def tools() -> str:
    """Return a table of the tools that every install has."""
    registry = open_registry(Settings(data_dir=Path("data"), workspace=Path("workspace")))
    rows = [
        f"| `{tool.name}({', '.join(tool.parameters['properties'])})` | {tool.role} | {tool.effect} "
        f"| {'yes' if tool.confirm else 'no'} | {_words(tool.description.splitlines()[0])} |"
        for tool in registry
    ]
    return "\n".join(["| tool | least role | effect | asks first | |", "|---|---|---|---|---|", *rows])


def files() -> str:
    """Return a table of every source file, and of what the page's browser reads.

    It says what a file is, and which of its names hold settings, numbers, texts, tables and patterns.
    """
    found = [path for room in _ROOMS for path in (_HERE.parent / room).rglob("*") if _is_source(path)]
    rows = [
        f"| `{path.relative_to(_HERE.parent)}` | {_words(_first_line(path))} | {' '.join(_names(path))} |"
        for path in sorted(found)
    ]
    return "\n".join(
        ["| file | what it is | its settings, numbers, texts and tables |", "|---|---|---|", *rows]
    )


def _is_source(path: Path) -> bool:
    if path.name == "__init__.py":
        return any(isinstance(node, ast.ClassDef) for node in ast.parse(path.read_bytes()).body)
    return path.suffix == ".py" or path.suffix in _FIRST_COMMENTS


def _first_line(path: Path) -> str:
    """Return what a file says of itself in its first line, or its first comment."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]
    comment = re.search(_FIRST_COMMENTS[path.suffix], text)
    if comment is None:
        raise ValueError(f"{path} must say in its first comment what it is.")
    return comment[1]


def _names(path: Path) -> list[str]:
    """Return the names of a file's tables of twobrain.toml, and of its constants that tell something."""
    if path.suffix != ".py":
        script = path.read_text(encoding="utf-8") if path.suffix == ".js" else ""
        return [
            f"`{name}`" for name in re.findall(r"^(?:export )?const ([A-Z][A-Z_]+) =", script, re.MULTILINE)
        ]
    body = ast.parse(path.read_bytes()).body
    cards = [
        f"`{node.name}` ({', '.join(_fields(node))})"
        for node in body
        if isinstance(node, ast.ClassDef) and (node.name == "Context" or any(map(_is_card, node.bases)))
    ]
    constants = [
        name.id
        for node in body
        for name, value in _assigned(node)
        if isinstance(name, ast.Name) and _CONSTANT.fullmatch(name.id) and _is_told(value)
    ]
    return [*cards, *(f"`{name}`" for name in constants)]


def _fields(card: ast.ClassDef) -> list[str]:
    fields = [each.target for each in card.body if isinstance(each, ast.AnnAssign)]
    return [field.id for field in fields if isinstance(field, ast.Name) and field.id[0] != "_"]


def _is_card(base: ast.expr) -> bool:
    return isinstance(base, ast.Name) and base.id in {"Card", "LoginCard"}


def _assigned(node: ast.stmt) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield each name that a statement assigns, with its value."""
    if isinstance(node, ast.AnnAssign) and node.value:
        yield node.target, node.value
    for target in node.targets if isinstance(node, ast.Assign) else ():
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts, strict=False)
        else:
            yield from ((name, node.value) for name in getattr(target, "elts", [target]))


def _is_told(value: ast.expr) -> bool:
    """Return whether a reader of the table looks for it: a number, a text, a table, a pattern."""
    match value:
        case ast.Constant(value=int() | float()):
            return True
        case ast.Constant(value=str(text)):
            return bool(text.strip())
        case ast.JoinedStr():
            return True
        case ast.BinOp(left=left, right=right):
            return _is_told(left) or _is_told(right)
        case ast.Call(func=ast.Name(id=maker) | ast.Attribute(attr=maker)):
            return maker in _MAKERS
    return isinstance(value, _TABLES)


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, str):
        return f'`"{value}"`'
    plain = list(value) if isinstance(value, tuple) else value
    return f"`{str(plain).lower() if isinstance(plain, bool) else plain}`"


def _words(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").replace("|", "\\|")


PAGES: dict[Path, dict[str, Callable[[], str]]] = {
    _HERE.parent / "README.md": {"drawing": drawing},
    _HERE.parent / "CONTRIBUTING.md": {"files": files},
    _HERE / "reference.md": {
        "context": lambda: table_of(Context),
        "tools": tools,
        "models": lambda: table_of(ModelCard),
        "users": lambda: table_of(UserCard),
        "rules": lambda: table_of(RuleCard),
        "limits": lambda: table_of(Limits),
        "hooks": lambda: table_of(HookCard),
    },
}
"""Each page that has generated parts, and what writes them."""

if __name__ == "__main__":
    for path in PAGES:
        path.write_text(generated(path), encoding="utf-8")
