"""What became of a due time, and who was told, in words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from ledger.ledger import Ledger
from ledger.tables import notices, rows_of
from ledger.threads import PAGE
from schedules.schedules import Run


async def outcomes(ledger: Ledger, runs: Iterable[Run]) -> dict[str, str]:
    """Return what became of runs, by their ids."""
    found = {run.id: run for run in runs}
    query = select(notices).where(notices.c.subject.in_(found), notices.c.kind != "question")
    rows = await ledger.access.read(rows_of, query) if found else []
    return {
        ident: outcome(run, [row for row in rows if row["subject"] == ident], ledger.now())
        for ident, run in found.items()
    }


def outcome(run: Run, told: Sequence[Mapping[str, Any]], now: float) -> str:
    """Return what became of a run, and where it is untold."""
    unseen = [row for row in told if row["sent_at"] is None]  # what was seen may stand on the page still
    waits = [row["place"] for row in unseen if row["resolved_at"] is None]
    gone = [row["place"] for row in unseen if row["resolved_at"] is not None and row["place"] != PAGE]
    lost = f"but {_listed(gone)} could not be told" if gone else ""
    elsewhere = [place for place in waits if place != PAGE]
    late = f"{_listed(elsewhere)} is not told yet" if elsewhere else ""
    if run.status != "sent":
        return ", ".join(filter(None, (run.status, lost, late)))
    if waits and run.due_at > now:
        return "on its way"
    shown = "waits on the page until it is shown" if PAGE in waits else ""
    return ", ".join(filter(None, (shown or ("waits" if waits else "sent"), lost, late)))


def _listed(places: Sequence[str]) -> str:
    return " and ".join(places)
