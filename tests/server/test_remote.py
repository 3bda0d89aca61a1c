"""The same graph from Python: over the server with RemoteGraph, and in process."""

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command

from base.settings import load_settings
from graphs.orchestrator import builder
from nodes.resources import CONFIGURED, open_resources
from tests.server.talking import APPROVE, GRAPH

ASKED = {"messages": [{"role": "user", "content": 'what is 12*7 and write "x" to remote.txt'}]}


@pytest.fixture
async def in_process(tmp_path):
    resources = await open_resources(load_settings({"TWOBRAIN_DATA_DIR": str(tmp_path)}))
    configurable: dict[str, Any] = {CONFIGURED: resources}
    yield builder.compile(checkpointer=InMemorySaver()).with_config(configurable=configurable)
    await resources.ledger.close()


@pytest.mark.slow
async def test_a_remote_graph_gives_what_the_graph_in_process_gives(client, talk, in_process):
    remote = RemoteGraph(GRAPH, client=client)
    config = {"configurable": {"thread_id": talk.id}}
    context = {"confirmation": "template"}
    asked = [await graph.ainvoke(ASKED, config, context=context) for graph in (remote, in_process)]
    done = [await graph.ainvoke(Command(resume=APPROVE), config) for graph in (remote, in_process)]
    for far, near in (asked, done):
        assert set(far) == set(near)
    assert [output["pending"]["message"] for output in asked] == [asked[1]["pending"]["message"]] * 2
    assert [len(output["messages"]) for output in done] == [6, 5]  # a server puts the question there too
    far, near = ([(c["tool"], c["result"], c["status"]) for c in output["tool_calls"]] for output in done)
    assert far == near
    assert "84" in done[0]["response"]
