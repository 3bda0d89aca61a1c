"""A session with one MCP server, reopened after it died."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from base.processes import Output
from base.settings import Settings
from base.texts import one_line
from tools.declaration import OutcomeUnknown, ToolFailure
from tools.mcp.config import ServerCard
from tools.mcp.transport import REFUSED, open_streams

MOST_TOOLS = 128
"""Of one server; the others are left out."""
_MOST_PAGES = 100
_NEEDED = ("name", "description", "inputSchema", "annotations")
"""Of a definition; a server that spoils the rest has its tool offered without it."""
_UNKNOWN_SESSION = "Session terminated"
"""What a server says where one behind it no longer knows the session, and may say for any reason."""
_CLOSING_S = 6.0
"""To say goodbye; after that a server is cut off."""


class DeadError(Exception):
    """There is no session with the server; the text says why."""


class _NotSentError(Exception):
    """The call was not sent, or does no harm twice."""


class _Unchecked:
    """A result as it came: checking 40,000 parts takes 0.6 s."""

    @staticmethod
    def model_validate(result: Any) -> Any:
        """Return it as it is."""
        return result


@dataclass(slots=True)
class _Live:
    """An open session, and the task that alone may close it."""

    task: Any
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    session: Any = None
    listed: list[Any] = field(default_factory=list)
    """The tools as the server defines them, one more than the most where it has more."""
    outdated: bool = False
    """True: the server says that its tools have changed since."""


class Connection:
    """One server's session; `listed` and `call` open it where there is none."""

    def __init__(self, name: str, card: ServerCard, settings: Settings) -> None:
        self.name = name
        self.card = card
        self._settings = settings
        self._live: _Live | None = None
        self._opening = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """True while there is a session."""
        return self._live is not None and not self._live.task.done() and not self._live.closing.is_set()

    @property
    def outdated(self) -> bool:
        """True where the server has said that its tools are others now."""
        return self._live is not None and self._live.outdated

    async def listed(self) -> list[Any]:
        """Return the tools as the server defines them; raises DeadError."""
        async with self._opening:
            live = await self._open()
            if live.outdated:
                await self._list_again(live)
            return live.listed

    async def _list_again(self, live: _Live) -> None:
        """Ask for the tools in the same session, which holds more."""
        live.outdated = False
        try:
            async with asyncio.timeout(self.card.connect_timeout_s):
                live.listed = await _list(live.session)
        except Exception as error:
            live.outdated = True
            raise DeadError(self._settings.redact(self._reason(error, Output()))) from None

    async def call(self, definition: Any, args: dict[str, Any], *, repeatable: bool) -> Any:
        """Call a tool and return the server's `CallToolResult`, unchecked.

        What is not `repeatable` is sent once, to a session that has just shown that it lives.

        Raises:
            DeadError: the server cannot be reached; nothing was called.
            OutcomeUnknown: it broke off, or no longer knew the session, after the call was sent.
            ToolFailure: it refused, or defines the tool otherwise by now.
        """
        for _ in range(2):
            with suppress(_NotSentError):  # the session ended since it was last used; a new one may hold
                return await self._call(definition, args, repeatable)
        raise DeadError("it ends every session at once")

    async def _call(self, definition: Any, args: dict[str, Any], repeatable: bool) -> Any:
        from mcp.types import (
            CallToolRequest,
            CallToolRequestParams,
            ClientRequest,
            PingRequest,
        )

        live = await self._session()
        if definition not in live.listed:
            live.outdated = True
            raise ToolFailure(f"The MCP server {self.name!r} defines {definition.name!r} otherwise by now.")
        params = CallToolRequestParams(name=definition.name, arguments=args)
        # Not session.call_tool: that runs the server's own patterns over its own results.
        request = ClientRequest(CallToolRequest(params=params))
        if self.card.url and not repeatable:
            with suppress(ToolFailure):  # a server that knows no ping has answered, too
                await self._answer(live, ClientRequest(PingRequest()), repeatable=True)
            if live.closing.is_set() or live.task.done():
                raise _NotSentError
        return await self._answer(live, request, repeatable=repeatable)

    async def _answer(self, live: _Live, request: Any, *, repeatable: bool) -> Any:
        """Send a request and return what comes back."""
        sending = asyncio.ensure_future(live.session.send_request(request, _Unchecked))
        try:
            ends: list[asyncio.Future[Any]] = [sending, live.task]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return self._taken(sending, live, repeatable)
        finally:
            await _stop(sending)

    def _taken(self, sending: asyncio.Future[Any], live: _Live, repeatable: bool) -> Any:
        import anyio
        from mcp import McpError
        from mcp.types import CONNECTION_CLOSED

        broke_off = OutcomeUnknown(
            f"the MCP server {self.name!r} broke off during the call. It may have taken effect all the same; "
            "check before you repeat it."
        )
        if not sending.done():
            raise broke_off
        try:
            return sending.result()
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            live.closing.set()
            raise _NotSentError from None
        except McpError as error:
            refused = error.error.data.get(REFUSED) if isinstance(error.error.data, dict) else None
            lost = refused == "unclear" or error.error.message == _UNKNOWN_SESSION
            if refused == "session" or lost or error.error.code == CONNECTION_CLOSED:
                live.closing.set()
                again = refused == "session" or (lost and repeatable)
                raise (_NotSentError if again else broke_off) from None
            raise ToolFailure(f"The MCP server {self.name!r} says: {error.error.message[:2_000]}") from None

    async def _session(self) -> _Live:
        if self._live and self.is_open:  # though its tools are being listed again
            return self._live
        async with self._opening:
            return await self._open()

    async def _open(self) -> _Live:
        if self._live and self.is_open:
            return self._live
        await self._close()
        for module in ("mcp.client.stdio", "mcp.client.streamable_http"):  # half a second, off the event loop
            await asyncio.to_thread(import_module, module)
        errors = Output()
        opened: asyncio.Future[_Live] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._hold(opened, errors), name=f"mcp {self.name}")
        try:
            async with asyncio.timeout(self.card.connect_timeout_s):
                ends: list[asyncio.Future[Any]] = [opened, task]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if not opened.done():
                    await task
                self._live = await opened
                return self._live
        except Exception as error:  # whatever a server or its transport throws, it is only this server's
            raise DeadError(self._settings.redact(self._reason(error, errors))) from None
        finally:
            if self._live is None:
                opened.cancel()
                await _stop(task)

    def _reason(self, error: BaseException, errors: Output) -> str:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        why = one_line(str(error) or type(error).__name__, 300)
        if isinstance(error, TimeoutError):
            why = f"it did not answer within {self.card.connect_timeout_s:g} s"
        elif type(error).__name__ == "ValidationError":
            why = "its answer is not as the protocol has it"
        elif isinstance(error, FileNotFoundError):
            why = f"{error.filename!r} is not there"
        *_, last = [line.strip() for line in str(errors).splitlines() if line.strip()] or [""]
        return f"{why} ({last[:300]})" if last else why

    async def _hold(self, opened: asyncio.Future[_Live], errors: Output) -> None:
        """Hold a session open until it is to close."""
        from mcp import ClientSession
        from mcp.types import ServerNotification, ToolListChangedNotification

        live = _Live(asyncio.current_task())

        async def hear(message: Any) -> None:
            if isinstance(message, ServerNotification):
                live.outdated |= isinstance(message.root, ToolListChangedNotification)

        async with (
            open_streams(self.card, self._settings, errors, live.closing.set) as (incoming, outgoing),
            ClientSession(incoming, outgoing, message_handler=hear) as session,
        ):
            await session.initialize()
            live.session, live.listed = session, await _list(session)
            if not opened.done():
                opened.set_result(live)
                await live.closing.wait()

    async def close(self) -> None:
        """End the session, and the program that serves it."""
        async with self._opening:
            await self._close()

    async def _close(self) -> None:
        live, self._live = self._live, None
        if live:
            live.closing.set()
            await asyncio.wait({live.task}, timeout=_CLOSING_S)
            await _stop(live.task)


async def _stop(task: asyncio.Future[Any]) -> None:
    """Cancel a task, wait for its end, and let its error go."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


async def _list(session: Any) -> list[Any]:
    """Return the definitions of a server's tools."""
    from mcp.types import ClientRequest, ListToolsRequest, PaginatedRequestParams

    found: list[Any] = []
    cursor = None
    for _ in range(_MOST_PAGES):
        asked = ListToolsRequest(params=PaginatedRequestParams(cursor=cursor))
        page = await session.send_request(ClientRequest(asked), _Unchecked)
        if not isinstance(page.get("tools"), list):
            raise DeadError("its list of tools is not as the protocol has it")
        found += map(_definition, page["tools"])
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str) or not cursor or len(found) > MOST_TOOLS:
            break
    return found


def _definition(told: Any) -> Any:
    """Return a definition; its `inputSchema` is None where it cannot be read."""
    from mcp.types import Tool

    told = told if isinstance(told, dict) else {}
    if told.get("inputSchema") is None:  # it takes no arguments
        told = {**told, "inputSchema": {"type": "object"}}
    for fields in (told, {key: told[key] for key in _NEEDED if key in told}):
        with suppress(ValueError, RecursionError):
            return Tool.model_validate(fields)
    name = told["name"] if isinstance(told.get("name"), str) else "a tool without a name"
    return Tool.model_construct(name=name, inputSchema=None)  # type: ignore[arg-type]
