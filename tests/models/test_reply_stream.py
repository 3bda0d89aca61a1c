"""The pieces of a stream are put together as they were meant."""

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from models.reply_stream import stream
from models.thoughts import Words


class Scripted(BaseChatModel):
    """Streams these pieces of calls."""

    pieces: list[dict[str, Any]]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def _astream(self, *args: Any, **kwargs: Any) -> Any:
        for piece in self.pieces:
            chunk = AIMessageChunk(content="")
            chunk.tool_call_chunks = [tool_call_chunk(**{"index": 0, **piece})]
            yield ChatGenerationChunk(message=chunk)


@pytest.mark.parametrize(
    "pieces",
    [
        [{"name": "look", "id": "c1", "args": '{"a": '}, {"args": "1}"}],
        [{"name": "look", "id": "c1", "args": '{"a": '}, {"id": "c1", "args": "1}"}],
        [{"name": "look", "id": "c1", "args": '{"a": '}, {"id": "", "args": "1}"}],
        [{"name": "look", "args": ""}, {"id": "c1", "args": '{"a": '}, {"args": "1}"}],
        [{"name": "look", "args": '{"a": '}, {"args": "1}"}, {"id": "c1", "args": ""}],
    ],
)
async def test_the_pieces_of_a_call_are_one_call_whenever_its_id_comes(pieces):
    reply = await stream(Scripted(pieces=pieces), [], {}, [], Words())
    assert [(c["name"], c["id"], c["args"]) for c in reply.tool_call_chunks] == [("look", "c1", '{"a": 1}')]


async def test_two_calls_of_one_index_are_two():
    pieces = [{"name": each, "id": each, "args": "{}"} for each in ("a", "b")]
    reply = await stream(Scripted(pieces=pieces), [], {}, [], Words())
    assert [(call["id"], call["args"]) for call in reply.tool_call_chunks] == [("a", "{}"), ("b", "{}")]
