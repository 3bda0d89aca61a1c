"""The configuration directory's `.env` and twobrain.toml, changed by a program."""

import os
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import tomlkit
from dotenv import set_key
from tomlkit.exceptions import TOMLKitError

from base.environment import is_file, variables_of
from base.errors import ConfigurationError
from base.settings import ModelCard
from storage.sqlite import create_private

_FIRST_LINES = """\
# By `twobrain init`, which may be run again. twobrain.example.toml shows what else may stand here;
# keys stand in .env, beside this file.

"""


def check_writable(folder: Path) -> None:
    """Check that the two files can be written, before anything is asked.

    Raises:
        ConfigurationError: they cannot.
    """
    for path in (folder / ".env", folder / "twobrain.toml"):
        if os.path.lexists(path) and not is_file(path):
            raise ConfigurationError(f"{path} is no file. Move it away; twobrain init writes one there.")
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"The configuration directory {folder} cannot be written. Make it yours, or set XDG_CONFIG_HOME "
            "to a folder that is."
        )


def write_answers(folder: Path, keys: Mapping[str, str], cards: Mapping[str, ModelCard]) -> list[Path]:
    """Write what was answered, each file whole; return those that changed.

    Raises:
        ConfigurationError: they cannot be written; both are as they were.
    """
    drafts: dict[Path, Path] = {}
    try:
        changes = {".env": partial(_add_keys, keys) if keys else None}
        changes["twobrain.toml"] = partial(_add_models, cards) if cards else None
        for name, change in changes.items():
            if change:
                path = (folder / name).resolve()  # a link stays one
                draft = path.with_name(f"{path.name}.new")
                draft.unlink(missing_ok=True)  # whoever left one, and however open to others
                drafts[path] = create_private(draft)
                draft.write_bytes(path.read_bytes() if path.exists() else b"")
                change(draft)
                with draft.open("ab") as file:
                    os.fsync(file.fileno())
        for path, draft in drafts.items():
            draft.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be written: {error.strerror}. Nothing was changed."
        ) from None
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    return list(drafts)


def _add_keys(keys: Mapping[str, str], path: Path) -> None:
    """Set variables in a `.env`, whose other lines stay as they are."""
    for name, value in keys.items():
        set_key(path, name, value)
    if any(variables_of(path).get(name) != value for name, value in keys.items()):
        raise ConfigurationError(
            "A key holds signs that no .env can: set it as a variable of the environment."
        )


def _add_models(cards: Mapping[str, ModelCard], path: Path) -> None:
    """Set `[models.NAME]` tables in a twobrain.toml; all else stays, comments too."""
    before = path.read_bytes().decode("utf-8-sig")
    try:
        after = _with_models(before or _FIRST_LINES, cards)
        (old, had), (new, has) = _apart(before), _apart(after)
        is_whole = old == new and has == {**had, **cards}
    except (TOMLKitError, ValueError, TypeError, AttributeError):  # such as `models = { … }` in one line
        is_whole = False
    if not is_whole:
        raise ConfigurationError(
            f"{path.with_suffix('')} is written in a way that cannot be changed safely. Nothing was changed; "
            f"add these models yourself: {', '.join(cards)}."
        )
    path.write_bytes(after.encode())


def _apart(text: str) -> tuple[dict[str, Any], dict[str, ModelCard]]:
    """Return what a twobrain.toml says beside its models, and these."""
    said = tomllib.loads(text)
    tables = said.pop("models", {})
    return said, {name: ModelCard.model_validate(table) for name, table in tables.items()}


def _with_models(text: str, cards: Mapping[str, ModelCard]) -> str:
    document = tomlkit.parse(text)
    models: Any = document.setdefault("models", tomlkit.table(is_super_table=True))
    for name, card in cards.items():
        table = models.setdefault(name, tomlkit.table())
        said = card.model_dump(exclude_defaults=True)
        for key in [key for key in table if key not in said and table[key] != getattr(card, key)]:
            del table[key]
        table.update({key: value for key, value in said.items() if table.get(key) != value})
    return tomlkit.dumps(document)
