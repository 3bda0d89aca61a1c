"""What the rows of a conversation mostly consist of: the dictionary that they are compressed with.

Frozen: what was written with it can be read only with it. Rows of a state that has grown since are only
compressed less well; another dictionary needs a kind of row of its own.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import ormsgpack

_ID = "lc_run--0199e8fa-962d-7b21-8063-87fe1f33e48d"
_ARGS = {"query": ""}
_CALL = {"name": "look_up", "args": _ARGS, "id": "call_", "type": "tool_call"}
_PLANNED = {
    "id": "call_",
    "name": "web_fetch",
    "args": _ARGS,
    "problem": None,
    "verdict": "run",
    "reason": "",
}
_BASIS: dict[str, Any] = {"strangers": [], "links": []}
_CHOICES = {
    "path": "two-brain",
    "orchestrator": "orchestrator",
    "responder": "chat",
    "system_prompt": "",
    "user": "local",
    "user_role": "user",
    "tools": ["read_file", "list_files", "search_files"],
    "max_rounds": 15,
    "confirmation": "template",
}
_REQUEST = {
    "action_requests": [
        {"name": "write_file", "args": {"path": ""}, "arguments": {}, "description": "", "tool_call_id": ""}
    ],
    "review_configs": [{"action_name": "run_command", "allowed_decisions": ["approve", "edit", "reject"]}],
    "message": "",
    "expires_at": None,
}
_DECIDED = {"call_": {"approved": True, "args": {}, "message": ""}}
_RECORD = {"tool": "web_search", "args": {}, "result": "", "status": "executed", "call_id": "call_"}
_META = {
    "finish_reason": "tool_calls",
    "stop_reason": "tool_use",
    "model_name": "",
    "safety_ratings": [],
    "model_provider": "google_genai",
}
_DETAILED = {
    "input_token_details": {"cache_read": 0, "cache_creation": 0},
    "output_token_details": {"reasoning": 0},
}
_USED = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
_ARTIFACT = {
    "status": "executed",
    "whole": {"handle": "", "start": 0, "end": 100_000, "size": 100_000},
    "untrusted": True,
}
_TASK = {
    "call": _PLANNED,
    "args": _ARGS,
    "thread": "",
    "turn": _ID,
    "choices": {},
    "planner": "gemini",
    "basis": _BASIS,
    "next": "plan",
}
_USAGE = {
    "input_tokens": 4_900,
    "output_tokens": 980,
    "cached_tokens": 0,
    "reasoning_tokens": 0,
    "cost_usd": 0.0,
    "model_calls": 49,
    "counted_tokens": 5_880,
    "known_cost_usd": 0.0,
}
_VALUES = {
    "tail": _ID,
    "thread": "",
    "turn": _ID,
    "choices": _CHOICES,
    "path": "single",
    "respond": True,
    "started_at": 1_795_629_736.25,
    "waited_s": 0.0,
    "rounds": 1,
    "calls": [_PLANNED],
    "planner": "gemini",
    "basis": _BASIS,
    "request": {},
    "asked_at": 0.0,
    "problem": "",
    "decisions": {},
    "response": "",
    "tool_calls": [],
    "backend": None,
    "summary": "",
    "receipts": [],
    "pending": None,
    "usage": _USAGE,
    "stop_reason": None,
    "__pregel_tasks": [],
    "branch:to:plan": None,
}
_CHANNELS = (
    *("__start__", "messages", "branch:to:intake", "started_at", "waited_s", "rounds", "calls", "planner"),
    *("basis", "request", "asked_at", "problem", "decisions", "response", "tool_calls", "backend", "summary"),
    *("receipts", "pending", "usage", "stop_reason", "tail", "thread", "turn", "choices", "path", "respond"),
    *("branch:to:plan", "__pregel_tasks"),
)
_SEEN = {
    "__input__": {},
    "__start__": {"__start__": 1},
    "intake": {"branch:to:intake": 2},
    "plan": {"branch:to:plan": 3},
    "execute_tools": {},
    "explain": {"branch:to:explain": 3},
    "confirm": {"branch:to:confirm": 3},
    "respond": {"branch:to:respond": 3},
}
_CHECKPOINT = {
    "v": 4,
    "ts": "2026-11-25T18:02:16.433101+00:00",
    "id": "1f1e8fa5-9631-6a69-8064-46fcae382d88",
    "channel_values": _VALUES,
    "channel_versions": dict.fromkeys(_CHANNELS, 3),
    "versions_seen": _SEEN,
    "updated_channels": ["branch:to:plan", "messages"],
}


def _message(kind: str, content: Any, **more: Any) -> tuple[str, str, Mapping[str, Any], str]:
    shown: dict[str, Any] = {"content": content, "additional_kwargs": {}, "response_metadata": {}}
    said = {**shown, "type": kind, "name": None, "id": _ID, **more}
    name = "AIMessage" if kind == "ai" else f"{kind.title()}Message"
    return f"langchain_core.messages.{kind}", name, said, "model_validate_json"


_AI = {"tool_calls": [_CALL], "invalid_tool_calls": [], "usage_metadata": _USED}
_TYPICAL = (
    [_REQUEST, _DECIDED, _RECORD, _META, _DETAILED],
    _message("human", ""),
    _message("ai", [{"type": "text", "text": "", "extras": {"signature": ""}, "index": 0}], **_AI),
    _message("ai", "", **_AI),
    _message("tool", "", id="result-call_", tool_call_id="call_", artifact=_ARTIFACT, status="success"),
    [("langgraph.types", "Send", ("execute_tools", _TASK))],
    ["__pregel_tasks", "basis", "calls", "messages", "planner", "rounds", "tail", "usage"],
    _CHECKPOINT,
)
"""The most typical last: what is near is named in the fewest bits."""


@cache
def dictionary() -> bytes:
    """Return it; the same for all time."""
    return b"".join(ormsgpack.packb(value) for value in _TYPICAL)
