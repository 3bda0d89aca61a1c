"""The commands that list what there is and what was done; each returns the exit code."""

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from base.texts import check_thread
from doctor.diagnose import counted
from doctor.missing_records import forgotten_threads
from graphs.session import Orchestrator
from ledger.usage import Grouping
from terminal import tables
from terminal.opening import run
from terminal.screen import open_screen

Rows = Sequence[tables.Row]

_FORGOTTEN = "The ledger has no record of {} that there is; twobrain doctor says which, and what to do."


@dataclass(frozen=True)
class _View:
    columns: Mapping[str, str]
    """Key of a row to the heading of its column."""
    empty: str
    """What to say where there are no rows."""


_PENDING = _View(
    {"thread_id": "thread", "user": "user", "since": "since", "calls": "waits for", "title": "title"},
    "Nothing waits for you.",
)
THREADS = {
    "thread": "thread",
    "user": "user",
    "status": "status",
    "updated_at": "last used",
    "title": "title",
}
_THREADS = _View(
    THREADS,
    "There are no threads yet. Begin one with: twobrain ask TASK",
)
_AUDIT = _View(
    {
        "started_at": "when",
        "thread": "thread",
        "tool": "tool",
        "args": "arguments",
        "decision": "decision",
        "status": "status",
        "duration_ms": "ms",
    },
    "No tool was called yet.",
)
_MODELS = _View(
    {"name": "name", "model": "model", "provider": "provider", "roles": "roles", "usable": "usable"},
    "There are no models.",
)
_TOOLS = _View(
    {
        "name": "name",
        "role": "for",
        "effect": "effect",
        "confirm": "asks first",
        "usable": "usable",
        "description": "what it does",
    },
    "There are no tools.",
)
_GROUPS = {
    "user": {"user": "user"},
    "model": {"backend": "name", "model": "model"},
    "turn": {"thread": "thread", "turn": "turn"},
    "day": {"day": "day"},
}
_SUMS = {
    "model_calls": "calls",
    "input_tokens": "input",
    "output_tokens": "output",
    "cached_tokens": "cached",
    "cost_usd": "cost",
}


def pending(*, as_json: bool) -> int:
    """List the threads that wait for a person."""

    async def rows(orchestrator: Orchestrator) -> Rows:
        return [{**row, "calls": _calls(row)} for row in await orchestrator.pending()]

    return _show(rows, _PENDING, as_json=as_json, of_threads=True)


def threads(*, user: str | None, as_json: bool) -> int:
    """List the conversations, the last used last."""

    async def rows(orchestrator: Orchestrator) -> Rows:
        return await orchestrator.ledger.threads(user=user)

    return _show(rows, _THREADS, as_json=as_json, of_threads=True)


def usage(by: Grouping, *, user: str | None, as_json: bool) -> int:
    """List what the models used, summed up."""

    async def rows(orchestrator: Orchestrator) -> Rows:
        return await orchestrator.ledger.usage_totals(by=by, user=user)

    return _show(rows, _View({**_GROUPS[by], **_SUMS}, "No model was called yet."), as_json=as_json)


def audit(thread: str | None, *, user: str | None, limit: int, as_json: bool) -> int:
    """List the tool calls, the newest last."""

    async def rows(orchestrator: Orchestrator) -> Rows:
        if thread is not None:
            check_thread(thread)
        return await orchestrator.ledger.audit(thread=thread, user=user, limit=limit)

    return _show(rows, _AUDIT, as_json=as_json)


def models(*, as_json: bool) -> int:
    """List the models, the roles they play, and what is missing to use them."""

    async def rows(orchestrator: Orchestrator) -> Rows:
        registry = orchestrator.models
        return [
            {
                "name": name,
                "label": card.label or card.model or name,
                "provider": card.provider,
                "model": card.model or None,
                "roles": [role for role, names in registry.roles.items() if name in names],
                **_availability(registry.missing(name)),
            }
            for name, card in registry.cards()
        ]

    return _show(rows, _MODELS, as_json=as_json)


def tools(*, as_json: bool) -> int:
    """List the tools, who may use them, and what is missing to use them."""

    async def rows(orchestrator: Orchestrator) -> Rows:
        return [
            {
                "name": tool.name,
                "role": tool.role,
                "effect": tool.effect,
                "confirm": tool.confirm,
                "caution": tool.caution,
                "description": tool.description,
                **_availability(tool.missing(orchestrator.settings)),
            }
            for tool in await orchestrator.all_tools()
        ]

    return _show(rows, _TOOLS, as_json=as_json)


def _calls(row: tables.Row) -> list[str]:
    names = [action["name"] for action in row["request"]["action_requests"]]
    return names or [f"damaged: see twobrain doctor --thread {shlex.quote(row['thread_id'])}"]


def _availability(missing: str | None) -> dict[str, object]:
    return {"available": missing is None, "missing": missing}


def _show(
    rows: Callable[[Orchestrator], Awaitable[Rows]],
    view: _View,
    *,
    as_json: bool,
    of_threads: bool = False,
) -> int:
    """Show what there is; of threads, also that the ledger has forgotten some."""
    screen = open_screen(machine=as_json)

    async def shown(orchestrator: Orchestrator) -> int:
        found = await rows(orchestrator)
        if lost := await forgotten_threads(orchestrator) if of_threads else []:
            screen.side.print(_FORGOTTEN.format(counted(len(lost), "conversation")), style="yellow")
        if as_json:
            tables.show_json(screen, found)
        elif found or not lost:
            tables.show(screen, [_for_people(row) for row in found], view.columns, view.empty)
        return 0

    return run(shown)


def _for_people(row: tables.Row) -> tables.Row:
    if "missing" not in row:
        return row
    asks = {"confirm": f"yes: {row['caution']}"} if row.get("caution") else {}
    words = {"description": row["description"].split("\n")[0]} if "description" in row else {}
    return {**row, **asks, **words, "usable": "yes" if row["available"] else f"no: {row['missing']}"}
