"""Every tool and argument has a name that all providers take, the same for ever, and the server its own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from graphs.session import open_orchestrator
from tests.tools.mcp.household import Household, definition, lines
from tests.wires.brain import Call, Heard, Reply
from tools.declaration import ArgumentsError

STRICTEST = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{2,63}")
"""Gemini's first character, Kimi's least length, OpenAI's alphabet and longest."""
ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@pytest.fixture
def household(tmp_path: Path) -> Household:
    return Household(tmp_path)


SERVERS = {
    "chinese": ("cn", ["查询天气", "发送消息", "删除文件"]),
    "long": ("notes", [f"create_or_update_pages_of_a_data_base_in_the_work_space_{x}" for x in "ab"]),
    "number": ("12306", ["query-tickets", "get_station_code"]),
    "home assistant": ("ha", ["light.turn_on", "light/turn_on", "light turn_on", "größe"]),
    "cases": ("gh", ["getUser", "get_user", "get-user"]),
    "emoji": ("-x", ["🌤", "🌧", " ", "a"]),
}  # fmt: skip


@pytest.mark.parametrize("maker", SERVERS)
async def test_every_tool_is_reachable_under_a_name_that_all_take(household, maker):
    server, names = SERVERS[maker]
    home = household.add(server, *(definition(name) for name in names))
    async with household.open() as house:
        tools = await house.tools()
        assert len(tools) == len(names), "none is left out"
        assert all(STRICTEST.fullmatch(name) for name in tools)
        for name in tools:
            await house.call(name)
    assert sorted(lines(home / "called")) == sorted(f"{name} {{}}" for name in names)


async def test_a_name_that_is_changed_tells_its_own_and_stays_whatever_else_there_is(household):
    household.add("cn", definition("查询天气"), definition("add"), definition("add item"))
    async with household.open() as house:
        before = await house.tools()
    household.define("cn", definition("删除文件"), definition("add/item"), definition("查询天气"))
    async with household.open() as house:
        after = await house.tools()
    [weather] = before.keys() & after.keys()
    assert weather == "cn_47656652"
    assert before[weather].description == "查询天气: Do 查询天气."
    assert before["cn_add"].description == "Do add."
    assert not {name for name in before if name.startswith("cn_add_item")} & after.keys()


async def test_no_tool_comes_by_the_name_of_another_though_that_is_away(household):
    household.add("a", definition("b_c"), definition("d"))
    household.add("a_b", command="no-such-program")
    household.add("get", definition("time"), definition("Time"))
    household.add("mcp_1", definition("q"))
    household.add("1", definition("q"))
    async with household.open() as house:
        tools = await house.tools()
        assert len(tools) == 6 + 1
    assert {"a_d", "mcp_1_q", "mcp:a_b"} < tools.keys()
    assert not {"a_b_c", "get_time", "get_Time"} & tools.keys()


ODATA = {
    "type": "object",
    "properties": {
        "$top": {"type": "integer", "description": "how many"},
        "filter[name]": {"type": "string"},
        "user-id": {"type": "string", "default": "me"},
        "排序": {"type": "object", "properties": {"@by": {"enum": ["名", "date"]}}, "required": ["@by"]},
        "x" * 80: {"type": "array", "items": {"type": "object", "properties": {"a.b": {"type": "integer"}}}},
        "plain": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["$top", "排序"],
    "additionalProperties": False,
}


def filled(schema: dict[str, Any]) -> Any:
    """Return what follows a schema, with all that it names."""
    match schema.get("type"):
        case "object":
            free = {"$top": "as it is"} if isinstance(schema.get("additionalProperties"), dict) else {}
            return {name: filled(each) for name, each in schema.get("properties", {}).items()} | free
        case "array":
            return [filled(schema["items"])]
        case "integer":
            return 5
    return schema.get("enum", ["word"])[-1]


def names_in(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {name for each in schema for name in names_in(each)}
    if not isinstance(schema, dict):
        return set()
    return {*schema.get("properties", {}), *(name for each in schema.values() for name in names_in(each))}


def obedient(heard: Heard) -> Reply:
    """Fill in what is shown, once; then tell what came back."""
    if heard.results:
        return Reply(text="done")
    [name] = [each for each in heard.tools if each.startswith("odata")]
    return Reply(calls=(Call(name, filled(dict(heard.tools[name]))),))


SENT = {
    "$top": 5,
    "filter[name]": "word",
    "user-id": "word",
    "排序": {"@by": "date"},
    "x" * 80: [{"a.b": 5}],
    "plain": {"$top": "as it is"},
}


@pytest.mark.parametrize("kind", ["openai", "gemini", "anthropic"])
async def test_arguments_have_names_that_all_take_and_the_server_gets_its_own(household, open_wire, kind):
    wire = open_wire(kind, brain=obedient)
    provider = {"gemini": "google"}.get(kind, kind)
    household.toml = f"""
    [models.m]
    provider = "{provider}"
    model = "m"
    base_url = "{wire.url}"
    api_key_env = "KEY"
    [roles]
    orchestrator = ["m"]
    chat = ["m"]
    """
    home = household.add("odata", definition("list", ODATA))
    async with open_orchestrator(household.settings(KEY="sk-test-key-1")) as orchestrator:
        asked = await orchestrator.ask("list", thread_id="t")
        [card] = asked.pending["action_requests"]
        assert card["args"] == SENT
        assert all(ARGUMENT.fullmatch(name) for name in names_in(dict(wire.heard[0].tools["odata_list"])))
        remember = {"where": {"filter[name]": "w*"}, "uses": 2}
        approval = {"decisions": [{"type": "approve", "remember": remember}]}
        first = await orchestrator.resume("t", answer=approval)
        second = await orchestrator.ask("list", thread_id="t2")
        records = await orchestrator.ledger.audit()
    assert [each["status"] for done in (first, second) for each in done.tool_calls] == ["executed"] * 2
    assert [each["args"] for each in records] == [SENT] * 2
    assert lines(home / "called") == [f"list {json.dumps(SENT)}"] * 2


async def test_arguments_by_their_own_names_are_taken_too_but_not_twice(household):
    household.add("odata", definition("list", ODATA))
    async with household.open() as house:
        tool = (await house.tools())["odata_list"]
    own = {"$top": 1, "排序": {"@by": "date"}}
    [top] = [name for name in tool.parameters["properties"] if name.startswith("top")]
    [order] = [name for name in tool.parameters["required"] if name != top]
    assert tool.parameters["properties"][top] == {"type": "integer", "description": "`$top`: how many"}
    [by] = tool.parameters["properties"][order]["properties"]
    shown = {top: 1, order: {by: "date"}}
    assert tool.check(own) == tool.check(shown) == tool.check(tool.check(shown)) == own
    assert tool.fingerprint(own) == tool.fingerprint(shown) == tool.fingerprint({**shown, "user-id": "me"})
    with pytest.raises(ArgumentsError, match="given twice"):
        tool.check({**own, top: 9})
