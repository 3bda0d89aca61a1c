"""The development server's list of threads, brought up to the ledger.

The server keeps that list in memory, and what the terminal does is not told to it. So what is listed is
looked up in the ledger at the start, and with each request that reads the list. A conversation is read once
somebody asks for it. The server changes entries by their place in the list: so threads are added at its end,
and where some have gone, a new list takes its place.

What the ledger does not hold (queued runs, schedules, metadata) the server writes to its file every ten
seconds. Here that is written before a request for it is answered.
"""

import asyncio
import pickle
import re
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from langgraph_sdk import Auth
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from base.errors import BusyThreadError, DamagedThreadError, UnknownThreadError
from graphs.result import condition_of
from graphs.session import Orchestrator
from nodes.resources import Resources
from storage.checkpoints.durable import DurableSaver

GRAPH = "orchestrator"
"""As langgraph.json names it."""
_ASSISTANT = str(uuid5(UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8"), GRAPH))
"""The id that the server gives to the assistant of a graph."""
_STATUS = {"waiting": "interrupted", "interrupted": "error", "answered": "idle", "failed": "idle"}
"""The server's word for how a thread stands; one that is at work is `busy`."""
_ACTIVE = {"pending", "running"}
_SLACK_S = 60.0
"""By which a row may be on disk later than it says."""

_SAVED = re.compile(
    "POST /threads|PATCH /threads/[^/]+|POST (/threads/[^/]+)?/runs(/batch)?|DELETE /runs/crons/[^/]+"
)
"""Requests that change what the ledger does not hold, and whose answer is no stream of a turn."""
_LONG_AGO = datetime.fromtimestamp(0, UTC)

_LOOKED_UP_S = 2.0
"""Seconds after which a listener's right is looked up again."""

_Entry = dict[str, Any]
Filters = Auth.types.FilterType | None


class ThreadList:
    """The list of this process's server."""

    def __init__(self, res: Resources, saver: DurableSaver, server: Any) -> None:
        """Take the dict that the server keeps, and writes to a file."""
        self._orchestrator = Orchestrator(res, saver)
        self._ledger = res.ledger
        self._server = server
        self._recorded: set[str] = set()
        """Ids of the threads that the ledger has had."""
        self._unread: set[UUID] = set()
        """Threads whose entry is older than what is stored of them."""
        self._looked_at = 0.0
        """The newest row of the ledger that was seen."""
        self._saving = asyncio.Lock()
        self._writing = threading.Lock()

    async def restore(self) -> None:
        """List what the ledger has, and nothing that was deleted."""
        sync = self._server.sync

        def alone() -> None:
            with self._writing:
                sync()

        self._server.sync = alone
        self._recorded = {str(entry["thread_id"]) for entry in self._threads}
        await self._compare()

    async def refresh(self, thread: str) -> None:
        """Bring one thread up to date, before it is used."""
        row = await self._ledger.thread(thread)
        if row:
            self._enter([row])
            await self._read([found for found in self._threads if str(found["thread_id"]) == thread])

    async def refresh_all(self, owners: Collection[str], wanted: Mapping[str, Any]) -> None:
        """Bring up to date what a search of owners' threads will find."""
        await self._compare()
        mine = [entry for entry in self._threads if entry["metadata"].get("owner") in owners]
        await self._read([entry for entry in mine if entry["status"] != "idle"])
        if not wanted.get("values"):
            status, last = wanted.get("status"), (wanted.get("offset") or 0) + (wanted.get("limit") or 0)
            found = [entry for entry in mine if status in {None, entry["status"]}]
            mine = sorted(found, key=lambda entry: entry["updated_at"], reverse=True)[:last]
        await self._read(mine)

    async def save(self) -> None:
        """Write to the server's file what nothing else holds."""
        async with self._saving:
            threads = [{**each, "values": None, "state_updated_at": _LONG_AGO} for each in self._threads]
            runs = [run for run in self._server["runs"] if run["status"] in _ACTIVE]
            content = pickle.dumps({**self._server, "threads": threads, "runs": runs})
            await asyncio.to_thread(self._write, content)

    def _write(self, content: bytes) -> None:
        path = Path(self._server.filename)
        part = path.with_name(f"{path.name}.saved")
        with self._writing:
            part.write_bytes(content)
            part.replace(path)

    @property
    def _threads(self) -> list[_Entry]:
        threads: list[_Entry] = self._server["threads"]
        return threads

    def _active(self) -> set[UUID]:
        """Return the threads that have a run, under way or queued."""
        return {run["thread_id"] for run in self._server["runs"] if run["status"] in _ACTIVE}

    def is_running_for(self, user: str, thread: str) -> bool:
        """Tell whether a run that a user began is under way."""
        return any(
            run["kwargs"]["config"]["configurable"].get("langgraph_auth_user_id") == user
            for run in self._server["runs"]
            if run["status"] in _ACTIVE and str(run["thread_id"]) == thread
        )

    async def _compare(self) -> None:
        """List what the ledger has, and no more what it has lost."""
        before = set(self._recorded)
        rows = await self._ledger.threads(since=self._looked_at - _SLACK_S)
        there = await self._ledger.thread_names() - {
            row["thread"] for row in rows if row["status"] == "pruning"
        }
        self._enter(rows)
        self._looked_at = max([self._looked_at, *(row["updated_at"] for row in rows)])
        if lost := before - there:
            gone = {UUID(name) for name in lost} - self._active()
            for entry in self._threads:
                if entry["thread_id"] in gone:
                    entry["metadata"] = {}  # nobody's: a search that has begun has the old list
            self._server["threads"] = [each for each in self._threads if each["thread_id"] not in gone]
            self._unread -= gone
            self._recorded -= {str(thread) for thread in gone}

    def _enter(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """List threads, and note which entries are stale."""
        listed = {entry["thread_id"]: entry for entry in self._threads}
        active = self._active()
        for row in rows:
            thread = _id_of(row["thread"])
            if thread is None or row["status"] == "pruning":
                continue
            self._recorded.add(row["thread"])
            at = datetime.fromtimestamp(row["updated_at"], UTC)
            entry = listed.get(thread)
            if entry is None:
                entry = listed[thread] = _entry(thread, row, at)
                self._threads.append(entry)
            elif thread in active or (entry.get("state_updated_at") or entry["updated_at"]) >= at:
                entry["metadata"]["owner"] = row["user"]
                continue
            entry.update(status=_STATUS.get(row["status"], "busy"), updated_at=at, state_updated_at=at)
            entry["metadata"].update(owner=row["user"], graph_id=GRAPH, assistant_id=_ASSISTANT)
            self._unread.add(thread)

    async def _read(self, listed: Iterable[_Entry]) -> None:
        stale = {each["thread_id"]: each["status"] for each in listed if each["thread_id"] in self._unread}
        for thread, status in stale.items():
            if status == "busy" and await self._is_busy(str(thread)):
                continue
            self._unread.discard(thread)
            changes = await self._state(str(thread))
            if thread not in self._active():  # a run has not begun since
                for entry in self._threads:
                    if entry["thread_id"] == thread:  # the server may have put another dict in its place
                        entry.update(changes)

    async def _is_busy(self, thread: str) -> bool:
        """Tell whether a turn is under way, in another process."""
        try:
            async with self._orchestrator.turns.at_once(thread):
                return False
        except BusyThreadError:
            return True

    async def _state(self, thread: str) -> Mapping[str, Any]:
        """Return how a thread's entry is to read."""
        try:
            found = await self._orchestrator.snapshot(thread)
        except UnknownThreadError:
            return {"status": "idle"}
        except DamagedThreadError as error:
            return {"status": "error", "error": str(error)}
        messages = [each.model_dump() for each in found.values.get("messages", [])]
        asked = {
            task.id: [{"id": each.id, "value": each.value} for each in task.interrupts]
            for task in found.tasks
            if task.interrupts
        }
        told = {"values": {**found.values, "messages": messages}, "interrupts": asked}
        return {**told, "status": _STATUS[condition_of(found)], "error": None}


opened: list[ThreadList] = []
"""The list of this process's server, once that runs; empty under other servers."""


class SavedFirst:
    """Answers a request once what it changed is on disk."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def saved(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 300:  # noqa: PLR2004 (it went well)
                for threads in opened:
                    await threads.save()
            await send(message)

        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        changes = scope["type"] == "http" and _SAVED.fullmatch(f"{scope['method']} {path.rstrip('/')}")
        await self._app(scope, receive, saved if changes else send)


def _entry(thread: UUID, row: Mapping[str, Any], at: datetime) -> _Entry:
    made = datetime.fromtimestamp(row["created_at"], UTC)
    named = {"thread_id": thread, "created_at": made, "updated_at": at, "state_updated_at": at}
    return {**named, "metadata": {}, "config": {}, "values": None, "interrupts": {}, "error": None}


def _id_of(thread: str) -> UUID | None:
    """Return a thread's id; None: the server takes UUIDs alone."""
    try:
        found = UUID(thread)
    except ValueError:
        return None
    return found if str(found) == thread else None


class Listeners:
    """Who listens to a run: their right to is known at once.

    LangGraph's development server asks for it in each half second of silence; where a run ends while it
    waits for the answer, its last event is lost. So the right is looked up again beside that, and what has
    changed holds from then on.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Filters, float]] = {}
        self._looking: set[asyncio.Task[None]] = set()

    def filter_of(self, user: str, thread: str, look: Callable[[], Awaitable[Filters]]) -> Filters:
        """Return the filter of one who listens; None: `look` it up."""
        key = (user, thread)
        filters, at = self._known.get(key, (None, 0.0))
        if filters is None or not any(threads.is_running_for(user, thread) for threads in opened):
            self._known.pop(key, None)
            return None
        if time.monotonic() - at > _LOOKED_UP_S:
            self._known[key] = (filters, time.monotonic())
            self._looking.add(task := asyncio.create_task(self._look(key, look)))
            task.add_done_callback(self._looking.discard)
        return filters

    def note(self, user: str, thread: str, filters: Filters) -> None:
        """Note what a user may read."""
        if opened and thread:
            self._known[user, thread] = (filters, time.monotonic())

    async def _look(self, key: tuple[str, str], look: Callable[[], Awaitable[Filters]]) -> None:
        try:
            filters = await look()
        except Exception:  # whatever it is, it is told to whoever asks next
            filters = None
        if not filters:
            self._known.pop(key, None)
