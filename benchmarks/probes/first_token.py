"""Turns of ours with real clients at the wires: when the first token of each answer came, and the CPU of it.

Beside each turn the floor: the same client, asked for the same words with nothing in between.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from graphs.session import Orchestrator, open_orchestrator
from models.catalog import open_model
from nodes.context import Context
from nodes.events import Token

_CONTEXT = Context(path="two-brain")


async def _turns(lengths: list[int]) -> list[dict[str, Any]]:
    async with open_orchestrator() as orchestrator:
        await _watched(_ours(orchestrator, 1))  # a process's first turn loads what the others need
        floor = open_model(orchestrator.models.card("writer"), "none")
        turns = []
        for words in lengths:
            for name, texts in (("ours", _ours(orchestrator, words)), ("floor", _bare(floor, words))):
                turns.append({"side": name, "words": words, **await _watched(texts)})
        return turns


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
