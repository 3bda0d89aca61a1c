"""`twobrain backup`: copy all that is kept, while it is used."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

from base.data_dir import LEDGER
from base.settings import Settings, load_settings
from base.texts import count
from ledger.database import stored_version
from storage.backup import back_up
from terminal.lists import show_json
from terminal.screen import open_screen
from terminal.text import plain


def backup(target: str, *, as_json: bool) -> None:
    """Back up the data directory to a new folder.

    Raises:
        StorageError: it cannot be read, or the folder is not new or cannot be written.
    """
    settings, screen = load_settings(), open_screen(machine=as_json)
    place = settings.database_url or settings.data_dir / LEDGER
    about = {"twobrain": version("twobrain"), "schema": stored_version(place)}
    files = list(back_up(settings.data_dir, Path(target), about, _dump(settings)))
    if as_json:
        show_json(screen, {"backup": target, "files": len(files)})
    else:
        screen.out.print(f"Backed up {count(len(files), 'file')} of {plain(str(settings.data_dir))}.")


def _dump(settings: Settings) -> Callable[[Path], None] | None:
    """Return what copies the database; None: all is in files."""
    if not (url := settings.database_url):
        return None
    from storage.postgres.dump import dump

    return partial(dump, url)
