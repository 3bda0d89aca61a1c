"""What a user's table says of tools, models, persona, language and limits."""

from dataclasses import dataclass

import pytest

from base.errors import ConfigurationError, UnknownModelError
from base.settings import Limits, load_settings
from nodes.context import Context
from tests.behaviour.household import obedient
from tests.wires.cards import at
from tools.registry import open_registry

KID = """
[users.kid]
tools = ["get_time", "calculate"]
persona = "You talk like a pirate."
language = "German"
max_tool_calls = 1
[users.kid.roles]
chat = ["cheap"]
[users.bob]
[users.ann]
path = "two-brain"
model = "cheap"
writer = "planner"
[users.tim]
role = "guest"
writer = "writer"
[users.tot]
role = "guest"
approvers = ["bob"]
"""
CALLS = 'get_time {"timezone": "UTC"} & list_files {}'


@pytest.fixture
def house(open_wire, furnish):
    """Furnish a planner, a writer, and a cheaper one that only the child's table names."""
    wires = {name: open_wire("openai", brain=obedient) for name in ("planner", "writer", "cheap")}
    cards = {name: at(wire) for name, wire in wires.items()}
    return furnish(cards, {"orchestrator": ["planner"], "chat": ["writer"]}, more=KID)


async def run(orchestrator, way, text, thread, **choices):
    context = {"path": "two-brain", **choices}
    if way == "session":
        return (await orchestrator.ask(text, thread_id=thread, context=Context(**context))).to_json()
    said = {"messages": [{"role": "user", "content": text}]}
    return await orchestrator.graph.ainvoke(said, orchestrator.config(thread), context=context)


async def plainly(orchestrator, way, text, thread, **choices):
    if way == "session":
        return await orchestrator.ask(text, thread_id=thread, context=Context(**choices))
    said = {"messages": [{"role": "user", "content": text}]}
    return await orchestrator.graph.ainvoke(said, orchestrator.config(thread), context=choices)


@dataclass
class Client:
    """Whom a server authenticated, as its engine tells the graph."""

    identity: str
    is_authenticated: bool = True


def as_served(user):
    return {"assistant_id": "x", "graph_id": "x", "langgraph_auth_user": Client(user)}


@pytest.mark.parametrize("way", ["session", "plain graph"])
async def test_a_users_tools_models_persona_and_language_are_theirs_alone(way, house):
    async with house.open() as orchestrator:
        for user in ("kid", "bob"):
            await run(orchestrator, way, "hello", user, user=user)
    planner, cheap, writer = (house.wires[name].heard for name in ("planner", "cheap", "writer"))
    assert sorted(planner[0].tools) == ["calculate", "get_time"]
    assert {"list_files", "write_file"} < set(planner[1].tools)
    [childs], [others] = cheap, writer
    assert childs.system.startswith(
        "You talk like a pirate.\n\nAnswer in German, unless the person writes in another language."
    )
    assert "pirate" not in others.system
    assert "German" not in others.system


@pytest.mark.parametrize("way", ["session", "plain graph"])
async def test_a_users_path_and_models_hold_where_a_turn_names_none(way, house):
    async with house.open() as orchestrator:
        await plainly(orchestrator, way, "write_file {}", "one", user="ann")
        heard = {name: len(house.wires[name].heard) for name in house.wires}
        assert (heard["cheap"] > 0, heard["planner"] > 0, heard["writer"]) == (True, True, 0)
        await plainly(orchestrator, way, "hello", "two", user="ann", path="direct", responder="writer")
        assert len(house.wires["writer"].heard) == 1
        await plainly(orchestrator, way, "hello", "three", user="bob")
    assert len(house.wires["cheap"].heard) == heard["cheap"]


CHOSEN = {"path": "direct", "orchestrator": "cheap", "responder": "cheap", "system_prompt": "Obey."}


@pytest.mark.parametrize(("user", "served"), [("tim", True), ("tot", False), ("tot", True)])
async def test_a_guest_on_a_server_or_with_approvers_chooses_no_model_path_or_persona(user, served, house):
    said = {"messages": [{"role": "user", "content": "hello"}]}
    async with house.open() as orchestrator:
        config = orchestrator.config("one")
        if served:
            config["configurable"] |= as_served(user)
        done = await orchestrator.graph.ainvoke(said, config, context={**CHOSEN, "user": user})
        assert done["response"]
    assert house.wires["cheap"].heard == []
    assert house.wires["planner"].heard
    assert "Obey." not in str([request.system for name in house.wires for request in house.wires[name].heard])


async def test_who_is_no_guest_chooses_on_a_server_too(house):
    said = {"messages": [{"role": "user", "content": "hello"}]}
    async with house.open() as orchestrator:
        config = orchestrator.config("one")
        config["configurable"] |= as_served("bob")
        await orchestrator.graph.ainvoke(said, config, context=CHOSEN)
    assert "Obey." in house.wires["cheap"].heard[0].system


@pytest.mark.parametrize("way", ["session", "plain graph"])
async def test_no_context_widens_what_a_users_table_narrows(way, house):
    asked = {"tools": ["get_time", "list_files"], "max_tool_calls": 5, "system_prompt": "Be brief."}
    async with house.open() as orchestrator:
        one = await run(orchestrator, way, "list_files {}", "one", user="kid", **asked)
        two = await run(orchestrator, way, CALLS, "two", user="kid", **asked)
        with pytest.raises(UnknownModelError, match="models there are: planner, cheap"):
            await run(orchestrator, way, "hello", "three", user="kid", responder="writer")
        await run(orchestrator, way, "hello", "three", user="kid")
        await run(orchestrator, way, "hello", "four", user="bob", responder="cheap")
    assert [call["status"] for call in one["tool_calls"]] == ["denied"]
    assert two["stop_reason"] == "tool_calls"
    system = house.wires["cheap"].heard[0].system
    assert system.startswith("You talk like a pirate.\n\nBe brief.\n\nAnswer in German")


async def test_on_the_single_path_the_persona_and_rounds_are_the_users(open_wire, furnish):
    more = '[users.kid]\nlanguage = "German"\nmax_rounds = 1\n'
    made = furnish({"planner": at(open_wire("openai", brain=obedient))}, more=more)
    async with made.open() as orchestrator:
        text = 'get_time {"timezone": "UTC"} then list_files {}'
        result = await orchestrator.ask(text, context=Context(user="kid", path="single", max_rounds=9))
    assert result.stop_reason == "rounds"
    assert "Answer in German" in made.planner.heard[0].system


def test_a_users_limits_of_a_turn_only_narrow_those_of_all(tmp_path):
    config = tmp_path / "twobrain.toml"
    config.write_text(
        "[limits]\nmax_rounds = 5\nmax_tokens = 100\n"
        "[users.kid]\nmax_rounds = 9\nmax_tokens = 50\nmax_cost_usd = 0.5\ndeadline_s = 7\n"
    )
    settings = load_settings({"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(tmp_path)})
    assert settings.limits_of("kid") == Limits(max_rounds=5, max_tokens=50, max_cost_usd=0.5, deadline_s=7)
    assert settings.limits_of("local") == settings.limits


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('tools = ["get_tiem"]', r"line 2: users\.kid\.tools: there is no tool 'get_tiem'"),
        ('tools = "get_time"', r"line 2: users\.kid\.tools: "),
        ("persona = 5", r"line 2: users\.kid\.persona: "),
        ('language = ["de"]', r"line 2: users\.kid\.language: "),
        ('timezone = "Mars"', r"line 2: users\.kid\.timezone: there is no time zone 'Mars'"),
        ('path = "third"', r"line 2: users\.kid\.path: "),
        ('model = "no-model"', r"line 2: users\.kid\.model: There is no role or model 'no-model'"),
        ('writer = "no-model"', r"line 2: users\.kid\.writer: There is no role or model 'no-model'"),
        ("max_rounds = 0", r"line 2: users\.kid\.max_rounds: "),
        ("deadline_s = -1", r"line 2: users\.kid\.deadline_s: "),
        ('roles = { chat = ["no-model"] }', r"line 2: users\.kid\.roles.*unknown model 'no-model'"),
        ("roles = { chat = [] }", r"line 2: users\.kid\.roles.*an empty list"),
        ('rolse = { chat = ["m"] }', r"line 2: users\.kid\.rolse: unknown name"),
    ],
)
async def test_what_a_users_table_gets_wrong_is_refused_with_file_and_line(line, words, settle):
    house = settle("openai")
    config = house.folder / "twobrain.toml"
    config.write_text(f"[users.kid]\n{line}\n{config.read_text()}")
    with pytest.raises(ConfigurationError, match=rf"twobrain\.toml, {words}"):
        async with house.open():
            pass


async def test_tools_of_mcp_servers_may_be_named_before_they_are_known(tmp_path):
    config = tmp_path / "twobrain.toml"
    config.write_text('[users.kid]\ntools = ["notes_search"]\n[mcp.servers.notes]\ncommand = "notes"\n')
    settings = load_settings({"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(tmp_path)})
    assert "get_time" in open_registry(settings)
