"""Where settings come from: the environment, `.env`, files in TOML."""

import re
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import platformdirs
import tzlocal
from pydantic import AfterValidator, ValidationError

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


def config_dir() -> Path:
    """Return the person's configuration directory, whether or not it is there."""
    return platformdirs.user_config_path("twobrain")


def dotenv_files() -> tuple[Path, Path]:
    """Return the places of `.env`; what the later one says wins."""
    return config_dir() / ".env", Path(".env")


def read_dotenv() -> dict[str, str]:
    """Return what `.env` says in the configuration and working directories.

    Raises:
        ConfigurationError: one cannot be read.
    """
    found: dict[str, str] = {}
    for path in dotenv_files():
        found |= variables_of(path)
    return found


def variables_of(path: Path) -> dict[str, str]:
    """Return what one `.env` says; nothing where there is none.

    A folder of that name is none.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if not is_file(path):
        return {}
    from dotenv import dotenv_values

    try:
        found = dotenv_values(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Correct it, or take it away.") from None
    return {name: value for name, value in found.items() if value is not None}


def is_file(path: Path) -> bool:
    """Tell whether there is a file.

    Raises:
        ConfigurationError: the folder does not let us look.
    """
    try:
        return path.is_file()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be looked at: {error.strerror}.") from None


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
        if not is_file(given):
            raise ConfigurationError(
                f"TWOBRAIN_CONFIG names {str(given)!r}, which is not a file. "
                "Correct the path, or unset it to use ./twobrain.toml."
            )
        return given
    return next(filter(is_file, (Path("twobrain.toml"), config_dir() / "twobrain.toml")), None)


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a file says.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None


def explained(error: ValidationError, path: Path | None, within: tuple[str, ...] = ()) -> str:
    """Return an error's main problem: file, line, name and meaning."""
    problems = error.errors()
    unknown = (each for each in problems if each["type"] == "extra_forbidden")
    problem = next(unknown, problems[0])  # a misspelt name is what is missing
    place = [*within, *(str(part) for part in problem["loc"])]
    what = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        what = "unknown name; see twobrain.example.toml for the ones there are"
    elif problem["type"] != "value_error" and isinstance(problem["input"], str | int | float):
        what += f", not {problem['input']!r}"
    return f"{where(path, tuple(place))}: {what}."


def where(path: Path | None, place: tuple[str, ...]) -> str:
    """Return where a table is: file, line and dotted name."""
    found = f"{path}, line {_line_of(path, place)}" if path else "settings"
    return f"{found}: {'.'.join(place)}"


def _line_of(path: Path, place: tuple[str, ...]) -> int:
    """Return the line, from 1, of a key, else of its table."""
    lines = path.read_text(encoding="utf-8").splitlines()
    best = 1
    table: tuple[str, ...] = ()
    for number, line in enumerate(lines, 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            table = tuple(part.strip(" \"'") for part in header[1].split("."))
            if table == place[: len(table)]:
                best = number
        elif (key := re.match(r"\s*[\"']?([\w-]+)[\"']?\s*=", line)) and (*table, key[1]) == place[
            : len(table) + 1
        ]:
            return number
    return best


def variables_in(
    table: Any, place: tuple[str, ...] = (), *, named: bool = False
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the place and text of each key ending in `_env`."""
    if isinstance(table, Mapping):
        for key, value in table.items():
            yield from variables_in(value, (*place, key), named=named or key.endswith("_env"))
    elif isinstance(table, list | tuple):
        for value in table:
            yield from variables_in(value, place, named=named)
    elif named and isinstance(table, str):
        yield place, table


@cache
def time_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}; use an IANA name such as Europe/Paris") from None


def machine_zone(said: str) -> ZoneInfo:
    """Return the zone of the variable TZ, the machine's, or UTC."""
    with suppress(ValueError):
        return time_zone(said.removeprefix(":"))
    with warnings.catch_warnings(action="ignore"), suppress(KeyError, ValueError, OSError):
        return tzlocal.get_localzone()
    return time_zone("UTC")


TimeZone = Annotated[str, AfterValidator(lambda name: str(time_zone(name)))]
