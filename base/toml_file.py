"""A configuration file in TOML, and where in it something is wrong."""

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from base.errors import ConfigurationError


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
    """Return an error's first problem: file, line, name and meaning."""
    problem = error.errors()[0]
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
