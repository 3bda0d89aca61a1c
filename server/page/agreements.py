"""What was agreed to and remembered: rules, pins of MCP tools, memories."""

import time

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from base.errors import UnknownRuleError
from server.page.page import Json, Opened, Page
from server.page.sign_in import PageError, PageRoute, Who
from tools.declaration import ToolFailure
from tools.memory import memory_rows, place_of, write_memory
from tools.policy.rules import why_not

router = APIRouter(route_class=PageRoute)


class Memory(BaseModel):
    """What is to be remembered instead."""

    model_config = ConfigDict(extra="forbid")

    text: str


@router.get("/rules")
async def rules(who: Who, page: Opened) -> Response:
    """List the remembered rules, and whether each holds."""
    found = await page.res.ledger.rules(user=None if who.is_admin else who.user)
    tools = await page.orchestrator.all_tools() if found else page.orchestrator.tools
    told = []
    for rule in found:
        tool = tools.get(rule["tool"])
        problem = why_not(rule, tool.definition if tool else None, time.time())
        told.append({**rule, "holds": problem is None, "why_not": problem})
    return Json(told)


@router.delete("/rules/{rule}", status_code=204)
async def revoke(rule: str, who: Who, page: Opened) -> Response:
    """Forget a rule."""
    if not await page.res.ledger.revoke_rule(rule, user=None if who.is_admin else who.user):
        raise UnknownRuleError(f"There is no rule {rule!r} of yours.")
    return Response(status_code=204)


@router.get("/pins")
async def pins(who: Who, page: Opened) -> Response:
    """List the tools of MCP servers, and which are agreed to."""
    servers = page.res.servers
    return Json(await servers.agreements(who.user) if servers else [])


@router.delete("/pins/{server}/{tool}", status_code=204)
async def withdraw(server: str, tool: str, who: Who, page: Opened) -> Response:
    """Take an agreement back: the tool asks again."""
    servers = page.res.servers
    if servers is None or not await servers.withdraw(server, tool, who.user):
        raise PageError(404, f"There is no tool {tool!r} of an MCP server {server!r}.")
    page.changes.note(who.user, "pins")
    return Response(status_code=204)


@router.get("/memories")
async def memories(who: Who, page: Opened) -> Response:
    """List a user's memories, the latest first."""
    return Json(await memory_rows(page.store, page.res.ledger, who.user))


@router.patch("/memories/{memory}")
async def rewrite(memory: str, given: Memory, who: Who, page: Opened) -> Response:
    """Have something else remembered instead; its id is then another.

    The person has read what they save, so that no mark stays.
    """
    redact = page.res.settings.redact
    await _check_memory(page, who.user, memory)
    try:
        key = await write_memory(page.store, who.user, given.text, redact, instead=memory)
    except ToolFailure as failure:
        raise PageError(422, str(failure)) from None
    page.changes.note(who.user, "memories")
    return Json({"id": key, "text": given.text.strip(), "untrusted": False})


@router.delete("/memories/{memory}", status_code=204)
async def forget(memory: str, who: Who, page: Opened) -> Response:
    """Forget a memory."""
    await _check_memory(page, who.user, memory)
    await page.store.adelete(place_of(who.user), memory)
    page.changes.note(who.user, "memories")
    return Response(status_code=204)


async def _check_memory(page: Page, user: str, key: str) -> None:
    if await page.store.aget(place_of(user), key) is None:
        raise PageError(404, f"There is no memory {key!r} of yours.")
