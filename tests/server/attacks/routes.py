"""Every route that a server offers, as its openapi.json says."""

import re
import uuid
from collections.abc import Mapping

import httpx

from tests.server.serving import Server

OPEN = {"/", "/ok", "/info", "/ready", "/docs", "/openapi.json"}
"""What needs no token: it says nothing of anybody."""
CLOSED = {
    "/internal/truncate",
    "/internal/debug/thread/{thread_id}",
    "/deploy",
    "/deploy/{operation_id}/stream",
}
"""What the development server offers to whoever asks, and ours to nobody."""


def routes(server: Server, given: Mapping[str, str] | None = None) -> list[tuple[str, str, str]]:
    """Return each route's method, path, and path with ids filled in: those given, else any."""
    known = given or {}
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    return [
        (method.upper(), path, re.sub(r"{(\w+)}", lambda found: known.get(found[1], str(uuid.uuid4())), path))
        for path, methods in paths.items()
        for method in methods
    ]


def group(path: str) -> str:
    """Return what a route is listed under: `/threads/…/runs` or `/threads`, by its first words."""
    words = [word for word in path.split("/") if word and not word.startswith("{")]
    return "/" + "/".join(words[:2] if words[:1] == ["threads"] and "runs" in words else words[:1])
