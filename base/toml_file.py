"""Read twobrain.toml, and say of a mistake in which line it stands and what is expected."""

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from base.errors import ConfigurationError


def read_toml(path: Path) -> dict[str, Any]:
    """Return the file's tables.

    Raises:
        ConfigurationError: it is not TOML, or cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from None


def explain(error: ValidationError, path: Path | None, within: tuple[str, ...] = ()) -> str:
    """Return the first mistake in words, with its place.

    Args:
        error: of the table that was validated.
        path: the file; None where the table came from a program.
        within: where in the file the table stands.
    """
    problem = error.errors()[0]
    place = [*within, *(str(part) for part in problem["loc"])]
    what = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        what = "unknown name; see twobrain.example.toml for the ones there are"
    elif problem["type"] != "value_error" and isinstance(problem["input"], str | int | float):
        what += f", not {problem['input']!r}"
    return f"{where(path, tuple(place))}: {what}."


def where(path: Path | None, place: tuple[str, ...]) -> str:
    """Return a place as a person finds it: file, line and dotted name."""
    found = f"{path}, line {_line_of(path, place)}" if path else "settings"
    return f"{found}: {'.'.join(place)}"


def _line_of(path: Path, place: tuple[str, ...]) -> int:
    """Return the line (from 1) that best matches a place in the tables: the key's, else its table's."""
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
