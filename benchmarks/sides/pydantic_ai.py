"""pydantic-ai with a tool that needs approval; it keeps a conversation in memory, for its caller to store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import UsageLimits

from benchmarks.script import ANSWER, script
from benchmarks.worker import Converse, serve


async def _model(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    await script.think()
    last = messages[-1].parts[-1]
    ids = script.calls(last.tool_call_id if isinstance(last, ToolReturnPart) else None)
    calls = [ToolCallPart("look_up", {"query": call_id}, tool_call_id=call_id) for call_id in ids]
    return ModelResponse(parts=calls or [TextPart(ANSWER)])


async def look_up(query: str) -> str:
    """Look something up."""
    return await script.look_up()


async def send(to: str, text: str) -> str:
    """Send a message; asks first."""
    raise NotImplementedError


@asynccontextmanager
async def open_side(_directory: Path) -> AsyncIterator[Converse]:
    """Make the agent."""
    agent = Agent(FunctionModel(_model), output_type=[str, DeferredToolRequests])
    agent.tool_plain(look_up)
    agent.tool_plain(requires_approval=True)(send)

    async def converse(_thread: str, request: str) -> str:
        return str((await agent.run(request, usage_limits=UsageLimits(request_limit=None))).output)

    yield converse


if __name__ == "__main__":
    serve(open_side)
