"""`twobrain tools`: the tools and what is missing to use them."""

from graphs.session import Orchestrator
from terminal.lists import Row, list_rows

_COLUMNS = ("name", "role", "effect", "confirm", "description")


async def tools(orchestrator: Orchestrator, *, as_json: bool) -> None:
    """List them, and who may use them."""
    rows = [
        {
            "name": tool.name,
            "role": tool.role,
            "effect": tool.effect,
            "confirm": tool.confirm,
            "caution": tool.caution,
            "description": tool.description,
            "available": tool.missing(orchestrator.settings) is None,
            "missing": tool.missing(orchestrator.settings),
        }
        for tool in await orchestrator.all_tools()
    ]
    list_rows(rows, _COLUMNS, "There are no tools.", as_json=as_json, for_people=_for_people)


def _for_people(row: Row) -> Row:
    """Return a tool with all that matters in its description."""
    told = [row["description"].split("\n")[0]]
    if row["caution"]:
        told.append(f"It asks: {row['caution']}.")
    if row["missing"]:
        told.append(f"Not usable: {row['missing']}.")
    return {**row, "confirm": row["confirm"] or bool(row["caution"]), "description": " ".join(told)}
