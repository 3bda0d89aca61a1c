"""Write into README.md what the code declares: the graph's drawing and the tables of choices.

    .venv/bin/python docs/generate.py

A test fails where the README says otherwise.
"""

import re
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from base.settings import Limits, ModelCard, Settings, UserCard
from graphs.orchestrator import graph
from nodes.context import Context, docstrings_of
from tools.registry import open_registry

README = Path(__file__).parent.parent / "README.md"


def generated(text: str) -> str:
    """Return the README's text with every generated part as the code has it now."""
    for name, write in _PARTS.items():
        head, rest = text.split(f"<!-- {name}: generated -->\n")
        _, tail = rest.split("<!-- end -->", 1)
        text = f"{head}<!-- {name}: generated -->\n{write()}\n<!-- end -->{tail}"
    return text


def drawing() -> str:
    """Return the graph as a mermaid block."""
    return f"```mermaid\n{graph.get_graph().draw_mermaid().strip()}\n```"


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


_PARTS: dict[str, Callable[[], str]] = {
    "drawing": drawing,
    "tools": tools,
    "context": lambda: table_of(Context),
    "models": lambda: table_of(ModelCard),
    "users": lambda: table_of(UserCard),
    "limits": lambda: table_of(Limits),
}

if __name__ == "__main__":
    README.write_text(generated(README.read_text(encoding="utf-8")), encoding="utf-8")
