"""The ledger's tables, for SQLite and Postgres; times are epoch seconds."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Double,
    Index,
    LargeBinary,
    Select,
    Table,
    UniqueConstraint,
    cast,
    func,
    literal_column,
)

from storage.shared_tables import Number, String, Text, metadata

VERSION = 5
"""Of the schema below; a database with a higher one is refused, one with a lower one brought up to it."""

OLDEST = 2
"""Version that is brought up to date; one of before is refused."""

MIGRATIONS: tuple[tuple[int, str], ...] = ()
"""Versions, oldest first, each with a statement for a table that is there; a new one is made whole."""

schema = Table(
    "ledger_schema",
    metadata,
    Column("id", Number, primary_key=True),
    Column("version", Number, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("id", Number, primary_key=True),
    Column("thread", String, nullable=False),
    Column("call_id", String, nullable=False),
    Column("turn", String, nullable=False),
    Column("user", String, nullable=False, index=True),
    Column("role", String, nullable=False),
    Column("model", String, nullable=False),
    Column("tool", String, nullable=False),
    Column("args", Text, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("made", String),
    Column("round", String),
    Column("runs_seen", Number, nullable=False, default=0),
    Column("earlier", String),
    Column("effect", String, nullable=False),
    Column("status", String, nullable=False),
    Column("decision", String),
    Column("decided_by", String),
    Column("decided_at", Double),
    Column("shown", String),
    Column("expires_at", Double),
    Column("owner", String),
    Column("lease_until", Double),
    Column("attempts", Number, nullable=False, default=0),
    Column("started_at", Double),
    Column("duration_ms", Double),
    Column("text", Text),
    Column("result_size", Number),
    Column("result_sha256", String),
    Column("untrusted", Boolean),
    UniqueConstraint("thread", "call_id", "user"),
)
"""`made` is the fingerprint as a model made the call, whatever it was edited to; `round` is shared by those
made at once; neither is known of a read, which may run again. `runs_seen` is how often the same had been
begun in the turn by then; `earlier` the id of the first of those, where the conversation does not hold it.
`shown` is the hash of what a person decided on."""

is_change = calls.c.effect != literal_column("'read'")
"""Said without a parameter, so that SQLite sees that the index below holds all such calls."""

Index("calls_alike", calls.c.turn, calls.c.made, sqlite_where=is_change)  # Postgres: it loads a driver

usage = Table(
    "usage",
    metadata,
    Column("id", Number, primary_key=True),
    Column("thread", String, nullable=False, index=True),
    Column("turn", String, nullable=False),
    Column("user", String, nullable=False, index=True),
    Column("path", String, nullable=False),
    Column("role", String, nullable=False),
    Column("backend", String, nullable=False),
    Column("model", String, nullable=False),
    Column("input_tokens", Number),
    Column("output_tokens", Number),
    Column("cached_tokens", Number),
    Column("reasoning_tokens", Number),
    Column("counted_tokens", Number),
    Column("cost_usd", Double),
    Column("duration_ms", Double),
    Column("error", Text),
    Column("at", Double, nullable=False, index=True),
    Column("day", String, nullable=False),
    Index("usage_by_day", "user", "day", "counted_tokens", "cost_usd"),  # all that the sum of a day needs
)

chats = Table(
    "chats",
    metadata,
    Column("user", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("thread", String, nullable=False, index=True),
    Column("at", Double, nullable=False),
)
"""What a chat, or a request, is called in another program, and the thread that it is here."""

messengers = Table(
    "messengers",
    metadata,
    Column("name", String, primary_key=True),
    Column("cursor", Text, nullable=False),
    Column("unknown_senders", Number, nullable=False),
)
"""How far each messenger was read, and how many messages came from who may not use it."""

received = Table(
    "received",
    metadata,
    Column("id", Number, primary_key=True),
    Column("messenger", String, nullable=False),
    Column("name", String, nullable=False),
    Column("lane", String, nullable=False, index=True),
    Column("chat", String, nullable=False),
    Column("user", String, nullable=False),
    Column("content", Text, nullable=False),
    Column("album", String, nullable=False),
    Column("status", String, nullable=False, index=True),
    Column("thread", String, index=True),
    Column("turn", String),
    Column("shown", String),
    Column("at", Double, nullable=False),
    UniqueConstraint("messenger", "name"),
)
"""What came from messengers. What is of one `lane` is done in its order; `name` is what the messenger calls
it; `turn` the id of the message that it became, `shown` the question that its sender saw."""

notices = Table(
    "notices",
    metadata,
    Column("key", String, primary_key=True),
    Column("user", String, nullable=False, index=True),
    Column("place", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("thread", String, nullable=False, index=True),
    Column("subject", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("sent_at", Double),
    Column("reminded_at", Double),
    Column("resolved_at", Double),
)
"""What people are told of, in each `place` that they chose; `subject` is a question's identity, or a turn.

Due from `at` on; told at `sent_at`, a question that waits still once more at `reminded_at`. Open until
`resolved_at`: a question until it waits no more, what is on the page until it is dismissed, all else until it
is told, or its place is gone (then never told there, it is told on the page).
"""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Number, primary_key=True),
    Column("messenger", String, nullable=False),
    Column("chat", String, nullable=False),
    Column("key", String, nullable=False),
    Column("part", Number, nullable=False),
    Column("status", String, nullable=False),
    Column("message", String),
    Column("text", Text, nullable=False),
    Column("user", String, nullable=False),
    Column("thread", String, index=True),
    Column("question", String),
    Column("calls", Text),
    Column("at", Double, nullable=False),
    UniqueConstraint("messenger", "chat", "key", "part"),
)
"""What is sent to messengers, of which `message` is not known while it may have been sent; `question` is the
identity of the one that it puts, about `calls`."""

threads = Table(
    "threads",
    metadata,
    Column("thread", String, primary_key=True),
    Column("user", String, nullable=False, index=True),
    Column("status", String, nullable=False),
    Column("title", Text),
    Column("waiting_since", Double),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("owner", String),
)

rules = Table(
    "rules",
    metadata,
    Column("id", String, primary_key=True),
    Column("user", String, nullable=False, index=True),
    Column("tool", String, nullable=False),
    Column("where", Text, nullable=False),
    Column("until", Double),
    Column("uses_left", Number),
    Column("definition", String, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", String, nullable=False),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", String, primary_key=True),
    Column("user", String, nullable=False, index=True),
    Column("title", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("is_reminder", Boolean, nullable=False),
    Column("kind", String, nullable=False),
    Column("rule", Text, nullable=False),
    Column("zone", String, nullable=False),
    Column("begins_at", Double, nullable=False),
    Column("next_at", Double, index=True),
    Column("status", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("when_missed", String, nullable=False),
    Column("place", String, nullable=False),
    Column("untrusted", Boolean, nullable=False),
    Column("is_quiet", Boolean, nullable=False),
    Column("choices", Text, nullable=False),
    Column("failures", Number, nullable=False),
    Column("created_at", Double, nullable=False),
)
"""What is to be done at its time; see `schedules.schedules.Schedule`."""

schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("schedule", String, nullable=False, index=True),
    Column("user", String, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("status", String, nullable=False, index=True),
    Column("missed", Number, nullable=False),
    Column("thread", String, nullable=False),
    Column("at", Double, nullable=False),
    UniqueConstraint("schedule", "due_at"),
)
"""What became of each due time; `missed` counts those before it at which nobody was awake."""

events = Table(
    "events",
    metadata,
    Column("run", String, primary_key=True),
    Column("key", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("text", Text, nullable=False),
)
"""What a run that is due was started by; see `schedules.triggers.Event`."""

mailboxes = Table(
    "mailboxes",
    metadata,
    Column("user", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("validity", Number, nullable=False),
    Column("uid", Number, nullable=False),
)
"""How far a person's inbox was looked through: the UID of the last mail, and the folder's UIDVALIDITY."""

thread_titles = Table(
    "thread_titles",
    metadata,
    Column("thread", String, primary_key=True),
    Column("title", Text, nullable=False),
)
"""What people called their threads."""

page_sessions = Table(
    "page_sessions",
    metadata,
    Column("digest", String, primary_key=True),
    Column("user", String, nullable=False, index=True),
    Column("token_sha256", String, nullable=False),
    Column("expires_at", Double, nullable=False),
)
"""`digest` is of what the cookie holds; `token_sha256` of the token by which somebody signed in."""

failed_sign_ins = Table(
    "failed_sign_ins",
    metadata,
    Column("id", Number, primary_key=True),
    Column("source", String, nullable=False, index=True),
    Column("at", Double, nullable=False),
)

declined_rules = Table(
    "declined_rules",
    metadata,
    Column("id", Number, primary_key=True),
    Column("user", String, nullable=False, index=True),
    Column("tool", String, nullable=False),
    Column("where", Text, nullable=False),
    Column("until", Double),
)
"""Rules that were revoked, or offered and not taken. Until then none like them is offered; None: never."""

unknown_outcomes = Table(
    "unknown_outcomes",
    metadata,
    Column("id", Number, primary_key=True),
    Column("user", String, nullable=False),
    Column("thread", String, nullable=False),
    Column("call_id", String, nullable=False),
    Column("attempt", Number, nullable=False),
    Column("asked_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("decision", String),
    Column("decided_by", String),
    Column("decided_at", Double),
    UniqueConstraint("thread", "call_id", "user", "attempt"),
)

undo_log = Table(
    "undo_log",
    metadata,
    Column("id", Number, primary_key=True),
    Column("user", String, nullable=False, index=True),
    Column("thread", String, nullable=False),
    Column("call_id", String, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
    UniqueConstraint("thread", "call_id", "user"),
)
"""What calls changed, as it was before, and as they left it: JSON, as it is, for it is put back."""


def total(column: Column[Any]) -> ColumnElement[Any]:
    """Return a column's sum, of its own type; Postgres would make decimals."""
    return cast(func.sum(column), column.type)


def matching(table: Table, filters: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Return the filters' conditions; None: no filter; `since` is inclusive."""
    given = {name: value for name, value in filters.items() if value is not None}
    since = given.pop("since", None)
    conditions = [table.c[name] == value for name, value in given.items()]
    return conditions if since is None else [*conditions, table.c.at >= since]


def parsed(text: str) -> Any:
    """Return stored JSON; None: unreadable, which must not hide other rows."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def rows_of(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    """Return the rows that a query finds, by column."""
    return [dict(row) for row in connection.execute(query).mappings()]
