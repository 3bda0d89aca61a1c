"""What the `claude` program writes in its JSON stream: text, then one result, or why there is none."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata

from base.errors import Cause, ModelError
from models.failures import BY_STATUS

_OLDEST = (2, 1, 248)
"""The first version that takes a message as written (from claude-agent-sdk's source, November 2026)."""
_SHOWN_CHARS = 300

_BY_ERROR: dict[str, Cause] = {
    "authentication_failed": "missing_key",
    "billing_error": "bad_key",
    "rate_limit": "rate_limit",
    "server_error": "connection",
    "invalid_request": "bad_request",
    "model_not_found": "bad_request",
}
_LOG_IN = " Run `claude` once and log in, or set CLAUDE_CODE_OAUTH_TOKEN from `claude setup-token`."


class Reader:
    """Turns the lines of one call into chunks."""

    def __init__(self) -> None:
        self.done = False
        self._started = False
        self._streamed = ""
        self._written = ""
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
                self._note(blocks, str(event.get("error") or ""))
            case {"type": "result"}:
                yield from self._end(event)

    def broken_off(self, status: int, errors: str) -> ModelError:
        """Return why the stream ended without a result, from the exit status and the error stream."""
        how = f"Claude Code: it ended with status {status} and without a result ({errors or 'no message'})."
        if self._started:
            return ModelError(how, "connection")
        return ModelError(f"{how} `claude update` may help.", "bad_request" if status else "malformed")

    def _start(self, version: str, model: str) -> None:
        numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
        if numbers < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise ModelError(
                f"Claude Code: version {version or 'unknown'} is older than {oldest}, the first that does "
                "not replace `@path` in a message by that file. Run `claude update`.",
                "bad_request",
            )
        self._started, self._model = True, model

    def _said(self, text: str) -> AIMessageChunk:
        if not self._started:
            raise ModelError("Claude Code: it answered before it named its version.", "malformed")
        self._streamed += text
        return AIMessageChunk(content=text)

    def _note(self, blocks: list[Any], error: str) -> None:
        self._error = error
        if not error:
            self._written += "".join(str(b["text"]) for b in blocks if b.get("type") == "text")

    def _end(self, event: Mapping[str, Any]) -> Iterator[AIMessageChunk]:
        self.done = True
        if event.get("is_error"):
            raise _failure(event, self._error)
        if not self._written.startswith(self._streamed):
            raise ModelError("Claude Code: its answer broke off and was begun again.", "connection")
        if rest := self._written.removeprefix(self._streamed):
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


def _parsed(line: bytes) -> dict[str, Any]:
    """Return a line's event, empty for the plain text that some builds write between events."""
    if not line.lstrip().startswith(b"{"):
        return {}
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        shown = line[:_SHOWN_CHARS].decode(errors="replace")
        raise ModelError(f"Claude Code: a line of its output is not JSON: {shown!r}.", "malformed") from None
    return event


def _failure(event: Mapping[str, Any], error: str) -> ModelError:
    cause = _cause(event, error)
    words = " ".join(str(event.get("result") or event.get("subtype") or "no reason given").split())
    hint = _LOG_IN if cause in {"missing_key", "bad_key"} else ""
    return ModelError(f"Claude Code: {words[:_SHOWN_CHARS].rstrip('.')}.{hint}", cause)


def _cause(event: Mapping[str, Any], error: str) -> Cause:
    if event.get("stop_reason") == "refusal":
        return "refusal"
    if event.get("terminal_reason") == "prompt_too_long":
        return "context_overflow"
    status = event.get("api_error_status")
    if isinstance(status, int):
        return BY_STATUS.get(status, "overload" if status >= 500 else "bad_request")  # noqa: PLR2004 (HTTP's classes)
    return _BY_ERROR.get(error, "malformed")


def _usage(usage: Any) -> UsageMetadata | None:
    """Return the tokens of a call, those read from a cache included, None where the program names none."""
    if not isinstance(usage, dict) or "input_tokens" not in usage or "output_tokens" not in usage:
        return None
    cached, stored = (usage.get(f"cache_{kind}_input_tokens") or 0 for kind in ("read", "creation"))
    read, written = usage["input_tokens"] + cached + stored, usage["output_tokens"]
    return {
        "input_tokens": read,
        "output_tokens": written,
        "total_tokens": read + written,
        "input_token_details": {"cache_read": cached, "cache_creation": stored},
    }
