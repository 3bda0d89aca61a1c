"""The tables of what is stored beside the ledger, in its database."""

from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    TypeDecorator,
)

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

metadata = MetaData()


class _NoNul(TypeDecorator[str]):
    """A text for Postgres, which takes no NUL: a mark replaces it."""

    impl = sqlalchemy.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Return what the database is given."""
        return value if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


Text = sqlalchemy.Text().with_variant(_NoNul(), "postgresql")
String = sqlalchemy.String().with_variant(_NoNul(), "postgresql")
Number = BigInteger().with_variant(Integer, "sqlite")
"""A count, or the number of a row; SQLite's own numbers of rows are of this name alone."""

documents = Table(
    "documents",
    metadata,
    Column("name", String, primary_key=True),
    Column("text", Text, nullable=False),
)
"""Small files that all processes share, by name."""

long_results = Table(
    "long_results",
    metadata,
    Column("person", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("untrusted", Boolean, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("stored_at", Double, nullable=False),
)


def insert(dialect: Dialect, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """Return the database's own INSERT, which knows ON CONFLICT."""
    if dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # it loads what talks to Postgres

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
