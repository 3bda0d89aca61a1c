"""Users that `twobrain users` added, in their own file: `users.json`.

A token is shown once, to whoever makes it; the file keeps its hash. twobrain.toml, which a person writes by
hand, is never written anew.
"""

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from base.data_dir import USERS
from base.errors import ConfigurationError, StorageError

if os.name == "posix":
    import fcntl

_PREFIX = "tb_"
"""Of a token, by which people and scanners for secrets know it."""
_TOKEN_BYTES = 32

Role = Literal["guest", "user", "admin"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Stamp = tuple[int, int, int, int] | None


@with_config(ConfigDict(extra="forbid"))
class AddedUser(TypedDict):
    """A user as the file has them."""

    role: Role
    token_sha256: Digest | None
    """None: the token was revoked."""


_FILE = TypeAdapter(dict[str, AddedUser])


def new_token() -> str:
    """Return a token that nobody can guess."""
    return _PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def digest_of(token: bytes) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token).hexdigest()


def stamp(path: Path | None) -> Stamp:
    """Return what tells whether a file was changed; None: there is none."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size, found.st_dev) if found else None


def read_added(data_dir: Path) -> dict[str, AddedUser]:
    """Return the added users by name.

    Raises:
        ConfigurationError: the file cannot be read, or is not as `twobrain users` writes it.
    """
    path = data_dir / USERS
    try:
        return _FILE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}. Make it readable.") from None
    except ValidationError:
        raise ConfigurationError(
            f"{path} is not as `twobrain users` writes it. Put back a copy; or move it away, and give those "
            "whom it held new tokens."
        ) from None


@contextmanager
def changed_users(data_dir: Path) -> Iterator[dict[str, AddedUser]]:
    """Give the added users to change; on disk, whole, when it ends.

    Whoever else changes them waits.

    Raises:
        ConfigurationError: as `read_added`.
        StorageError: the data directory cannot be written.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open((data_dir / USERS).with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            if os.name == "posix":
                fcntl.flock(lock, fcntl.LOCK_EX)
            users = read_added(data_dir)
            yield users
            _write(data_dir, users)
        finally:
            os.close(lock)
    except OSError as error:
        raise StorageError(
            f"{data_dir / USERS} cannot be written: {error.strerror}. Make the folder writable, or set "
            "TWOBRAIN_DATA_DIR to a directory that is yours."
        ) from None


def _write(data_dir: Path, users: dict[str, AddedUser]) -> None:
    handle, name = tempfile.mkstemp(dir=data_dir, prefix=f".{USERS}")  # for its owner alone
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(users, file, indent=1, sort_keys=True, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(data_dir / USERS)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
