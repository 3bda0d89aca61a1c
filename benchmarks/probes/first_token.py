"""Turns of ours with real clients at the wires: when the first token of each answer came, and the CPU of it.

Beside each turn the floor: the same client, asked for the same words with nothing in between.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from graphs.session import Orchestrator, open_orchestrator
from models.registry import open_model
from nodes.context import Context
from nodes.events import Token, UsageReported

_CONTEXT = Context(path="two-brain")


async def _turns(lengths: list[int]) -> dict[str, Any]:
    async with open_orchestrator() as orchestrator:
        warm = await _is_warm(orchestrator)
        floor = open_model(orchestrator.models.card("writer"), "none")
        turns = []
        for words in lengths:
            for name, texts in (("ours", _ours(orchestrator, words)), ("floor", _bare(floor, words))):
                turns.append({"side": name, "words": words, **await _watched(texts)})
        return {"warm": warm, "turns": turns}


async def _is_warm(orchestrator: Orchestrator) -> bool:
    """Run the process's first turn; tell whether the responder's client was there as the planner ended."""
    opened = None
    async for event in orchestrator.stream("Say 1 words.", context=_CONTEXT):
        if opened is None and isinstance(event, UsageReported):
            opened = any(_is_client(found) for found in gc.get_objects())
    return bool(opened)


def _is_client(found: object) -> bool:
    """Tell whether this is LangChain's Anthropic client, without importing it oneself."""
    return any(base.__name__ == "ChatAnthropic" for base in type(found).__mro__)


async def _ours(orchestrator: Orchestrator, words: int) -> AsyncIterator[str]:
    async for event in orchestrator.stream(f"Say {words} words.", context=_CONTEXT):
        if isinstance(event, Token):
            yield event.text


async def _bare(model: Any, words: int) -> AsyncIterator[str]:
    async for chunk in model.astream(f"Say {words} words."):
        if chunk.text:
            yield chunk.text


async def _watched(texts: AsyncIterator[str]) -> dict[str, Any]:
    started, first, tokens = time.process_time(), 0.0, 0
    async for _ in texts:
        first = first or time.monotonic()
        tokens += 1
    return {"first": first, "tokens": tokens, "cpu_s": time.process_time() - started}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_turns([int(length) for length in sys.argv[1:]]))))
