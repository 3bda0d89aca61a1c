"""openai-agents with a tool that needs approval and its `SQLiteSession` on a file."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Runner, SQLiteSession, Usage, function_tool
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from benchmarks.script import ANSWER, script
from benchmarks.worker import Converse, serve


class _Scripted(Model):
    async def get_response(self, *_: Any, **asked: Any) -> ModelResponse:
        await script.think()
        given = asked["input"]
        last = given[-1] if isinstance(given, list) else {}
        ids = script.calls(last.get("call_id") if last.get("type") == "function_call_output" else None)
        output = [_call(call_id) for call_id in ids] or [_answer()]
        return ModelResponse(output=output, usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def _call(call_id: str) -> ResponseFunctionToolCall:
    arguments = json.dumps({"query": call_id})
    return ResponseFunctionToolCall(
        type="function_call", name="look_up", arguments=arguments, call_id=call_id
    )


def _answer() -> ResponseOutputMessage:
    text = ResponseOutputText(type="output_text", text=ANSWER, annotations=[])
    return ResponseOutputMessage(
        id="answer", type="message", role="assistant", status="completed", content=[text]
    )


@function_tool
async def look_up(query: str) -> str:
    """Look something up."""
    return await script.look_up()


@function_tool(needs_approval=True)
async def send(to: str, text: str) -> str:
    """Send a message; asks first."""
    raise NotImplementedError


@asynccontextmanager
async def open_side(directory: Path) -> AsyncIterator[Converse]:
    """Make the agent; each conversation is a session in one file."""
    agent = Agent(name="assistant", model=_Scripted(), tools=[look_up, send])
    config = RunConfig(tracing_disabled=True)

    async def converse(thread: str, request: str) -> str:
        session = SQLiteSession(thread, directory / "sessions.db")
        try:
            result = await Runner.run(agent, request, session=session, max_turns=100_000, run_config=config)
        finally:
            session.close()
        return str(result.final_output)

    yield converse


if __name__ == "__main__":
    serve(open_side)
