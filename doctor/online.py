"""The check of what is reached: models, servers, the database."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import unquote

import httpx

from base.data_dir import LEDGER
from base.errors import StorageError, TwobrainError
from base.settings import LOCAL, Settings
from base.tasks import within
from base.texts import count
from base.worker_threads import in_thread
from channels.service import open_messengers
from doctor.machine import Finding
from doctor.model_calls import call_model
from ledger.ledger import Ledger
from models.catalog import Embedder, ModelRegistry, open_embedder
from models.providers import provider
from tools.calendar.caldav import open_calendar
from tools.calendar.tools import CalendarCard
from tools.declaration import Here, ToolFailure
from tools.mail.imap import open_mailbox
from tools.mail.inbox_card import cards
from tools.mail.tools import MailCard, open_server
from tools.mcp.config import read_servers
from tools.mcp.servers import Servers
from tools.registry import open_registry
from tools.run import run_tool
from tools.web.tools import WebSearch, web_search

_CHECKS_AT_ONCE = 8
_LONGEST_CHECK_S = 60.0
"""Of one check; each has a shorter limit of its own, which some hold to more than once."""
_TIMEOUT_S = 10.0
_LANGSMITH = "https://api.smith.langchain.com"
_TRUE = {"true", "1"}
_PROTOBUF = "application/x-protobuf"

_Check = Callable[[], Awaitable[Finding]]


async def check_online(settings: Settings) -> list[Finding]:
    """Call each model with one token, and reach all that is configured.

    What the calls cost is in the ledger, under the role `doctor`. What would send something to a person or
    change anything, such as a notification, is left out.
    """
    database, ledger = await _database(settings)
    bound = asyncio.Semaphore(_CHECKS_AT_ONCE)
    try:
        checks = [*_models(settings, ledger), *_services(settings), *_telemetry(settings)]
        found = await asyncio.gather(*(_bounded(name, check, bound) for name, check in checks))
    except TwobrainError as error:  # a table is not as it should be
        found = [Finding("settings", "bad", str(error))]
    finally:
        if ledger:
            await ledger.close()
    return [replace(each, text=settings.redact(each.text)) for each in (database, *found)]


async def _bounded(name: str, check: _Check, bound: asyncio.Semaphore) -> Finding:
    """Return a check's finding; whatever it throws is one."""
    async with bound:
        try:
            return await within(_LONGEST_CHECK_S, _awaited(check), cancellations=2, wait_s=1.0)
        except TimeoutError:
            return Finding(name, "bad", f"it did not answer in {_LONGEST_CHECK_S:g} s")
        except (TwobrainError, ToolFailure) as error:
            return Finding(name, "bad", str(error))
        except httpx.InvalidURL as error:
            return Finding(name, "bad", f"its address cannot be read: {error}")
        except httpx.HTTPError as error:
            return Finding(name, "bad", f"it cannot be reached: {str(error) or type(error).__name__}")
        except Exception as error:  # of any client; one that cannot be checked costs no other
            return Finding(name, "bad", f"it cannot be used: {type(error).__name__}: {error}")


async def _awaited(check: _Check) -> Finding:
    return await check()


async def _database(settings: Settings) -> tuple[Finding, Ledger | None]:
    """Write to the ledger and read; None: it cannot be opened."""
    begun = time.monotonic()
    try:
        ledger = await Ledger.open(settings.database_url or settings.data_dir / LEDGER, settings.redact)
        await ledger.settled()
        await ledger.threads(status="running")
    except StorageError as error:
        return Finding("storage", "bad", str(error)), None
    return Finding("storage", "good", f"written and read in {_since(begun)}"), ledger


def _models(settings: Settings, ledger: Ledger | None) -> Iterator[tuple[str, _Check]]:
    """Yield a check for each model, and each user's own key."""
    registry = ModelRegistry(settings)
    for model, _ in registry.cards():
        keys = {registry.key_variable(model, user): user for user in (*settings.users, LOCAL)}
        for user in sorted(keys.values(), key=lambda user: user != LOCAL):
            name = f"model {model}" + (f" of {user}" if user != LOCAL else "")
            yield name, partial(_model, settings, name, model, user, ledger)
    if embedder := open_embedder(settings):
        yield "embeddings", partial(_embeddings, embedder)


async def _model(settings: Settings, name: str, model: str, user: str, ledger: Ledger | None) -> Finding:
    registry = ModelRegistry(settings)
    if lacking := registry.missing(model, user):
        return Finding(name, "bad", lacking)
    if provider(registry.card(model).provider).is_stand_in:
        return Finding(name, "good", "rules of our own, which need nothing")
    heard = await call_model(settings, model, user, ledger)
    return Finding(name, heard.state, heard.text)


async def _embeddings(embedder: Embedder) -> Finding:
    begun = time.monotonic()
    vector = await embedder.of_query("yes")
    return Finding("embeddings", "good", f"{embedder.name} gave {len(vector)} numbers in {_since(begun)}")


def _services(settings: Settings) -> Iterator[tuple[str, _Check]]:
    """Yield a check for each service that is configured."""
    for server in read_servers(settings):
        yield f"mcp {server}", partial(_mcp, settings, server)
    if mail := settings.read_table(("tools", "send_email"), MailCard):
        yield "mail", partial(_mail, settings, mail)
    for user in cards(settings):
        yield f"inbox of {user}", partial(_inbox, settings, user)
    if calendar := settings.read_table(("tools", "calendar"), CalendarCard):
        yield "calendar", partial(_calendar, settings, calendar)
    if settings.read_table(("tools", "web_search"), WebSearch):
        yield "search", partial(_search, settings)
    for name in settings.channels:
        yield f"messenger {name}", partial(_messenger, settings, name)


async def _mcp(settings: Settings, server: str) -> Finding:
    """Start a server, or connect to it, and count its tools."""
    begun = time.monotonic()
    alone = settings.model_copy(update={"mcp": {"servers": {server: settings.mcp["servers"][server]}}})
    servers, ours = await asyncio.to_thread(lambda: (Servers(alone), open_registry(alone)))
    try:
        joined = await servers.join(ours, LOCAL)
    finally:
        await servers.close()
    added = [tool for tool in joined if ours.find(tool.name) is None]
    problems = [lack for tool in added if (lack := tool.missing(settings))]
    told = "; ".join([f"{count(len(added) - len(problems), 'tool')} in {_since(begun)}", *problems])
    return Finding(f"mcp {server}", "bad" if problems else "good", told)


async def _mail(settings: Settings, card: MailCard) -> Finding:
    begun = time.monotonic()
    if lack := card.missing(settings, "mail server"):
        return Finding("mail", "bad", lack)
    async with open_server(settings, card) as server:
        await server.noop()
    how = "logged in" if card.user else "connected"
    return Finding("mail", "good", f"{how} to {card.host} in {_since(begun)}; nothing was sent")


async def _inbox(settings: Settings, user: str) -> Finding:
    begun = time.monotonic()

    def look() -> int:
        with open_mailbox(settings, user) as box:
            box.select("INBOX")
            return box.size

    found = await in_thread(look)
    return Finding(f"inbox of {user}", "good", f"it has {count(found, 'mail')}, read in {_since(begun)}")


async def _calendar(settings: Settings, card: CalendarCard) -> Finding:
    begun = time.monotonic()
    if lack := card.missing(settings, "calendar server"):
        return Finding("calendar", "bad", lack)
    async with open_calendar(card.url, card.login(settings), card.calendar) as calendar:
        return Finding("calendar", "good", f"found at {calendar.url.host} in {_since(begun)}")


async def _search(settings: Settings) -> Finding:
    here = Here(settings, LOCAL, "user", "doctor", "doctor", "doctor")
    ran = await run_tool(web_search, here, {"query": "weather"})
    if ran.status != "executed":
        return Finding("search", "bad", ran.text.removeprefix("Tool error: "))
    return Finding("search", "good", f"answered in {ran.duration_ms / 1_000:.1f} s")


async def _messenger(settings: Settings, name: str) -> Finding:
    begun = time.monotonic()
    opened = await asyncio.to_thread(open_messengers, settings)
    async with next(each for each in opened if each.name == name) as messenger:
        told = f"it is {await messenger.own_name()}, in {_since(begun)}"
        unusable = await messenger.unusable()
        words = f"{told}; {unusable}" if unusable else told
        return Finding(f"messenger {name}", "note" if unusable else "good", words)


def _telemetry(settings: Settings) -> Iterator[tuple[str, _Check]]:
    """Yield a check for each place that traces go to."""
    tracing = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2")
    if any((settings.secret(name) or "").lower() in _TRUE for name in tracing):
        yield "langsmith", partial(_langsmith, settings)
    general = settings.secret("OTEL_EXPORTER_OTLP_ENDPOINT")
    place = settings.secret("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if place := place or (general and f"{general.rstrip('/')}/v1/traces"):
        yield "telemetry", partial(_otlp, settings, place)


async def _langsmith(settings: Settings) -> Finding:
    base = settings.secret("LANGSMITH_ENDPOINT") or settings.secret("LANGCHAIN_ENDPOINT") or _LANGSMITH
    key = settings.secret("LANGSMITH_API_KEY") or settings.secret("LANGCHAIN_API_KEY") or ""
    async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
        answer = await client.get(f"{base.rstrip('/')}/sessions?limit=1", headers={"x-api-key": key})
    return _status("langsmith", answer)


async def _otlp(settings: Settings, place: str) -> Finding:
    """Send an empty list of spans."""
    given = settings.secret("OTEL_EXPORTER_OTLP_TRACES_HEADERS")
    headers = _headers(given or settings.secret("OTEL_EXPORTER_OTLP_HEADERS") or "")
    async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
        answer = await client.post(place, content=b"", headers={**headers, "Content-Type": _PROTOBUF})
    return _status("telemetry", answer)


def _headers(given: str) -> Mapping[str, str]:
    """Return the headers of `name=value,name=value`, as the variable has them."""
    pairs = (pair.partition("=") for pair in given.split(",") if "=" in pair)
    return {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}


def _status(name: str, answer: httpx.Response) -> Finding:
    place = answer.url.host
    if answer.is_success:
        return Finding(name, "good", f"{place} answered in {answer.elapsed.total_seconds():.1f} s")
    key = " Check its key." if answer.status_code in {401, 403} else ""
    return Finding(name, "bad", f"{place} answered {answer.status_code} {answer.reason_phrase}.{key}")


def _since(begun: float) -> str:
    return f"{time.monotonic() - begun:.1f} s"
