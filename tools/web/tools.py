"""The web: search engines, and reading a page."""

from typing import Annotated, Any, Literal, Self

import httpx
from pydantic import BaseModel, ValidationError, model_validator

from base.settings import Card, Settings
from base.texts import one_line
from tools.declaration import Here, ToolFailure, tool
from tools.web.download import Downloaded, request
from tools.web.guard import canonical_url, open_client, read_network, read_url
from tools.web.pages import read_answer

_TAVILY = "https://api.tavily.com"
_FORBIDDEN = 403
_MOST_RESULTS = 10
_LONGEST_QUERY = 400
"""Characters, as Tavily has it."""
_LONGEST_SNIPPET = 600
_REDIRECTS = 5
_READING_S = 40
"""Downloading and reading together."""
_ACCEPTED = "text/html, application/xhtml+xml, text/*;q=0.9, application/json;q=0.9, */*;q=0.1"


class WebSearch(Card):
    """The `[tools.web_search]` table."""

    provider: Literal["searxng", "tavily"]
    """searxng, with `json` among the `search.formats` of its settings.yml, or tavily."""
    url: str | None = None
    """Where it is, private or not; None: Tavily's own address."""
    api_key_env: str | None = None
    """The variable of the key; None: TAVILY_API_KEY for Tavily, no key for SearXNG."""

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if self.provider == "searxng" and not self.url:
            raise ValueError("url is required for provider 'searxng', such as http://localhost:8888")
        read_url(self.url or _TAVILY)
        return self

    @property
    def base(self) -> httpx.URL:
        """Where the engine is."""
        return httpx.URL((self.url or _TAVILY).rstrip("/"))

    @property
    def key_variable(self) -> str | None:
        """The variable that holds the key; None: no key is needed."""
        return self.api_key_env or ("TAVILY_API_KEY" if self.provider == "tavily" else None)


class _Hit(BaseModel):
    url: str | None = None
    title: str | None = None
    content: str | None = None


class _Found(BaseModel):
    results: list[_Hit]
    unresponsive_engines: list[list[Any]] = []


def _lacks(settings: Settings) -> str | None:
    card = settings.read_table(("tools", "web_search"), WebSearch)
    if card is None:
        return "set [tools.web_search] provider (searxng and its url, or tavily) in twobrain.toml"
    if card.key_variable and not settings.secret(card.key_variable):
        return f"set the environment variable {card.key_variable}"
    return None


@tool(effect="read", untrusted=True, timeout_s=_READING_S, missing=_lacks)
async def web_search(here: Here, query: Annotated[str, "what to search for, in a few words"]) -> str:
    """Search the web: titles, addresses and snippets. Read a page with web_fetch."""
    settings = here.settings
    card = settings.read_table(("tools", "web_search"), WebSearch)
    words = " ".join(query.split())
    if card is None or not words:
        raise ToolFailure("The query is empty; say what to search for.")
    if len(words) > _LONGEST_QUERY:
        raise ToolFailure(f"The query is longer than {_LONGEST_QUERY} characters; search for fewer words.")
    key = settings.secret(card.key_variable) if card.key_variable else None
    headers = {"Accept": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    place = f"{card.base}/search"
    async with open_client(settings, only=[card.base.netloc.decode()], headers=headers) as client:
        if card.provider == "tavily":
            asked = {"query": words, "max_results": _MOST_RESULTS}
            answer = await request(client, "POST", place, json=asked)
        else:
            answer = await request(client, "GET", place, params={"q": words, "format": "json"})
    return _listed(_found(answer, card), words)


def _found(answer: Downloaded, card: WebSearch) -> _Found:
    if card.provider == "searxng" and answer.status == _FORBIDDEN:
        raise ToolFailure(
            "SearXNG does not answer in JSON; its settings.yml must list json in search.formats."
        )
    answer.require_ok()
    try:
        return _Found.model_validate_json(answer.body)
    except ValidationError:
        raise ToolFailure(f"{answer.url.host} did not answer as {card.provider} does.") from None


def _listed(found: _Found, words: str) -> str:
    hits: dict[str, _Hit] = {}
    for hit in found.results:
        if hit.url and hit.url.startswith(("https://", "http://")):
            hits.setdefault(hit.url, hit)
    if not hits:
        silent = ", ".join(str(engine[0]) for engine in found.unresponsive_engines if engine)
        note = f" These engines did not answer: {one_line(silent, _LONGEST_SNIPPET)}." if silent else ""
        return f"Nothing was found for {words!r}.{note}"
    shown = list(hits.items())[:_MOST_RESULTS]
    blocks = []
    for number, (url, hit) in enumerate(shown, 1):
        texts = (hit.title or url, url, hit.content or "")
        title, *more = (one_line(text, _LONGEST_SNIPPET) for text in texts)
        blocks.append("\n   ".join([f"{number}. {title}", *filter(None, more)]))
    return "\n\n".join(blocks)


def _lacks_nothing(settings: Settings) -> None:
    read_network(settings)  # what the guard could not use fails before a turn


@tool(
    effect="read",
    untrusted=True,
    outbound=True,
    timeout_s=_READING_S,
    missing=_lacks_nothing,
    canonical=canonical_url,
)
async def web_fetch(
    here: Here,
    url: Annotated[str, "such as https://example.com/page"],
    links: Annotated[bool, "true: keep the addresses of the links on the page"] = False,
) -> str:
    """Read a web page, a text or a PDF on the web, as plain text with its title."""
    client = open_client(
        here.settings, follow_redirects=True, max_redirects=_REDIRECTS, headers={"Accept": _ACCEPTED}
    )
    async with client:
        answer = await request(client, "GET", url.strip())
    answer.require_ok()
    return await read_answer(answer, links=links)


TOOLS = (web_search, web_fetch)
