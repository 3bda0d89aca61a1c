"""google-adk with a tool that needs confirmation and its SQLite session service."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.adk.agents import LlmAgent
from google.adk.agents.run_config import RunConfig
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from google.adk.tools import FunctionTool
from google.genai import types

from benchmarks.script import ANSWER, script
from benchmarks.worker import Converse, serve

_USAGE = types.GenerateContentResponseUsageMetadata(
    prompt_token_count=100, candidates_token_count=20, total_token_count=120
)


class _Scripted(BaseLlm):
    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        await script.think()
        response = llm_request.contents[-1].parts[-1].function_response
        ids = script.calls(response.id if response else None)
        parts = [_call(call_id) for call_id in ids] or [types.Part(text=ANSWER)]
        yield LlmResponse(content=types.Content(role="model", parts=parts), usage_metadata=_USAGE)


def _call(call_id: str) -> types.Part:
    call = types.FunctionCall(id=call_id, name="look_up", args={"query": call_id})
    return types.Part(function_call=call)


async def look_up(query: str) -> str:
    """Look something up."""
    return await script.look_up()


async def send(to: str, text: str) -> str:
    """Send a message; asks first."""
    raise NotImplementedError


@asynccontextmanager
async def open_side(directory: Path) -> AsyncIterator[Converse]:
    """Make the agent; each conversation is a session in one file."""
    tools = [look_up, FunctionTool(send, require_confirmation=True)]
    agent = LlmAgent(name="assistant", model=_Scripted(model="scripted"), tools=tools)
    sessions = SqliteSessionService(str(directory / "sessions.db"))
    runner = Runner(app_name="bench", agent=agent, session_service=sessions)
    config = RunConfig(max_llm_calls=0)

    async def converse(thread: str, request: str) -> str:
        await sessions.create_session(app_name="bench", user_id="local", session_id=thread)
        message = types.Content(role="user", parts=[types.Part(text=request)])
        said = ""
        async for event in runner.run_async(
            user_id="local", session_id=thread, new_message=message, run_config=config
        ):
            if event.is_final_response() and event.content:
                said = event.content.parts[0].text or ""
        return said

    yield converse


if __name__ == "__main__":
    serve(open_side)
