"""Copies of what is in Postgres, by its own programs."""

import os
import shutil
import subprocess
from pathlib import Path

import psycopg

from base.errors import StorageError
from storage.postgres.postgres_database import conninfo, name_of, postgres_url, told

TABLES = ("twobrain.*", "public.checkpoint*", "public.store*", "public.twobrain_*")
"""Patterns of pg_dump; whatever else is in the database is another program's."""
_OTHER_SESSIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'twobrain' AND pid <> pg_backend_pid()
"""


def dump(database_url: str, target: Path) -> None:
    """Copy what is ours to a new, private file; blocks.

    It is as it stood at one moment.

    Raises:
        StorageError: pg_dump is missing, older than the server, or cannot do it.
    """
    tables = [f"--table={pattern}" for pattern in TABLES]
    _run(["pg_dump", "--format=custom", "--no-owner", "--no-acl", *tables, f"--file={target}"], database_url)
    target.chmod(0o600)


def load(database_url: str, source: Path, *, force: bool) -> None:
    """Put a copy in the place of what is ours; blocks.

    It is one transaction. Without `force` nothing that is there is replaced.

    Raises:
        StorageError: conversations are there, somebody uses the database, or pg_restore cannot do it.
    """
    url = postgres_url(database_url)
    try:
        with psycopg.connect(**conninfo(url)) as connection:
            found = connection.execute(_OTHER_SESSIONS).fetchone()
            has_tables = connection.execute("SELECT to_regclass('twobrain.threads')").fetchone() != (None,)
            held = has_tables and connection.execute("SELECT 1 FROM twobrain.threads LIMIT 1").fetchone()
            connection.execute("CREATE SCHEMA IF NOT EXISTS twobrain")
    except psycopg.Error as error:
        raise told(name_of(url), error) from error
    if found and found[0]:
        raise StorageError(
            f"Another process uses the database {name_of(url)}: a chat, a turn, a server. End it first."
        )
    if held and not force:
        raise StorageError(
            f"The database {name_of(url)} holds conversations. To put the backup in their place say --force, "
            "after `twobrain backup` if they are to be kept; else name another with TWOBRAIN_DATABASE_URL."
        )
    options = ["--clean", "--if-exists", "--single-transaction", "--no-owner", "--no-acl"]
    _run(["pg_restore", *options, str(source)], database_url)


def _run(command: list[str], database_url: str) -> None:
    url = postgres_url(database_url)
    if not shutil.which(command[0]):
        raise StorageError(
            f"{command[0]} is not on the PATH: install Postgres's client programs, of the server's version "
            "or a newer one."
        )
    without = url._replace(drivername="postgresql", password=None).render_as_string(hide_password=False)
    secret = {"PGPASSWORD": url.password} if url.password else {}
    before = os.umask(0o077)
    try:
        done = subprocess.run(  # noqa: S603 (a program of that name, without a shell)
            [*command, f"--dbname={without}"],
            env={**os.environ, **secret},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.umask(before)
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if line.strip()), "it said nothing")
        raise StorageError(f"{command[0]} could not do it: {said.removeprefix(f'{command[0]}: ')}")
