"""What somebody is told on the page, until they dismiss it there."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from base.texts import mended
from channels.messages import NoticeRows
from schedules.schedules import Schedules, note_on
from server.page.page import Json, Opened, Page
from server.page.sign_in import PageError, PageRoute, PageUser, Who

_MOST_SHOWN = 5
"""More are only counted: they are read where the conversations are listed."""
_WORDS = {"failed": "That failed", "finished": "Done", "reminder": "Reminder", "inbox": "Mailbox"}
_REMOVED = "It was removed."

router = APIRouter(route_class=PageRoute)


class Dismissed(BaseModel):
    """Which notice is dismissed, or until when all are."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(max_length=2_000), AfterValidator(mended)] | None = None
    until: float | None = Field(default=None, allow_inf_nan=False)
    """Unix seconds: what was due later stays."""


@router.get("/notices")
async def notices(who: Who, page: Opened) -> Response:
    """List what stands until it is dismissed, the latest first.

    It counts as seen: `twobrain chat` does not tell it, too. `more` are there beside.
    """
    rows, now = NoticeRows(page.res.ledger.access), page.res.ledger.now()
    found = await rows.on_page(who.user, now)
    shown = found[:_MOST_SHOWN]
    if any(row["sent_at"] is None for row in shown):
        await rows.tell([row["key"] for row in shown], now)
    return Json({"notices": [await _told(page, row) for row in shown], "more": len(found) - len(shown)})


@router.post("/notices/dismissed", status_code=204)
async def dismiss(given: Dismissed, who: Who, page: Opened) -> Response:
    """Dismiss one in all tabs, or all due until then."""
    if (given.id is None) == (given.until is None):
        raise PageError(422, "Say which one by its id, or until when by a time: one of the two.")
    rows, now = NoticeRows(page.res.ledger.access), page.res.ledger.now()
    if not await rows.dismiss(who.user, now, key=given.id, until=given.until):
        raise PageError(404, "There is no such notice of yours.")
    return Response(status_code=204)


async def read(page: Page, who: PageUser, thread: str) -> None:
    """Dismiss what somebody is told of a conversation that they open."""
    rows, now = NoticeRows(page.res.ledger.access), page.res.ledger.now()
    for row in await rows.on_page(who.user, now):
        if row["thread"] == thread:
            await rows.dismiss(who.user, now, key=row["key"])


async def _told(page: Page, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notice as the page shows it.

    By its `id` it is dismissed. What others wrote stands in `title` and `text` alone.
    """
    is_inbox = row["kind"] == "inbox"
    planned = None if is_inbox else await Schedules(page.res.ledger).found(row["subject"])
    told = {"id": row["key"], "what": _WORDS[row["kind"]], "at": row["at"], "title": "", "conversation": None}
    told["note"] = note_on(*planned) if planned else ""
    if row["kind"] == "reminder":
        return {**told, "text": planned[1].task if planned else _REMOVED}
    if is_inbox:
        return {**told, "text": row["subject"]}
    thread = await page.res.ledger.thread(row["thread"])
    if thread is None or thread["user"] != row["user"] or thread["status"] == "pruning":
        return {**told, "text": _REMOVED}
    title = thread["title"] or "Untitled"
    return {**told, "title": title, "text": await page.first_lines.of(thread), "conversation": row["thread"]}
