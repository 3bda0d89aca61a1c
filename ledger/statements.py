"""The statements that every round runs: compiled once for each dialect, run by the driver itself.

SQLAlchemy's own execution costs ten times what SQLite takes for such a statement.
"""

from collections import namedtuple
from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler


def fetch(connection: Connection, statement: ClauseElement, values: Mapping[str, Any]) -> list[Any]:
    """Return a query's rows, as tuples with names.

    Args:
        connection: in a transaction.
        statement: kept for good by whoever passes it, for what it compiles to is kept too.
        values: of its bound parameters; of types that the driver takes as they are.
    """
    row = _row(statement)
    return [row._make(found) for found in _run(connection, statement, values).fetchall()]


def change(connection: Connection, statement: ClauseElement, values: Mapping[str, Any]) -> int:
    """Run a statement that writes, and return how many rows it changed; see `fetch`."""
    return int(_run(connection, statement, values).rowcount)


def _run(connection: Connection, statement: ClauseElement, values: Mapping[str, Any]) -> Any:
    dialect: Any = connection.dialect
    text, names = _compiled(dialect, statement)
    cursor = connection.connection.cursor()
    try:
        return cursor.execute(text, values if names is None else [values[name] for name in names]) or cursor
    except dialect.dbapi.Error as error:
        raised = DBAPIError.instance(text, None, error, dialect.dbapi.Error, hide_parameters=True)
        raise raised from error


@cache
def _compiled(dialect: Dialect, statement: ClauseElement) -> tuple[str, list[str] | None]:
    """Return the text, and the order of its parameters; None where they go by name."""
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 (what else a dialect compiles SQL to)
    return str(compiled), compiled.positiontup


@cache
def _row(statement: Any) -> Any:
    return namedtuple("Row", [column.name for column in statement.selected_columns])  # noqa: PYI024
