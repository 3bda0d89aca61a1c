"""Claude Code: a Claude subscription answers through the `claude` program.

No call is billed. The program's own JSON stream is spoken, not claude-agent-sdk, whose wheel carries the
program a second time (360 MB) and which drives this same stream. Flags, events and environment variables
were tried with Claude Code 2.1.329 in November 2026.
"""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import SecretStr

from base.errors import Cause, ModelError
from base.processes import Output, Program, running
from base.settings import ModelCard, Settings
from models.failures import cause_of_status
from models.providers import Provider

_FLAGS = (
    *("--print", "--verbose", "--include-partial-messages"),
    *("--input-format", "stream-json", "--output-format", "stream-json"),
    *("--tools", "", "--strict-mcp-config", "--setting-sources=", "--disable-slash-commands"),
    *("--no-session-persistence", "--system-prompt-file", "../system.txt"),
)
_OUR_VARIABLES = {
    "CLAUDE_CODE_MAX_RETRIES": "0",  # we retry, and fall back
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",  # it would say a broken answer again from the start
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}
_WITHHELD = re.compile(
    r"^(?:ANTHROPIC_|CLAUDE_CODE_USE_|CLAUDECODE$|TWOBRAIN_)|(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)S?$"
)
"""Variables that would bill an API, send the login elsewhere, or are none of the program's business."""
_PROGRAM = "claude"
_TAG = re.compile(r"<(?=/?(?:message|conversation)\b)")
_LOGIN = "CLAUDE_CODE_OAUTH_TOKEN"
_LONGEST_LINE = 8 * 1024 * 1024
"""Bytes; a line holds at most one whole answer, of no more characters than `MOST_CHARS`."""
_COMPLAINT_CHARS = 2_000
_PATIENCE_S = 5
"""For the program to end after its answer."""
_OLDEST_VERSION = (2, 1, 248)
"""The first version that takes a message as written (from claude-agent-sdk's source, November 2026)."""
_SHOWN_CHARS = 300

_BY_ERROR: dict[str, Cause] = {
    "authentication_failed": "missing_key",
    "billing_error": "no_credit",
    "rate_limit": "rate_limit",
    "server_error": "connection",
    "invalid_request": "bad_request",
    "model_not_found": "bad_request",
}
_LOG_IN = " Run `claude` once and log in, or set CLAUDE_CODE_OAUTH_TOKEN from `claude setup-token`."


class ChatClaudeCode(BaseChatModel):
    """Claude by the `claude` program, without its tools, settings and sessions."""

    model: str = ""
    """Name or alias as `claude --model` takes it; empty: the subscription's default."""
    program: str = _PROGRAM
    """Name on PATH, or path."""
    login: SecretStr | None = None
    """The subscription's token; None: as the program is logged in, or as the process's environment says."""
    timeout_s: float = 120
    """Seconds from the program's start to the end of its answer."""

    @property
    def _llm_type(self) -> str:
        return "twobrain-claude-code"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return asyncio.run(self._agenerate(messages))

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages))

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        """Stream the answer.

        Raises:
            ModelError: there is none; its cause says why.
        """
        command = await self._command()
        system = "\n\n".join(message.text for message in messages if isinstance(message, SystemMessage))
        errors = Output()
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        try:
            async with (
                _folder(system) as folder,
                running(
                    *command,
                    env=_environment(self.login),
                    errors=errors,
                    cwd=folder,
                    given=_stdin(messages),
                    longest_line=_LONGEST_LINE,
                    patience_s=_PATIENCE_S,
                ) as program,
                aclosing(_answer(program, errors, deadline)) as answer,
            ):
                async for chunk in answer:
                    yield ChatGenerationChunk(message=chunk)
        except TimeoutError:
            raise ModelError(f"Claude Code: no answer within {self.timeout_s:g} s.", "timeout") from None
        except OSError as error:
            raise ModelError(
                f"Claude Code: {command[0]} cannot be started: {error}.", "missing_key"
            ) from error

    async def _command(self) -> list[str]:
        path = await asyncio.to_thread(shutil.which, self.program)
        if path is None:
            raise ModelError(
                f"Claude Code: the program {self.program!r} is not on PATH. Install it from "
                "https://claude.com/claude-code and log in, or take claude-code out of twobrain.toml.",
                "missing_key",
            )
        return [path, *_FLAGS, *(("--model", self.model) if self.model else ())]


@asynccontextmanager
async def _folder(system: str) -> AsyncIterator[Path]:
    """Hold an empty folder for the program, and `system.txt` beside it."""

    def furnish() -> Path:
        root = Path(folder.name)
        (root / "system.txt").write_text(system, encoding="utf-8", errors="replace")
        (root / "work").mkdir()
        return root / "work"

    folder = await asyncio.to_thread(TemporaryDirectory, prefix="twobrain-")
    try:
        yield await asyncio.to_thread(furnish)
    finally:
        await asyncio.to_thread(folder.cleanup)


class _Reader:
    """Turns the lines of one call's JSON stream into chunks."""

    def __init__(self) -> None:
        self.done = False
        self._started = False
        self._streamed: list[str] = []
        self._written: list[str] = []
        self._model = ""
        self._error = ""

    def read(self, line: bytes) -> Iterator[AIMessageChunk]:
        """Yield what a line adds to the answer.

        Raises:
            ModelError: the program reports a failure, or says what it should not.
        """
        event = _parsed(line)
        match event:
            case {"type": "system", "subtype": "init"}:
                self._start(str(event.get("claude_code_version", "")), str(event.get("model", "")))
            case {"type": "stream_event", "event": {"delta": {"type": "text_delta", "text": str(text)}}}:
                yield self._said(text)
            case {"type": "assistant", "message": {"content": list(blocks)}}:
                self._error = str(event.get("error") or "")
                if not self._error:
                    self._written += [str(b["text"]) for b in blocks if b.get("type") == "text"]
            case {"type": "result"}:
                yield from self._end(event)

    def broken_off(self, status: int, errors: str) -> ModelError:
        """Return why the stream ended without a result."""
        how = f"Claude Code: it ended with status {status} and without a result ({errors or 'no message'})."
        if self._started:
            return ModelError(how, "connection")
        return ModelError(f"{how} `claude update` may help.", "bad_request" if status else "malformed")

    def _start(self, version: str, model: str) -> None:
        numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
        if numbers < _OLDEST_VERSION:
            oldest = ".".join(map(str, _OLDEST_VERSION))
            raise ModelError(
                f"Claude Code: version {version or 'unknown'} is older than {oldest}, the first that does "
                "not replace `@path` in a message by that file. Run `claude update`.",
                "bad_request",
            )
        self._started, self._model = True, model

    def _said(self, text: str) -> AIMessageChunk:
        if not self._started:
            raise ModelError("Claude Code: it answered before it named its version.", "malformed")
        self._streamed.append(text)
        return AIMessageChunk(content=text)

    def _end(self, event: Mapping[str, Any]) -> Iterator[AIMessageChunk]:
        self.done = True
        if event.get("is_error"):
            raise _failure(event, self._error)
        written, streamed = "".join(self._written), "".join(self._streamed)
        if not written.startswith(streamed):
            raise ModelError("Claude Code: its answer broke off and was begun again.", "connection")
        if rest := written.removeprefix(streamed):
            yield self._said(rest)
        yield AIMessageChunk(
            content="",
            usage_metadata=_usage(event.get("usage")),
            response_metadata={
                "model_name": self._model,
                "stop_reason": event.get("stop_reason"),
                "total_cost_usd": event.get("total_cost_usd"),
            },
            chunk_position="last",
        )


async def _answer(program: Program, errors: Output, deadline: float) -> AsyncGenerator[AIMessageChunk, None]:
    reader = _Reader()
    try:
        while not reader.done:
            async with asyncio.timeout_at(deadline):
                line = await program.stdout.readline()
            if not line:
                break
            for chunk in reader.read(line):
                yield chunk
    except ValueError as error:
        raise ModelError(f"Claude Code: its output cannot be read: {error}.", "malformed") from error
    if not reader.done:
        async with asyncio.timeout_at(deadline):
            status = await program.ended()
        raise reader.broken_off(status, " ".join(str(errors)[-_COMPLAINT_CHARS:].split()))


def _parsed(line: bytes) -> dict[str, Any]:
    """Return a line's event, empty for the plain text of some builds."""
    if not line.lstrip().startswith(b"{"):
        return {}
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        shown = line[:_SHOWN_CHARS].decode(errors="replace")
        raise ModelError(f"Claude Code: a line of its output is not JSON: {shown!r}.", "malformed") from None
    return event


def _failure(event: Mapping[str, Any], error: str) -> ModelError:
    cause: Cause = _BY_ERROR.get(error, "malformed")
    match event:
        case {"stop_reason": "refusal"}:
            cause = "refusal"
        case {"terminal_reason": "prompt_too_long"}:
            cause = "context_overflow"
        case {"api_error_status": int(status)}:
            cause = cause_of_status(status)
    words = " ".join(str(event.get("result") or event.get("subtype") or "no reason given").split())
    hint = _LOG_IN if cause in {"missing_key", "bad_key"} else ""
    return ModelError(f"Claude Code: {words[:_SHOWN_CHARS].rstrip('.')}.{hint}", cause)


def _usage(usage: Any) -> UsageMetadata | None:
    """Return a call's tokens, cached ones included; None: it names none."""
    if not isinstance(usage, dict) or "input_tokens" not in usage or "output_tokens" not in usage:
        return None
    cached, stored = (usage.get(f"cache_{kind}_input_tokens") or 0 for kind in ("read", "creation"))
    read, written = usage["input_tokens"] + cached + stored, usage["output_tokens"]
    return UsageMetadata(
        input_tokens=read,
        output_tokens=written,
        total_tokens=read + written,
        input_token_details={"cache_read": cached, "cache_creation": stored},
    )


def _stdin(messages: Sequence[BaseMessage]) -> bytes:
    """Return the conversation as one user message.

    `client_composed` makes the program take it as written; without it `@/etc/passwd` in a message
    would be replaced by that file, and `/help` would be a command.
    """
    user = {"role": "user", "content": _transcript([m for m in messages if not isinstance(m, SystemMessage)])}
    line = {"type": "user", "message": user, "client_composed": True, "parent_tool_use_id": None}
    return json.dumps(line).encode() + b"\n"


def _transcript(messages: Sequence[BaseMessage]) -> str:
    *earlier, last = messages
    if not isinstance(last, HumanMessage):
        earlier, last = list(messages), HumanMessage("Write the next message of the conversation.")
    if not earlier:
        return _text(last)
    said = "\n".join(
        f'<message from="{message.type}">\n{_TAG.sub(r"&lt;", _text(message))}\n</message>'
        for message in earlier
    )
    return f"<conversation>\n{said}\n</conversation>\n\n{_text(last)}"


def _text(message: BaseMessage) -> str:
    kinds = [str(b.get("type")) for b in message.content if isinstance(b, dict) and b.get("type") != "text"]
    shown = (f"[a block of type {kind}, which cannot be shown here]" for kind in kinds)
    return "\n".join([message.text, *shown])


def _environment(login: SecretStr | None) -> dict[str, str]:
    inherited = [name for name in os.environ if name == _LOGIN or not _WITHHELD.search(name)]
    own = {_LOGIN: login.get_secret_value()} if login else {}
    return {name: os.environ[name] for name in inherited} | own | _OUR_VARIABLES


def _lacks(settings: Settings) -> str | None:
    found = shutil.which(_PROGRAM, path=settings.secret("PATH") or "")
    return None if found else f"the program `{_PROGRAM}` is not on PATH"


def _detect(settings: Settings) -> Mapping[str, ModelCard]:
    if _lacks(settings):
        return {}
    return {"claude-code": ModelCard(provider="claude-code", context_window=200_000, tools=False)}


PROVIDER = Provider(
    open=lambda card, key: ChatClaudeCode(
        model=card.model, login=SecretStr(key) if key else None, timeout_s=card.timeout_s
    ),
    title="Claude, by a subscription",
    program=_PROGRAM,
    key_variables=(_LOGIN,),
    telemetry_name="anthropic",
    needs_key=False,
    needs_model=False,
    is_free=True,
    plan_rank=None,
    write_rank=20,
    takes=frozenset(),
    detect=_detect,
    lacks=_lacks,
)
