"""`twobrain migrate`: bring the stored tables up to date before a start."""

import asyncio

from base.data_dir import LEDGER
from base.settings import Settings, load_settings
from graphs.session import open_orchestrator
from ledger.database import stored_version
from ledger.tables import VERSION
from terminal.lists import show_json
from terminal.screen import open_screen


def migrate(*, check: bool, as_json: bool) -> int:
    """Make or update the tables, or only tell whether that is needed.

    Returns:
        1 where there is something to do and it was only told, else 0.

    Raises:
        StorageError: they cannot be used, or are of a newer twobrain.
    """
    settings, screen = load_settings(), open_screen(machine=as_json)
    found = stored_version(settings.database_url or settings.data_dir / LEDGER)
    if not check or (found or 0) > VERSION:  # which says what to do
        asyncio.run(_open(settings))
    if as_json:
        show_json(screen, {"found": found, "schema": VERSION, "up_to_date": not check or found == VERSION})
    elif found == VERSION:
        screen.out.print(f"Up to date: schema {VERSION}.")
    else:
        was = "no tables" if found is None else f"schema {found}"
        screen.out.print(f"{'To be brought' if check else 'Brought'} from {was} to schema {VERSION}.")
    return int(check and found != VERSION)


async def _open(settings: Settings) -> None:
    async with open_orchestrator(settings):
        pass
