"""A server of ours as an orchestrator: its conversations from the terminal.

It speaks with the routes of the server's own page. A turn runs there and goes on whoever listens; a message
that is sent again after a broken connection has the same id, and is answered once.
"""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, fields
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from base.errors import (
    ConfigurationError,
    NothingPendingError,
    RequestError,
    ServerError,
    TwobrainError,
    UnknownThreadError,
)
from base.settings import ModelCard, Settings
from graphs.attachments import Attachment
from graphs.result import Result
from graphs.stream import Begun, Confirmation, Done, Event, Queued
from nodes.context import Context, choices_of
from nodes.events import read_event
from tools.declaration import Tool
from tools.registry import Registry

TOKEN = "TWOBRAIN_TOKEN"  # noqa: S105 (a variable's name)
"""Variable of the token by which a server knows who asks."""
_TIMEOUT_S, _STOPPING_S = 20.0, 10.0
_SILENT_S = 45.0
"""Seconds without a sign of life, of which the server gives one each 15 s, until it is asked anew."""
_TRIES, _FIRST_WAIT_S, _LONGEST_WAIT_S = 8, 0.5, 8.0
"""To take up a connection that was lost: for half a minute."""
_API = "app/api/"
_NONE = "none"
"""In place of a question's identity: the server tells what became of the last one."""
_SIGN_IN_STATUSES = {401, 403}
_UNDER_WAY = {"running", "interrupted"}
_UNREACHABLE = "The server {url} cannot be reached: {why}. Is it running, and is that its address?"
_TLS = "The certificate of {url} is not trusted: {why}. SSL_CERT_FILE names an authority of your own."
_CONNECTION_LOST = (
    "The connection to {url} was lost: {why}. The turn goes on there; once it is back, `/resume` or the "
    "page shows it."
)
_NOBODY_KNOWN = "The server {url} does not know who you are: {why} Put your token into {variable}."
_OTHER = (
    "{url} answers, but not as a twobrain server of this version does ({what}). Is that its address, and is "
    "it as new as this terminal?"
)
_NOT_CHOSEN_HERE = "At a server only the path can be chosen here, not: {names}. Its page chooses models."
_IN_THE_CLEAR = (
    "{url} is not encrypted, and anybody on the way could read your token. Serve it by https, or reach it "
    "over a tunnel to this machine."
)

_Told = AsyncIterator[tuple[str, dict[str, Any]]]
"""Events as the page is told them, each with its id."""


class _LostError(Exception):
    """The connection broke; its text says how."""


class RemoteOrchestrator:
    """What a conversation asks of an orchestrator, from a server.

    Its methods raise ServerError where that cannot be reached, and else as the orchestrator's own.
    """

    def __init__(self, http: httpx.AsyncClient, settings: Settings, me: Mapping[str, Any]) -> None:
        self.settings = settings
        self.user = str(me["user"])
        self.models = Labels({each["name"]: each["label"] for each in me["models"]})
        self.ledger = Threads(self)
        self.tools = Registry(())
        self._http = http
        self._questions: dict[str, str] = {}

    def stream(
        self,
        text: str,
        *,
        attachments: Sequence[Attachment] = (),
        thread_id: str,
        context: Context | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Have a message answered there, and yield the events.

        Raises:
            RequestError: more was chosen than a path.
        """
        chosen = choices_of(context) if context else {}
        if others := chosen.keys() - {"user", "path"}:
            raise RequestError(_NOT_CHOSEN_HERE.format(names=", ".join(sorted(others))))
        files = [
            {"name": each.name, "type": each.type, "data": base64.b64encode(each.data).decode()}
            for each in attachments
        ]
        said = {"id": thread_id, "text": text, "attachments": files, "message_id": str(uuid.uuid4())}
        if "path" in chosen:
            said["path"] = chosen["path"]
        return self._turn(thread_id, partial(self._begin, "conversations", said))

    def stream_resume(self, thread_id: str, answer: Any, **_chosen: Any) -> AsyncGenerator[Event, None]:
        """Answer the question that was shown last, and yield the events."""
        said = {"question": self._questions.get(thread_id, _NONE), "decisions": answer["decisions"]}
        return self._turn(thread_id, partial(self._begin, f"{_place(thread_id)}/answer", said))

    def stream_proceed(self, thread_id: str, **_chosen: Any) -> AsyncGenerator[Event, None]:
        """Go on with a turn, or listen to one that runs."""
        return self._turn(thread_id, partial(self._proceed, thread_id))

    async def result(self, thread_id: str, **_chosen: Any) -> Result:
        """Return how a thread's last turn stands."""
        told = await self.conversation(thread_id)
        self._questions[thread_id] = told["question"] or _NONE
        return _result(told["result"]) if told["result"] else Result(thread_id)

    async def snapshot(self, thread_id: str, **_chosen: Any) -> SimpleNamespace:
        """Return what was said on a thread, as the graph's own would."""
        told = await self.conversation(thread_id)
        said: list[AnyMessage] = [
            HumanMessage(each["text"]) if each["role"] == "user" else AIMessage(each["text"])
            for each in told["messages"]
        ]
        values = {"messages": said, "stop_reason": (told["result"] or {}).get("stop_reason")}
        goes_on = (thread_id,) if told["status"] in _UNDER_WAY else ()
        interrupts = (told["question"],) if told["question"] else ()
        return SimpleNamespace(values=values, interrupts=interrupts, tasks=goes_on)

    async def all_tools(self) -> Registry:
        """Return the tools of what waits; the server checks their arguments."""
        schemas: dict[str, Any] = {}
        for each in await self.get("waiting"):
            schemas |= each["schemas"]
        return Registry(_shown_tool(name, schema) for name, schema in schemas.items())

    async def conversation(self, thread_id: str) -> dict[str, Any]:
        """Return a conversation as the page reads it."""
        return dict(await self.get(_place(thread_id)))

    async def get(self, path: str) -> Any:
        """Return what a route tells, tried again where the connection is lost."""
        tries = 0
        while True:
            try:
                return (await self._sent("GET", path)).json()
            except _LostError as lost:
                tries = await self._pause(tries, lost)

    async def _turn(self, thread: str, begin: Callable[[], Awaitable[None]]) -> AsyncGenerator[Event, None]:
        """Begin a turn and yield its events; who leaves early stops it."""
        is_over = False
        try:
            await begin()
            async with aclosing(self._heard(thread)) as events:
                async for event in events:
                    is_over = isinstance(event, Done)
                    yield event
        except TwobrainError:
            is_over = True
            raise
        finally:
            if not is_over:
                await self._stop(thread)

    async def _proceed(self, thread: str) -> None:
        if (await self.conversation(thread))["status"] != "running":
            await self._begin(f"{_place(thread)}/proceed", {})

    async def _begin(self, way: str, said: Mapping[str, Any]) -> None:
        """Send what begins a turn; it may arrive twice, and counts once."""
        tries = 0
        while True:
            try:
                await self._sent("POST", way, json=said)
            except _LostError as lost:
                tries = await self._pause(tries, lost)
            except RequestError:
                if tries and "message_id" not in said:
                    return  # what was sent before the connection broke had arrived
                raise
            else:
                return

    async def _stop(self, thread: str) -> None:
        with suppress(TwobrainError, _LostError, TimeoutError):
            async with asyncio.timeout(_STOPPING_S):
                await self._sent("POST", f"{_place(thread)}/stop", json={})

    async def _heard(self, thread: str) -> AsyncGenerator[Event, None]:
        """Yield a turn's events to its end, each once, whatever breaks."""
        last, tries = "", 0
        while True:
            try:
                async with self._listening(thread, last) as events:
                    if events is None:
                        break
                    async for number, told in events:
                        last, tries = number or last, 0
                        if event := self._event(thread, told):
                            yield event
                        if isinstance(event, Done):
                            return
            except (_LostError, httpx.TransportError) as lost:
                tries = await self._pause(tries, lost)
            else:
                tries = await self._pause(tries, _LostError("it ended early"))
        yield Done(await self._ended(thread))

    @asynccontextmanager
    async def _listening(self, thread: str, last: str) -> AsyncIterator[_Told | None]:
        """Listen to what comes after an event; None: no turn runs."""
        headers = {"Last-Event-ID": last} if last else {}
        timeout = httpx.Timeout(_TIMEOUT_S, read=_SILENT_S)
        place = f"{_API}{_place(thread)}/events"
        async with self._http.stream("GET", place, headers=headers, timeout=timeout) as answer:
            if answer.is_error:
                await answer.aread()
                raise _refusal(answer)
            yield None if answer.status_code == httpx.codes.NO_CONTENT else _events(answer)

    async def _ended(self, thread: str) -> Result:
        """Return how a turn ended that nobody heard the end of."""
        told = await self.conversation(thread)
        if told["status"] in _UNDER_WAY:
            raise ServerError("The turn was cut short there. /resume goes on with it.")
        return await self.result(thread)

    def _event(self, thread: str, told: dict[str, Any]) -> Event | None:
        """Return an event as it was; None: none of ours.

        Raises:
            ServerError: the turn failed.
        """
        match told.get("event"):
            case "queued":
                return Queued()
            case "begun":
                return Begun()
            case "confirmation":
                self._questions[thread] = told["question"]
                return Confirmation(told["request"])
            case "done":
                return Done(_result(told["result"]))
            case "failed":
                raise ServerError(told["detail"])
        return read_event(told)

    async def _pause(self, tries: int, lost: Exception) -> int:
        """Wait before the next try; raise once there were enough."""
        if tries >= _TRIES:
            raise ServerError(_CONNECTION_LOST.format(url=self._http.base_url, why=_why(lost))) from None
        await asyncio.sleep(min(_FIRST_WAIT_S * 2**tries, _LONGEST_WAIT_S))
        return tries + 1

    async def _sent(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, f"{_API}{path}", **options)
        except httpx.TransportError as error:
            raise _LostError(_why(error)) from None
        if answer.is_success:
            return answer
        raise _refusal(answer)


@dataclass(frozen=True, slots=True)
class Labels:
    """What people call a server's models."""

    names: Mapping[str, str]

    def card(self, name: str) -> ModelCard:
        """Return a card with a model's label, where it has one."""
        return ModelCard(provider="offline", model=name, label=self.names.get(name))


@dataclass(frozen=True, slots=True)
class Threads:
    """A server's threads and rules, under the ledger's names."""

    server: "RemoteOrchestrator"

    async def thread(self, thread: str) -> dict[str, Any] | None:
        """Return a thread; None: there is none."""
        with suppress(UnknownThreadError):
            return _row(await self.server.conversation(thread))
        return None

    async def threads(self, **_of: Any) -> list[dict[str, Any]]:
        """Return the person's own threads, the last used last."""
        found = reversed(await self.server.get("conversations"))
        return [_row(each) for each in found if each["user"] == self.server.user]

    async def thread_names(self) -> set[str]:
        """Return the ids of all threads."""
        return {row["thread"] for row in await self.threads()}

    async def rules(self) -> list[dict[str, Any]]:
        """Return the remembered rules."""
        return list(await self.server.get("rules"))


@asynccontextmanager
async def open_remote(url: str, settings: Settings) -> AsyncIterator[RemoteOrchestrator]:
    """Open a server's conversations.

    Raises:
        ConfigurationError: the address is none, or the server does not know who asks.
        ServerError: it cannot be reached, or is none of ours.
    """
    place = _checked(url)
    token = settings.secret(TOKEN)
    if token and place.scheme != "https" and place.host not in {"localhost", "127.0.0.1", "::1"}:
        raise ConfigurationError(_IN_THE_CLEAR.format(url=place))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    env = place.scheme == "https"  # what goes in the clear goes through no proxy, which may be elsewhere
    async with httpx.AsyncClient(base_url=place, headers=headers, timeout=_TIMEOUT_S, trust_env=env) as http:
        try:
            answer = await http.get(f"{_API}me")
        except httpx.TransportError as error:
            text = _TLS if "CERTIFICATE" in str(error) else _UNREACHABLE
            raise ServerError(text.format(url=place, why=_why(error))) from None
        if answer.status_code in _SIGN_IN_STATUSES:
            raise _refusal(answer)
        try:
            me = answer.json()
            server = RemoteOrchestrator(http, settings, me)
        except (ValueError, KeyError, TypeError):
            raise ServerError(_OTHER.format(url=place, what=f"it answered {answer.status_code}")) from None
        yield server


def _checked(url: str) -> httpx.URL:
    try:
        place = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"--server {url!r} is no address: {error}.") from None
    if place.scheme not in {"http", "https"} or not place.host:
        raise ConfigurationError(f"--server {url!r} is no address such as https://assistant.example.com.")
    if place.userinfo:
        raise ConfigurationError(f"--server: put your token into {TOKEN}, not into the address.")
    return place


def _place(thread: str) -> str:
    return f"conversations/{quote(thread, safe='')}"


def _result(told: Mapping[str, Any]) -> Result:
    return Result(**{each.name: told[each.name] for each in fields(Result) if each.name in told})


def _row(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a conversation as the ledger has a thread."""
    return {**told, "thread": told["id"]}


def _shown_tool(name: str, schema: dict[str, Any]) -> Tool:
    async def run(_here: Any, _args: Any) -> None: ...  # it runs on the server alone

    return Tool(
        name=name, description="", parameters=schema, run=run, check=lambda args: args, effect="execute"
    )


def _refusal(answer: httpx.Response) -> TwobrainError:
    """Return the error that a server's refusal stands for."""
    detail = _detail(answer)
    if answer.status_code in _SIGN_IN_STATUSES:
        why = detail or "it refused that."
        return ConfigurationError(_NOBODY_KNOWN.format(url=answer.url.host, why=why, variable=TOKEN))
    match answer.status_code:
        case 404 if detail:
            return UnknownThreadError(detail)
        case 409 if detail:
            return NothingPendingError(detail)
        case status if detail and status < 500:  # noqa: PLR2004 (what HTTP calls the client's)
            return RequestError(detail)
    what = f"it answered {answer.status_code} to {answer.request.method} {answer.request.url.path}"
    return ServerError(detail or _OTHER.format(url=answer.url.host, what=what))


def _detail(answer: httpx.Response) -> str:
    with suppress(ValueError, TypeError, KeyError):
        detail = answer.json()["detail"]
        return detail if isinstance(detail, str) else ""
    return ""


async def _events(answer: httpx.Response) -> _Told:
    """Yield the ids and events of a stream as WHATWG's Server-Sent Events."""
    number = ""
    async for line in answer.aiter_lines():
        name, _, value = line.partition(":")
        if name == "id":
            number = value.strip()
        elif name == "data":
            yield number, json.loads(value)


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__
