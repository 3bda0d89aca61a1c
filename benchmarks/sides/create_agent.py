"""LangChain's `create_agent` with the human-in-the-loop middleware and `AsyncSqliteSaver`, as documented."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks.script import WAITING, script
from benchmarks.scripted_chat import ScriptedChat
from benchmarks.worker import Converse, serve


@tool
async def look_up(query: str) -> str:
    """Look something up."""
    return await script.look_up()


@tool
async def send(to: str, text: str) -> str:
    """Send a message; asks first."""
    raise NotImplementedError


@asynccontextmanager
async def open_side(directory: Path) -> AsyncIterator[Converse]:
    """Open the agent on a database of its own; every option is the default."""
    gate = HumanInTheLoopMiddleware(interrupt_on={"send": True})
    async with AsyncSqliteSaver.from_conn_string(str(directory / "checkpoints.db")) as saver:
        agent = create_agent(ScriptedChat(), [look_up, send], middleware=[gate], checkpointer=saver)

        async def converse(thread: str, request: str) -> str:
            config = {"configurable": {"thread_id": thread}, "recursion_limit": 100_000}
            given = {"messages": [{"role": "user", "content": request}]}
            ended = await agent.ainvoke(given, config)
            return WAITING if "__interrupt__" in ended else str(ended["messages"][-1].text)

        yield converse


if __name__ == "__main__":
    serve(open_side)
