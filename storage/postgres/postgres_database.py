"""Postgres for the ledger: its pool, transactions that outlive an outage, locks."""

import logging
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, Connection, create_engine, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from base.errors import StorageAwayError, StorageError
from storage.engine import SqlDatabase, Work
from storage.postgres.lock_keys import key_of
from storage.postgres.session_locks import AdvisoryLocks, SessionLocks
from storage.thread_lock import ThreadLocks

T = TypeVar("T")

OUTAGE_S = 15.0
"""Seconds that a database may be away before whoever waits for it is told."""
CONNECT_S = 5
"""Seconds to connect; libpq's `connect_timeout`."""
LEDGER_CONNECTIONS = 8
"""Of a process to the ledger: one that writes, four that read, and some to spare."""
SCHEMA = "twobrain"
"""Of the ledger's tables, so that they stand beside those of whatever else uses the database."""
_PAUSE_S = 0.25
_ATTEMPTS = 5
_STATEMENT_S = 30
_SETTINGS = {
    "statement_timeout": f"{_STATEMENT_S}s",
    "idle_in_transaction_session_timeout": f"{2 * _STATEMENT_S}s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
"""A session of a process that is gone without a word is ended after some 25 s, with its locks."""
_KEEPALIVES = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""A database that is gone without a word is given up after as long; the system's own time is hours."""
_CONFLICTS = {"40001", "40P01"}
"""Serialization failure, deadlock: it may be run again at once."""
_AWAY = {"57P01", "57P02", "57P03", "57P05", "25P03", "53300"}
"""It is shut down or starts, ended an idle session, or has no connection to spare."""
_ADVICE = {
    "28P01": "it refuses the user or the password; correct TWOBRAIN_DATABASE_URL",
    "28000": "it refuses the user; correct TWOBRAIN_DATABASE_URL, or let the user in (pg_hba.conf)",
    "3D000": "there is no database of that name; make it (createdb), or correct TWOBRAIN_DATABASE_URL",
    "42501": "its role may not do that; run `twobrain migrate` once as one that may make tables, and grant "
    "this one SELECT, INSERT, UPDATE and DELETE on them",
    "53100": "its disk is full; free some space and try again",
    "53300": "it has no connection to spare; raise max_connections, or end other programs",
    "25006": "it is a copy that cannot be written to; name the primary in TWOBRAIN_DATABASE_URL",
    "57014": f"it took longer than {_STATEMENT_S} s; look at what keeps it busy (pg_stat_activity)",
}
_SAID = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "role ": "28000",
    "no pg_hba.conf entry": "28000",
    "database ": "3D000",
    "sorry, too many clients": "53300",
    "remaining connection slots": "53300",
}
"""What a refused connection says, whose code psycopg does not hand on, and the code."""
_log = logging.getLogger(__name__)


class PostgresDatabase(SqlDatabase):
    """A database that processes on several machines share."""

    kind = "database"

    def __init__(self, url: URL, prepare: Work[None]) -> None:
        """Connect, and have its tables prepared; blocks.

        Raises:
            StorageError: it cannot be used.
        """
        engine = create_engine(
            "postgresql+psycopg://",
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",  # transactions are begun below, each with its locks
            pool_size=LEDGER_CONNECTIONS,
            max_overflow=0,
            pool_timeout=OUTAGE_S,
            connect_args=conninfo(url, search_path=SCHEMA),
        )
        super().__init__(engine, name_of(url))
        self._patience_s = 0.0  # whoever opens it is told at once
        try:
            self.session = SessionLocks(lambda: psycopg.connect(**conninfo(url), autocommit=True))
            self.session.once(_make_schema)
            self.change(prepare, {"schema"})
        except (OSError, SQLAlchemyError, StorageError, psycopg.Error) as error:
            self.close()
            raise self.explained(error) from error
        self._patience_s = OUTAGE_S

    def change(self, work: Work[T], alone: Collection[str] = ()) -> T:
        """Run work in one transaction; it is on disk on return; blocks.

        Where the connection is lost while it commits, the database is asked whether it did.
        """
        locks = sorted(key_of(name) for name in alone)
        begin = "BEGIN; SELECT pg_current_xact_id()::text" + "".join(
            f"; SELECT pg_advisory_xact_lock({key})" for key in locks
        )
        deadline = time.monotonic() + self._patience_s
        for attempt in range(1, 1_000_000):
            committing = ""
            try:
                with self._connected() as connection, connection.begin():
                    xid = _said(connection, begin)
                    result = work(connection)
                    committing = xid
                return result  # noqa: TRY300 (an else would hide that it was committed by then)
            except Exception as error:
                if committing and is_away(error) and self._committed(committing, deadline):
                    return result
                self._may_go_on(error, attempt, deadline)
        raise AssertionError

    def read(self, work: Work[T]) -> T:
        """Run work that sees one moment and changes nothing; blocks."""
        deadline = time.monotonic() + self._patience_s
        for attempt in range(1, 1_000_000):
            try:
                with self._connected() as connection:
                    _said(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    return work(connection)
            except Exception as error:
                self._may_go_on(error, attempt, deadline)
        raise AssertionError

    def now(self) -> float:
        """Return the database's time, whatever this machine's clock says."""
        return self.session.now()

    def announce(self, presence: str) -> None:
        """Let others know that this process lives, under a name."""
        self.session.share(key_of(presence))

    def thread_locks(self) -> ThreadLocks:
        """Return the locks of all threads."""
        return AdvisoryLocks(self.session, why)

    def is_outage(self, error: Exception) -> bool:
        """Tell whether an error is the database's, not one operation's."""
        return is_away(error) or isinstance(error, PoolTimeoutError)

    def why(self, error: Exception) -> str:
        """Return an error's meaning, and what to do."""
        return why(error)

    def explained(self, error: Exception) -> Exception:
        """Return a database error as a StorageError; others as they are."""
        cause = getattr(error, "orig", None) or error
        return told(self.name, cause) if isinstance(cause, psycopg.Error) else super().explained(error)

    def close(self) -> None:
        """Let go of it; again is harmless; blocks."""
        with suppress(AttributeError):  # it was never opened
            self.session.close()
        super().close()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            try:
                yield connection
            except Exception as error:
                if is_away(error) and not connection.invalidated:
                    connection.invalidate(error)  # what psycopg itself raised, SQLAlchemy has not seen
                raise

    def _may_go_on(self, error: Exception, attempt: int, deadline: float) -> None:
        """Return where it may be tried again, when it may."""
        if code_of(error) in _CONFLICTS and attempt < _ATTEMPTS:
            return
        if not is_away(error) or time.monotonic() > deadline:
            raise error
        if attempt == 1:
            _log.warning("the database %s is away: %s", self.name, why(error))
            return  # the first may have been a connection that broke long ago
        time.sleep(_PAUSE_S)

    def _committed(self, xid: str, deadline: float) -> bool:
        """Ask whether a transaction was committed whose end was not heard of."""
        status = f"SELECT pg_xact_status('{xid}'::xid8)"  # of our own making: digits
        while True:
            with suppress(psycopg.Error, SQLAlchemyError), self._connected() as connection:
                if (found := _said(connection, status)) != "in progress":
                    return found == "committed"
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)


def is_away(error: Exception) -> bool:
    """Tell whether the database could not be reached, or went away."""
    cause = getattr(error, "orig", None) or error
    code = code_of(error)
    if not isinstance(cause, psycopg.Error):
        return False
    if code is None:
        return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return code in _AWAY or code.startswith("08")


def code_of(error: Exception) -> str | None:
    """Return an error's SQLSTATE; None: it has none."""
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    if code := getattr(cause, "sqlstate", None):
        return str(code)
    said = str(cause)
    if isinstance(cause, psycopg.OperationalError) and "FATAL" in said:
        fatal = said.partition("FATAL:")[2].strip()
        return next((code for begin, code in _SAID.items() if fatal.startswith(begin)), None)
    return None


def told(name: str, error: psycopg.Error) -> StorageError:
    """Return an error of a database as people are told it."""
    kind = StorageAwayError if is_away(error) else StorageError
    return kind(f"The database {name} cannot be used: {why(error)}.")


def why(error: Exception) -> str:
    """Return an error's meaning, and what to do."""
    if advice := _ADVICE.get(code_of(error) or ""):
        return advice
    if isinstance(error, PoolTimeoutError):
        return "all connections to it are at work; try again later"
    cause = getattr(error, "orig", None) or error
    said = (str(cause).splitlines() or [""])[0].rstrip(".")
    if is_away(error):
        return f"it cannot be reached ({said}); start it, or correct TWOBRAIN_DATABASE_URL"
    return said


def postgres_url(text: str) -> URL:
    """Return a database's URL.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        try:
            url = make_url(text)
        except ValueError:  # a port is no number
            return _of_several_hosts(text)
        if password := url.query.get("password"):  # so that no command line has it
            url = url.difference_update_query(["password"]).set(password=str(password))
        return _with_hosts(url)
    except (SQLAlchemyError, ValueError, psycopg.Error):
        raise StorageError(
            "TWOBRAIN_DATABASE_URL cannot be read: give it as postgresql://user:password@host:5432/name, "
            "with %40 for an @ in the password."
        ) from None


def _of_several_hosts(text: str) -> URL:
    """Read `host:port,host:port`, which libpq alone knows."""
    found: dict[str, Any] = conninfo_to_dict(text)
    if not all(port.isdigit() for port in str(found.get("port", "")).split(",") if port):
        raise ValueError("a port is no number")
    named = {"username": "user", "password": "password", "database": "dbname"}
    parts = {name: found.pop(option, None) for name, option in named.items()}
    return URL.create("postgresql", **parts, query=found)


def _with_hosts(url: URL) -> URL:
    """Return a URL whose hosts are spelled as libpq takes them."""
    hosts = url.query.get("host", "")
    if "@" in (url.host or ""):
        raise ValueError("part of the password was taken for the host")
    if url.host and "%" in url.host:
        return url._replace(host=None).update_query_dict({"host": unquote(url.host)})
    if isinstance(hosts, str):
        return url
    listed = conninfo_to_dict("postgresql://" + ",".join(hosts))
    return url.update_query_dict({name: str(each) for name, each in listed.items()})


def name_of(url: URL) -> str:
    """Return a database's name for people: without user and password."""
    host = url.host or url.query.get("host") or "this machine"
    port = f":{url.port}" if url.port else ""
    return f"{host}{port}/{url.database or ''}"


def conninfo(url: URL, **settings: str) -> dict[str, Any]:
    """Return what psycopg connects by; the URL has the last word."""
    parts = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
    known = {name: value for name, value in parts.items() if value is not None}
    said = {name: value if isinstance(value, str) else " ".join(value) for name, value in url.query.items()}
    options = " ".join(f"-c {name}={value}" for name, value in {**_SETTINGS, **settings}.items())
    ours = {"connect_timeout": CONNECT_S, "application_name": "twobrain", **_KEEPALIVES}
    whole = {"dbname": url.database, "options": f"{options} {said.pop('options', '')}".strip()}
    return {**ours, **known, **said, **whole}


def _make_schema(session: "psycopg.Connection[Any]") -> None:
    """Make the schema, which takes a right, where it is missing."""
    if not session.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone()[0]:  # type: ignore[index]
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")


def _said(connection: Connection, statements: str) -> str:
    """Run statements in one round trip; return their first value."""
    cursor: Any = connection.connection.cursor()
    try:
        cursor.execute(statements)
        found = ""
        while True:
            if cursor.description and not found:
                found = str(cursor.fetchone()[0])
            if not cursor.nextset():
                return found
    finally:
        cursor.close()
