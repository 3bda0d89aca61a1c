"""The web: searching it, and reading a page of it."""

from typing import Annotated

from base.settings import Settings
from tools.declaration import Here, tool
from tools.web import search_engines
from tools.web.download import request
from tools.web.guard import open_client, read_network
from tools.web.pages import read_answer

_REDIRECTS = 5
_LONGEST_S = 40
"""Downloading and reading together."""
_ACCEPTED = "text/html, application/xhtml+xml, text/*;q=0.9, application/json;q=0.9, */*;q=0.1"


def _lacks_nothing(settings: Settings) -> None:
    """Check the table that the guard reads."""
    read_network(settings)


@tool(effect="read", untrusted=True, timeout_s=_LONGEST_S, missing=search_engines.lacks)
async def web_search(here: Here, query: Annotated[str, "what to search for, in a few words"]) -> str:
    """Search the web: titles, addresses and snippets. Read a page with web_fetch."""
    return await search_engines.search(here.settings, query)


@tool(effect="read", untrusted=True, outbound=True, timeout_s=_LONGEST_S, missing=_lacks_nothing)
async def web_fetch(
    here: Here,
    url: Annotated[str, "such as https://example.com/page"],
    links: Annotated[bool, "true: keep the addresses of the links on the page"] = False,
) -> str:
    """Read a web page, or a text on the web, as plain text with its title."""
    client = open_client(
        here.settings, follow_redirects=True, max_redirects=_REDIRECTS, headers={"Accept": _ACCEPTED}
    )
    async with client:
        answer = await request(client, "GET", url.strip())
    answer.require_ok()
    return await read_answer(answer, links=links)


TOOLS = (web_search, web_fetch)
