"""A chat model behind the `claude` program: a Claude subscription answers, nothing is billed per call.

The program's own JSON stream is spoken, not claude-agent-sdk, whose wheel carries the program
a second time (360 MB) and which drives this same stream. Flags, events and environment variables were
tried with Claude Code 2.1.329 in November 2026.
"""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import SecretStr

from base.errors import ModelError
from base.processes import Output, Program, running
from models.providers.claude_stream import Reader

_FLAGS = (
    *("--print", "--verbose", "--include-partial-messages"),
    *("--input-format", "stream-json", "--output-format", "stream-json"),
    *("--tools", "", "--strict-mcp-config", "--setting-sources=", "--disable-slash-commands"),
    *("--no-session-persistence", "--system-prompt-file", "../system.txt"),
)
_OURS = {
    "CLAUDE_CODE_MAX_RETRIES": "0",  # we retry, and fall back
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",  # it would say a broken answer again from the start
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}
_WITHHELD = re.compile(
    r"^(?:ANTHROPIC_|CLAUDE_CODE_USE_|CLAUDECODE$|TWOBRAIN_)|(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)S?$"
)
"""Variables that would bill an API, send the login elsewhere, or are none of the program's business."""
_TAG = re.compile(r"<(?=/?(?:message|conversation)\b)")
_LOGIN = "CLAUDE_CODE_OAUTH_TOKEN"
_LONGEST_LINE = 64 * 1024 * 1024
"""Bytes; a line holds at most one whole answer."""
_LAST_WORDS = 2_000
"""Characters of its complaints that are told."""
_PATIENCE_S = 5
"""For the program to end after its answer."""


class ChatClaudeCode(BaseChatModel):
    """Claude as the `claude` program serves it, without its tools, settings, memory and sessions."""

    model: str = ""
    """Name or alias as `claude --model` takes it; empty: the subscription's default."""
    program: str = "claude"
    """Name on PATH, or path."""
    login: SecretStr | None = None
    """The subscription's token; None: as the program is logged in, or as the process's environment says."""
    timeout_s: float = 120
    """Seconds from the program's start to the end of its answer."""

    @property
    def _llm_type(self) -> str:
        return "twobrain-claude-code"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 (the interface's)
        **kwargs: Any,
    ) -> ChatResult:
        return asyncio.run(self._agenerate(messages, stop, None, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 (the program takes none)
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 (the interface's)
        **kwargs: Any,  # noqa: ARG002 (the interface's)
    ) -> AsyncIterator[ChatGenerationChunk]:
        """Stream the answer.

        Raises:
            ModelError: there is none; its cause says why.
        """
        command = await self._command()
        errors = Output()
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        try:
            async with (
                _folder(_system(messages)) as folder,
                running(
                    *command,
                    env=_environment(self.login),
                    errors=errors,
                    cwd=folder,
                    given=_told(messages),
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
    """Keep an empty folder for the program to run in, and `system.txt` beside it for us alone."""
    place = await asyncio.to_thread(TemporaryDirectory, prefix="twobrain-")
    try:
        yield await asyncio.to_thread(_furnish, Path(place.name), system)
    finally:
        await asyncio.to_thread(place.cleanup)


def _furnish(place: Path, system: str) -> Path:
    (place / "system.txt").write_text(system, encoding="utf-8", errors="replace")
    (place / "work").mkdir()
    return place / "work"


async def _answer(program: Program, errors: Output, deadline: float) -> AsyncGenerator[AIMessageChunk, None]:
    reader = Reader()
    try:
        while not reader.done and (line := await _line(program, deadline)):
            for chunk in reader.read(line):
                yield chunk
    except ValueError as error:
        raise ModelError(f"Claude Code: its output cannot be read: {error}.", "malformed") from error
    if not reader.done:
        async with asyncio.timeout_at(deadline):
            status = await program.ended()
        raise reader.broken_off(status, " ".join(str(errors)[-_LAST_WORDS:].split()))


async def _line(program: Program, deadline: float) -> bytes:
    """Return the next line of its output, empty at the end."""
    async with asyncio.timeout_at(deadline):
        return await program.stdout.readline()


def _told(messages: Sequence[BaseMessage]) -> bytes:
    """Return the conversation as one user message.

    `client_composed` makes the program take it as written; without it `@/etc/passwd` in a message
    would be replaced by that file, and `/help` would be a command.
    """
    user = {"role": "user", "content": _transcript([m for m in messages if not isinstance(m, SystemMessage)])}
    line = {"type": "user", "message": user, "client_composed": True, "parent_tool_use_id": None}
    return json.dumps(line).encode() + b"\n"


def _system(messages: Sequence[BaseMessage]) -> str:
    return "\n\n".join(m.text for m in messages if isinstance(m, SystemMessage))


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
    blocks = [] if isinstance(message.content, str) else message.content
    kinds = [str(b.get("type")) for b in blocks if isinstance(b, dict) and b.get("type") != "text"]
    return "\n".join(
        [message.text, *(f"[a block of type {kind}, which cannot be shown here]" for kind in kinds)]
    )


def _environment(login: SecretStr | None) -> dict[str, str]:
    given = {_LOGIN: login.get_secret_value()} if login else {}
    kept = {name: value for name, value in os.environ.items() if name == _LOGIN or not _WITHHELD.search(name)}
    return kept | given | _OURS
