"""Added users in a row of the database that processes share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, select

from base.data_dir import USERS
from base.settings import Settings
from base.users import Added, AddedUsers, T, text_of, users_in
from ledger.database import open_ledger_database
from storage.engine import SqlDatabase
from storage.shared_tables import documents, insert


class UsersRow(AddedUsers):
    """A row of the database; raises StorageError where that is away."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    def version(self) -> str | None:
        """Return the whole text: it is short."""
        with self._database.explaining():
            return self._database.read(_text)

    def read(self) -> Added:
        """Return what the row holds."""
        return self._users(self.version())

    def change(self, change: Callable[[Added], T]) -> T:
        """Change the row in a transaction of its own."""

        def work(connection: Connection) -> T:
            users = self._users(_text(connection))
            found = change(users)
            row = insert(connection.dialect, documents).values(name=USERS, text=text_of(users))
            connection.execute(
                row.on_conflict_do_update(index_elements=["name"], set_={"text": row.excluded.text})
            )
            return found

        with self._database.explaining():
            return self._database.change(work, {USERS})

    def _users(self, text: str | None) -> Added:
        return {} if text is None else users_in(text, f"{USERS} in {self._database.name}")


@contextmanager
def shared_users(settings: Settings) -> Iterator[AddedUsers]:
    """Open what stores the added users, and read them; blocks.

    Raises:
        ConfigurationError: they cannot be read.
        StorageError: the database cannot be used.
    """
    database = open_ledger_database(settings.database_url) if settings.database_url else None
    try:
        if database:
            settings.share_users(UsersRow(database))
        settings.read_users()
        assert settings.added_users  # noqa: S101 (a database that is open, or a file)
        yield settings.added_users
    finally:
        if database:
            database.close()


def _text(connection: Connection) -> str | None:
    return connection.scalar(select(documents.c.text).where(documents.c.name == USERS))
