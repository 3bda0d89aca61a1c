"""`twobrain models`: the models and what is missing to use them."""

from collections.abc import Iterator

from rich.padding import Padding

from base.settings import Settings
from graphs.session import Orchestrator
from models.providers import MODULES, provider
from terminal.lists import list_rows
from terminal.screen import open_screen

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
    side = open_screen(machine=as_json).side
    if registry.is_offline:
        side.print("\nThese two are offline brains: rules, no language models. What is missing, any one of:")
        for told in _lacking(orchestrator.settings):
            side.print(Padding(told, (0, 0, 0, 2)))
    if registry.is_offline or any(row["missing"] for row in rows):
        side.print("`twobrain init` asks for keys and programs, tries each, and writes them down.")


def _lacking(settings: Settings) -> Iterator[str]:
    """Yield what each provider that people are asked about lacks."""
    for each in map(provider, MODULES):
        if each.title:
            needed = f"{each.key_variables[0]}, from {each.key_page}"
            yield f"{each.title}: {each.lacks(settings) if each.program else needed}"
