"""`twobrain backup`: copy all that is kept, while it is used."""

from importlib.metadata import version
from pathlib import Path

from base.data_dir import LEDGER
from base.errors import ConfigurationError
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
        ConfigurationError: the data are in Postgres.
        StorageError: it cannot be read, or the folder is not new or cannot be written.
    """
    settings, screen = settings_of_files(), open_screen(machine=as_json)
    about = {"twobrain": version("twobrain"), "schema": stored_version(settings.data_dir / LEDGER)}
    files = list(back_up(settings.data_dir, Path(target), about))
    if as_json:
        show_json(screen, {"backup": target, "files": len(files)})
    else:
        screen.out.print(f"Backed up {count(len(files), 'file')} of {plain(str(settings.data_dir))}.")


def settings_of_files() -> Settings:
    """Return the settings, where all that is kept lies in files.

    Raises:
        ConfigurationError: it is in Postgres, which has ways of its own.
    """
    settings = load_settings()
    if settings.database_url:
        raise ConfigurationError(
            "What is kept is in Postgres. Back it up with `pg_dump --format=custom`, whose copy is of one "
            "moment, and put it back with `pg_restore` while nothing runs; docs/deploy.md has the commands."
        )
    return settings
