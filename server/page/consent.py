"""What waits for somebody's consent, as the page shows it."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from graphs.stream import shown
from nodes.gate.request import identity_of
from server.page.page import Json, Opened
from server.page.sign_in import PageRoute, PageUser, Who

_MOST_REFERENCES = 4
"""That are taken from a property to what it refers to."""


router = APIRouter(route_class=PageRoute)


@router.get("/waiting")
async def waiting(who: Who, page: Opened) -> Response:
    """List what waits for somebody, the longest waiting first."""
    found = await page.orchestrator.pending(user=who.user)
    tools = page.orchestrator.tools
    names = {action["name"] for row in found for action in row["request"]["action_requests"]}
    if any(tools.find(name) is None for name in names):
        tools = await page.orchestrator.all_tools()
    return Json(
        [
            {
                "id": row["thread_id"],
                "user": row["user"],
                "title": row["title"] or "",
                "since": row["since"],
                "question": identity_of(row["request"]),
                "request": shown(row["request"]),
                "schemas": {
                    action["name"]: simplified(tool.parameters)
                    for action in row["request"]["action_requests"]
                    if (tool := tools.find(action["name"]))
                },
                "may_answer": _may_agree(row["request"], who),
                "may_reject": bool(row["request"]["action_requests"]),
            }
            for row in found
        ]
    )


def _may_agree(request: Mapping[str, Any], who: PageUser) -> bool:
    approvers = request.get("approvers")
    return bool(request["action_requests"]) and (not approvers or who.user in approvers)


def simplified(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema whose properties refer to nothing, and are not null."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return dict(schema)
    return {**schema, "properties": {name: _resolved(each, schema) for name, each in properties.items()}}


def _resolved(part: Any, schema: Mapping[str, Any]) -> Any:
    for _ in range(_MOST_REFERENCES):
        inner = _inner(part, schema) if isinstance(part, Mapping) else None
        if not isinstance(inner, Mapping):
            return part
        part = {**{name: its for name, its in part.items() if name not in {"anyOf", "$ref"}}, **inner}
    return part


def _inner(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """Return what a schema stands for; None: it stands for itself."""
    named, kinds = part.get("$ref"), part.get("anyOf")
    if isinstance(named, str):
        defined = schema.get("$defs")
        return defined.get(named.rpartition("/")[2]) if isinstance(defined, Mapping) else None
    kinds = [each for each in kinds if isinstance(each, Mapping)] if isinstance(kinds, list) else []
    kinds = [each for each in kinds if each.get("type") != "null"]
    return kinds[0] if len(kinds) == 1 else None
