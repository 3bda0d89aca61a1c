"""Users that `twobrain users` added, and whose token counts now.

A token is shown once, to whoever makes it; its hash is kept. twobrain.toml, which a person writes by
hand, is never written anew.
"""

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from base.data_dir import USERS
from base.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from base.settings import UserCard

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
    """A user as they are stored."""

    role: Role
    token_sha256: Digest | None
    """None: the token was revoked."""


Added = dict[str, AddedUser]
T = TypeVar("T")

_TEXT = TypeAdapter(Added)


@dataclass(frozen=True, slots=True)
class Users:
    """The users, as their files had them when these were last read."""

    cards: "Mapping[str, UserCard]"
    added: frozenset[str] = frozenset()
    """Names of those whom `twobrain users` added."""
    guarded: bool = False
    """True: a server lets nobody in without a token; so it stays though all be revoked, while it runs."""

    def may_enter(self, name: str) -> bool:
        """Tell whether a user has a token, where one is needed."""
        return not self.guarded or self.token_of(name) is not None

    def token_of(self, name: str) -> str | None:
        """Return the digest of a user's token that counts now, if any."""
        card = self.cards.get(name)
        return card.token_sha256 if card else None

    def whose(self, digest: str) -> list[str]:
        """Return the users whose token counts now and has a digest."""
        return [name for name in self.cards if hmac.compare_digest(digest, self.token_of(name) or "")]


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


class AddedUsers(ABC):
    """The added users, wherever they are stored; every method may block."""

    @abstractmethod
    def version(self) -> Hashable:
        """Return what is another once they were changed."""

    @abstractmethod
    def read(self) -> Added:
        """Return them by name.

        Raises:
            ConfigurationError: what is stored cannot be read, or is not as `twobrain users` writes it.
        """

    @abstractmethod
    def change(self, change: Callable[[Added], T]) -> T:
        """Have them changed in place, alone; stored whole on return.

        Raises:
            ConfigurationError: as `read`.
            StorageError: they cannot be stored.
        """


class UsersFile(AddedUsers):
    """A file of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / USERS

    def version(self) -> Stamp:
        """Return the file's stamp."""
        return stamp(self._path)

    def read(self) -> Added:
        """Return what the file holds."""
        try:
            return users_in(self._path.read_bytes(), self._path)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise ConfigurationError(
                f"{self._path} cannot be read: {error.strerror}. Make it readable."
            ) from None

    def change(self, change: Callable[[Added], T]) -> T:
        """Change the file, which whoever else changes it waits for."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                if os.name == "posix":
                    fcntl.flock(lock, fcntl.LOCK_EX)
                users = self.read()
                found = change(users)
                self._write(text_of(users))
            finally:
                os.close(lock)
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be written: {error.strerror}. Make the folder writable, or set "
                "TWOBRAIN_DATA_DIR to a directory that is yours."
            ) from None
        return found

    def _write(self, text: str) -> None:
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{USERS}")  # for its owner alone
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def users_in(text: str | bytes, place: Path | str) -> Added:
    """Return the users that a text holds; raises as `AddedUsers.read`."""
    try:
        return _TEXT.validate_json(text)
    except ValidationError:
        raise ConfigurationError(
            f"{place} is not as `twobrain users` writes it. Put back a copy; or move it away, and give those "
            "whom it held new tokens."
        ) from None


def text_of(users: Added) -> str:
    """Return users as they are stored."""
    return json.dumps(users, indent=1, sort_keys=True, ensure_ascii=False)
