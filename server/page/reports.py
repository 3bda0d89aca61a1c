"""The audit and the usage on the page, and as CSV."""

import csv
import io
import json
import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from ledger.audit import AuditFilters
from server.page.page import Json, Opened
from server.page.sign_in import PageRoute, PageUser, Who

_MOST_ROWS, _MOST_IN_FILE = 500, 100_000
_COLUMNS = (
    *("started_at", "thread", "call_id", "user", "role", "model", "tool", "args", "effect"),
    *("decision", "decided_by", "decided_at", "status", "duration_ms", "result_size"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that a spreadsheet computes."""
_DAY_S = 86_400

router = APIRouter(route_class=PageRoute)

Text = Annotated[str | None, Field(max_length=1_000)]


class Sought(BaseModel):
    """Which calls to list."""

    model_config = ConfigDict(extra="forbid")

    thread: Text = None
    tool: Text = None
    status: Text = None
    user: Text = None
    q: Text = None
    before: int | None = Field(default=None, ge=0, lt=2**63)
    limit: int = Field(default=100, ge=1, le=_MOST_ROWS)

    def filters(self, who: PageUser) -> AuditFilters:
        """Return the filters; of others an admin alone finds any."""
        return AuditFilters(
            thread=self.thread or None,
            tool=self.tool or None,
            status=self.status or None,
            user=(self.user or None) if who.is_admin else who.user,
            words=self.q or None,
            before=self.before,
        )


@router.get("/audit")
async def audit(who: Who, page: Opened, sought: Annotated[Sought, Query()]) -> Response:
    """List calls, the newest first."""
    rows = await page.res.ledger.audit(limit=sought.limit, numbered=True, **sought.filters(who))
    return Json([{"id": row.pop("number"), **row} for row in reversed(rows)])


@router.get("/audit.csv")
async def audit_file(who: Who, page: Opened, sought: Annotated[Sought, Query()]) -> Response:
    """Return the calls as a file for a spreadsheet."""
    rows = await page.res.ledger.audit(limit=_MOST_IN_FILE, **sought.filters(who))
    return Response(
        _table(reversed(rows)),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="twobrain-audit.csv"'},
    )


@router.get("/usage")
async def usage(
    who: Who,
    page: Opened,
    by: Literal["day", "user", "model", "role"] = "day",
    days: Annotated[int, Query(ge=1, le=3_660)] = 30,
) -> Response:
    """Sum up what the models used, of whole days in UTC."""
    today = time.time() // _DAY_S * _DAY_S
    since, user = today - (days - 1) * _DAY_S, None if who.is_admin else who.user
    return Json(await page.res.ledger.usage_totals(by=by, since=since, user=user))


def _table(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV, in which no cell is computed."""
    written = io.StringIO()
    table = csv.writer(written, quoting=csv.QUOTE_ALL)  # whatever sign separates cells where it is read
    table.writerow(_COLUMNS)
    for row in rows:
        table.writerow([_cell(row.get(name)) for name in _COLUMNS])
    return written.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULA) else text
