"""`twobrain restore`: put a backup in the data directory's place."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from base.errors import StorageError
from base.settings import Settings, load_settings
from ledger.tables import OLDEST, VERSION
from storage.backup import manifest_of
from storage.backup import restore as restored
from terminal.lists import show_json
from terminal.screen import open_screen
from terminal.text import plain


def restore(source: str, *, force: bool, as_json: bool) -> None:
    """Restore a backup; what was there is moved aside.

    Raises:
        StorageError: it is damaged, of another version, or data are there that may not be moved.
    """
    settings, screen = load_settings(), open_screen(machine=as_json)
    found = manifest_of(Path(source))
    schema = found.get("schema")
    if not isinstance(schema, int) or not OLDEST <= schema <= VERSION:
        raise StorageError(
            f"The backup {source} is of twobrain {found.get('twobrain')} with schema {schema}, and this one "
            f"reads schema {OLDEST} to {VERSION}: use the twobrain that it was made with, or a newer one."
        )
    aside = restored(Path(source), settings.data_dir, force=force, load=_load(settings, force=force))
    if as_json:
        show_json(screen, {"data_dir": str(settings.data_dir), "before": str(aside) if aside else None})
        return
    screen.out.print(f"Restored to {plain(str(settings.data_dir))}, as it was on {plain(found['made_at'])}.")
    if aside:
        screen.note(f"What was there before is in {plain(str(aside))}; delete it once all is well.")


def _load(settings: Settings, *, force: bool) -> Callable[[Path], None] | None:
    """Return what puts the database's copy back; None: all is in files."""
    if not (url := settings.database_url):
        return None
    from storage.postgres.dump import load

    return partial(load, url, force=force)
