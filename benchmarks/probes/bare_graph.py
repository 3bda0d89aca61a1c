"""The least program on langgraph, its SQLite saver and ChatOpenAI: ours is to start as soon."""

import asyncio
import os
import sys
from typing import Any

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph


async def _main(url: str) -> None:
    model = ChatOpenAI(model="stand-in", base_url=url, api_key="none", streaming=True)

    async def call(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node("call", call).add_edge(START, "call")
    async with AsyncSqliteSaver.from_conn_string(f"{os.environ['HOME']}/checkpoints.db") as saver:
        graph = builder.compile(checkpointer=saver)
        given = {"messages": [{"role": "user", "content": "Hello."}]}
        print((await graph.ainvoke(given, {"configurable": {"thread_id": "t"}}))["messages"][-1].text)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
