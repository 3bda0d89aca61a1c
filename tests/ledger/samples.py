"""Calls and claims as the tests make them."""

from typing import Any

from ledger.ledger import Ledger
from ledger.records import Call, Claim, Use


def call(call_id: str = "c1", **args: Any) -> Call:
    return Call(
        thread="t1",
        call_id=call_id,
        turn="turn-1",
        user="alice",
        role="user",
        model="gemini",
        tool="write_file",
        args=args,
        effect="write",
    )


async def claim(
    ledger: Ledger, wanted: Call, *, needs_approval: bool = False, lease_s: float = 60, rerun: bool = False
) -> Claim:
    """Claim a call that a model made."""
    await ledger.enter([wanted])
    return await ledger.claim(wanted, needs_approval=needs_approval, lease_s=lease_s, rerun=rerun)


async def finish(ledger: Ledger, wanted: Call, text: str = "done", attempt: int = 1) -> None:
    await ledger.finish(wanted.key, status="executed", text=text, duration_ms=1.5, attempt=attempt)


def use(**changes: Any) -> Use:
    told = {
        "thread": "t1",
        "turn": "turn-1",
        "user": "alice",
        "path": "two-brain",
        "role": "orchestrator",
        "backend": "gemini",
        "model": "gemini-3-flash-preview",
        "input_tokens": 100,
        "output_tokens": 10,
        "cached_tokens": None,
        "reasoning_tokens": None,
        "counted_tokens": 110,
        "cost_usd": 0.25,
        "duration_ms": 800.0,
        "error": None,
        "at": 1_800_000_000.0,
    }
    return Use(**{**told, **changes})
