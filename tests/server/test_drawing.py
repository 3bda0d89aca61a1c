"""What Studio shows before anybody has said a word: the list, the forms and the drawing."""

import asyncio
import json
from itertools import pairwise

import pytest

from graphs.result import Result
from nodes.context import Context
from tests.server.serving import HOUSE
from tests.server.talking import APPROVE, GRAPH, REJECT

DRAWN = {
    ("__start__", "intake"),
    ("intake", "plan"),
    ("intake", "execute_tools"),
    ("intake", "respond"),
    ("intake", "__end__"),
    ("plan", "execute_tools"),
    ("plan", "explain"),
    ("plan", "respond"),
    ("plan", "__end__"),
    ("execute_tools", "plan"),
    ("execute_tools", "explain"),
    ("explain", "confirm"),
    ("confirm", "confirm"),
    ("confirm", "execute_tools"),
    ("confirm", "plan"),
    ("respond", "__end__"),
}


@pytest.fixture
async def assistant(client):
    return (await client.assistants.search(graph_id=GRAPH))[0]


@pytest.fixture
async def schemas(client, assistant):
    return await client.assistants.get_schemas(assistant["assistant_id"])


async def test_the_one_graph_of_langgraph_json_is_served_with_its_description(client, assistant):
    graphs = json.loads((HOUSE / "langgraph.json").read_text())["graphs"]
    assert list(graphs) == [GRAPH]
    assert [found["graph_id"] for found in await client.assistants.search()] == [GRAPH]
    assert assistant["description"] == graphs[GRAPH]["description"]


async def test_a_client_is_asked_for_messages_alone_and_gets_the_keys_of_a_result(schemas):
    assert list(schemas["input_schema"]["properties"]) == ["messages"]
    keys = (set(Result.__dataclass_fields__) - {"thread_id"}) | {"messages"}
    assert set(schemas["output_schema"]["properties"]) == keys


async def test_the_form_has_every_choice_with_its_words_its_default_and_its_bounds(schemas):
    form = schemas["context_schema"]["properties"]
    declared = Context.model_json_schema()["properties"]
    assert list(form) == list(Context.model_fields)
    for name, field in Context.model_fields.items():
        assert form[name]["description"] == field.description
        assert form[name]["default"] == field.default
        assert {**form[name], "title": ""} == {**declared[name], "title": ""}
    assert form["path"]["enum"] == ["auto", "two-brain", "single", "direct"]
    assert form["max_rounds"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 1000}


@pytest.mark.parametrize("xray", [False, True])
async def test_the_drawing_is_the_design(client, assistant, xray):
    graph = await client.assistants.get_graph(assistant["assistant_id"], xray=xray)
    assert {(edge["source"], edge["target"]) for edge in graph["edges"]} == DRAWN
    assert len(graph["edges"]) == len(DRAWN)
    assert {node["id"] for node in graph["nodes"]} == {end for edge in DRAWN for end in edge}


@pytest.mark.slow
async def test_every_edge_of_the_drawing_is_taken_and_no_other(open_talk):
    async def steps(said, *answers, **context):
        talk = await open_talk()
        await talk.say(said, **context)
        for answer in answers:
            await talk.answer(answer)
        return await talk.steps()

    async def sent_again():
        talk = await open_talk()
        for _ in range(2):
            await talk.send([{"role": "user", "content": "what is 12*7", "id": "m1"}])
        return (await talk.steps())[-2:]

    async def cut_short():
        talk = await open_talk()
        said = {"role": "user", "content": "what is 12*7", "id": "m1"}
        await talk.send([said])
        history = await talk.client.threads.get_history(talk.id, limit=20)
        [at] = [each["checkpoint"] for each in history if each["next"] == ["execute_tools"]]
        await talk.client.runs.wait(talk.id, GRAPH, input={"messages": [said]}, checkpoint=at)
        return (await talk.steps())[-5:]

    mixed = 'what is 12*7 and write "x" to edges.txt'
    walks = await asyncio.gather(
        steps("hello", path="direct"),
        steps("what is 12*7"),
        steps("what is 12*7", path="single"),
        steps(mixed, "perhaps", APPROVE),
        steps('write "x" to edges.txt', REJECT),
        sent_again(),
        cut_short(),
    )
    assert {edge for walk in walks for edge in pairwise(walk)} == DRAWN
