"""The environment: `.env`, and where files and databases are."""

from pathlib import Path

import platformdirs

from base.errors import ConfigurationError


def checked_url(given: str) -> str | None:
    """Return a database's URL; None: none is named.

    Raises:
        ConfigurationError: it is not Postgres's.
    """
    if given and not given.startswith(("postgresql://", "postgres://")):
        raise ConfigurationError(
            "TWOBRAIN_DATABASE_URL must begin with postgresql://, as postgresql://user:password@host/name, "
            "or be unset, to keep all in SQLite's files."
        )
    return given or None


def read_dotenv() -> dict[str, str]:
    """Return what `.env` in the working directory says.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        if not Path(".env").exists():
            return {}
        from dotenv import dotenv_values

        found = dotenv_values(".env")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f".env cannot be read: {error}. Correct it, or take it away.") from None
    return {name: value for name, value in found.items() if value is not None}


def at_home(path: Path) -> Path:
    """Return an absolute path, `~` replaced.

    Raises:
        ConfigurationError: it cannot be used.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # there is no such user
        raise ConfigurationError(f"The path {str(path)!r} cannot be used: {error}") from None


def config_path(configured: str | None) -> Path | None:
    """Return the twobrain.toml to read; None: there is none.

    Raises:
        ConfigurationError: the one that is named is no file.
    """
    if configured:
        given = at_home(Path(configured))
        if not given.is_file():
            raise ConfigurationError(
                f"TWOBRAIN_CONFIG names {str(given)!r}, which is not a file. "
                "Correct the path, or unset it to use ./twobrain.toml."
            )
        return given
    candidates = (Path("twobrain.toml"), platformdirs.user_config_path("twobrain") / "twobrain.toml")
    return next((path for path in candidates if path.is_file()), None)
