"""Messages are read from their rows without their constructors, and are what LangGraph makes of them."""

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from storage.serializer import StrictSerializer


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage("Hello.", id="1", name="ada", example=True),
        HumanMessage(
            [{"type": "text", "text": "See."}, {"type": "image_url", "image_url": {"url": "data:,"}}]
        ),
        SystemMessage("Be brief.", additional_kwargs={"cache_control": {"type": "ephemeral"}}),
        AIMessage(
            [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, "So."],
            tool_calls=[tool_call(name="look_up", args={"query": "x", "deep": {"n": 1.5}}, id="c1")],
            invalid_tool_calls=[invalid_tool_call(name="look_up", args="{", id="c2", error="cut")],
            usage_metadata=UsageMetadata(
                input_tokens=3, output_tokens=2, total_tokens=5, input_token_details={"cache_read": 1}
            ),
            response_metadata={"finish_reason": "tool_calls"},
        ),
        AIMessage(content_blocks=[{"type": "text", "text": "New."}]),
        ToolMessage(
            "42", tool_call_id="c1", status="error", artifact={"args": {"a": [1, None]}}, extra="kept"
        ),
        AIMessageChunk("half"),
        RemoveMessage(id="1"),
    ],
    ids=lambda message: message.type,
)
def test_a_message_is_read_as_langgraph_reads_it(message):
    row = JsonPlusSerializer().dumps_typed([message])
    [stock] = JsonPlusSerializer(allowed_msgpack_modules=None).loads_typed(row)
    [ours] = StrictSerializer().loads_typed(row)
    assert type(ours) is type(stock) is type(message)
    assert ours == stock == message
    assert ours.__dict__ == stock.__dict__
    assert ours.model_fields_set == stock.model_fields_set
