"""`twobrain models`: the models and what is missing to use them."""

from graphs.session import Orchestrator
from terminal.lists import list_rows

_COLUMNS = ("name", "model", "provider", "roles", "missing")


async def models(orchestrator: Orchestrator, *, as_json: bool) -> None:
    """List them with the roles they play."""
    registry = orchestrator.models
    rows = [
        {
            "name": name,
            "label": card.label or card.model or name,
            "provider": card.provider,
            "model": card.model or None,
            "roles": [role for role, names in registry.roles.items() if name in names],
            "available": registry.missing(name) is None,
            "missing": registry.missing(name),
        }
        for name, card in registry.cards()
    ]
    list_rows(rows, _COLUMNS, "There are no models.", as_json=as_json)
