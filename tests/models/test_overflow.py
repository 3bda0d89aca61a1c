"""Servers that cut a long prompt and say nothing: found out by the tokens they report, and no others."""

import base64
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from base.errors import NoModelAnsweredError
from base.settings import load_settings
from models.call import Ask, Attempt, Caller
from tests.wires.brain import Reply
from tests.wires.cards import at, configure
from tests.wires.clients import OpenWire

HOUSE = Path(__file__).parents[2]
ENGLISH = (HOUSE / "docs" / "policy.md").read_text(encoding="utf-8") * 6
CODE = (HOUSE / "nodes" / "prompt" / "views.py").read_text(encoding="utf-8") * 6
TEXTS: Mapping[str, tuple[str, float, float]] = {
    "English": (ENGLISH, 0.2, 0.3),
    "German": ("Heute ist das Wetter schön, deshalb gehen wir im Stadtpark spazieren. " * 500, 0.2, 0.4),
    "Chinese": (
        "今天天气晴朗适合出门散步。小明和朋友去公园、他们带了水果、还有一本历史书。" * 800,
        0.5,
        1.3,
    ),
    "Thai": ("วันนี้อากาศดีมากจึงไปเดินเล่นที่สวนสาธารณะกับเพื่อน " * 500, 0.25, 1.2),
    "code": (CODE, 0.22, 0.4),
    "base64": (base64.b64encode(random.Random(1).randbytes(30_000)).decode(), 0.5, 0.8),
    "one letter": ("x" * 40_000, 0.03, 0.3),
}
"""Enough of a text, and the fewest and the most tokens that tokenizers make of one of its characters."""
AROUND = 1_200
"""Tokens of the tools that are offered, and of the chat template."""


def _conversation(text: str, sizes: Sequence[int]) -> Iterator[list[BaseMessage]]:
    """Yield the prompts of a conversation that grows by results of so many characters."""
    said: list[BaseMessage] = [SystemMessage(ENGLISH[:2_000]), HumanMessage("Read it to me.")]
    for number, end in enumerate(accumulate(sizes)):
        call = {"name": "read", "args": {}, "id": f"{number}"}
        said += [AIMessage("", tool_calls=[call])]
        said += [ToolMessage(text[end - sizes[number] : end], tool_call_id=f"{number}", name="read")]
        yield [*said]


def _tokens(prompt: Sequence[BaseMessage], each: float) -> int:
    return AROUND + int(sum(len(message.text) for message in prompt) * each)


class Server:
    """A local server that reports what it is told to, asked through the real client."""

    def __init__(self, wire: Any, folder: Path) -> None:
        self._wire = wire
        self._caller = Caller(load_settings(configure(folder, {"model": at(wire)}, {"chat": ["model"]})))

    async def reads_whole(self, prompt: Sequence[BaseMessage], tokens: int, cached: int = 0) -> bool:
        """Return whether the caller takes the answer to a prompt for one to the whole of it."""
        reply = Reply(text="Noon.", input_tokens=tokens, cached_tokens=cached)
        self._wire.brain = lambda heard: reply
        chars = sum(len(message.text) for message in prompt) + 4 * AROUND
        with suppress(NoModelAnsweredError):
            await self._caller.call(Ask("chat", prompt, "local", chars=chars), self._account)
        return {None: True, "context_overflow": False}[self._error]

    async def _account(self, attempt: Attempt) -> None:
        self._error = attempt.error


@pytest.fixture
def serve(open_wire: OpenWire, tmp_path: Path):
    """Return a function that opens a server of which nothing is known yet."""
    return lambda: Server(open_wire("openai"), tmp_path)


@pytest.mark.parametrize(
    "counting",
    [
        "all, and what was cached",
        *(pytest.param(way, marks=pytest.mark.slow) for way in ("all", "cached apart", "new alone")),
    ],
)
async def test_no_text_and_no_way_of_counting_makes_a_whole_prompt_look_cut(serve, counting):
    for name, (text, fewest, most) in TEXTS.items():
        for each in (fewest, most):
            server, before = serve(), 0
            for prompt in _conversation(text, (300, 6_000, 1_500, 9_000, 4_000)):
                tokens = _tokens(prompt, each)
                counted = tokens - before if counting in {"cached apart", "new alone"} else tokens
                told = before if "cached" in counting else 0
                assert await server.reads_whole(prompt, counted, told), f"{name} at {each} a character"
                before = tokens


@pytest.mark.parametrize(
    "window", [4_096, *(pytest.param(n, marks=pytest.mark.slow) for n in (8_192, 5_000))]
)
@pytest.mark.parametrize(
    ("name", "each"), [("English", 0.23), ("English", 0.3), ("German", 0.3), ("code", 0.3)]
)
async def test_a_cut_is_noticed_as_soon_as_a_conversation_is_a_fifth_longer_than_the_window(
    serve, name, each, window
):
    server = serve()
    for prompt in _conversation(TEXTS[name][0], (600,) * 60):
        tokens = _tokens(prompt, each)
        if not await server.reads_whole(prompt, min(tokens, window)):
            break
        assert tokens < 1.2 * window
    assert tokens > window


@pytest.mark.parametrize(("name", "each"), [("English", 0.23), ("code", 0.3)])
async def test_a_cut_that_leaves_out_whole_messages_is_noticed_too(serve, name, each):
    server, window = serve(), 4_096
    for prompt in _conversation(TEXTS[name][0], (900,) * 60):
        tokens = _tokens(prompt, each)
        left = tokens if tokens <= window else window - tokens % 500
        if not await server.reads_whole(prompt, left):
            break
        assert tokens < 1.2 * window
    assert tokens > window


@pytest.mark.parametrize(("each", "over"), [(0.2, 1.2), (0.25, 1.4), (0.3, 1.6)])
async def test_of_a_first_prompt_a_count_that_is_a_window_is_enough_once_it_is_clearly_longer(
    serve, each, over
):
    window = 4_096
    chars = int((window * over - AROUND) / each) - 2_000
    [prompt] = _conversation(ENGLISH, (chars,))
    assert not await serve().reads_whole(prompt, window)
    assert await serve().reads_whole(prompt, _tokens(prompt, each))
