"""A tool's schema on the three wires: what stands there for each construct; to follow that is enough."""

from collections.abc import Mapping
from typing import Any

import pytest

from base.settings import ModelCard, load_settings
from models.providers import provider
from tests.models.schemas import CONSTRUCTS, DEFINITIONS, MAKERS, followed, own_check
from tests.wires.serve import Wire
from tools.registry import open_registry
from tools.schema import shown_schema

NAMES = {"gemini": "google", "openai": "openai", "anthropic": "anthropic"}
COLUMN = {"anthropic": 1, "openai": 2, "gemini": 3}


async def on_the_wire(wire: Wire, parameters: Mapping[str, Any], *, stream: bool = False) -> dict[str, Any]:
    """Return what a provider is told of a tool of these parameters."""
    card = ModelCard(provider=NAMES[wire.kind], model="m", base_url=wire.url)
    spec = {"type": "function", "function": {"name": "try_it", "description": "d", "parameters": parameters}}
    model = provider(NAMES[wire.kind]).open(card, "sk-test").bind_tools([spec])
    if stream:
        _ = [chunk async for chunk in model.astream("hello")]
    else:
        await model.ainvoke("hello")
    assert wire.rejected == []
    [declared] = wire.heard[-1].tools.values()
    return dict(declared)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("kind", NAMES)
async def test_each_construct_stands_on_the_wire_as_the_table_says(open_wire, kind, stream):
    start = {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None}
    arguments = {name.replace(" ", "_").replace(",", ""): row[0] for name, row in CONSTRUCTS.items()}
    schema = {"type": "object", "properties": {"start": start, **arguments}, "$defs": DEFINITIONS}
    told = await on_the_wire(open_wire(kind), shown_schema(schema).parameters, stream=stream)
    for argument, row in zip(arguments, CONSTRUCTS.values(), strict=True):
        expected = row[COLUMN[kind]]
        assert told["properties"][argument] == (row[1] if expected is None else expected), argument


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("maker", MAKERS)
async def test_whoever_follows_what_a_wire_says_passes_the_servers_own_schema(open_wire, kind, maker):
    shown = shown_schema(MAKERS[maker])
    told = await on_the_wire(open_wire(kind), shown.parameters)
    assert told["type"] == "object"
    assert not told.keys() & {"anyOf", "oneOf", "allOf", "not", "enum", "if"}, (
        "OpenAI and Anthropic refuse it"
    )
    values = followed(told)
    assert len(values) > 10, "it says enough to be followed"
    fits = own_check(MAKERS[maker])
    assert [value for value in values if not fits(shown.original(value))] == []


def test_openai_itself_is_told_in_all_keywords():
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": r"\S", "format": "uri"}}}
    spec = {"type": "function", "function": {"name": "try_it", "description": "d", "parameters": schema}}
    bound = provider("openai").open(ModelCard(provider="openai", model="m"), "sk-test").bind_tools([spec])
    assert bound.kwargs["tools"] == [spec]


@pytest.mark.parametrize("kind", NAMES)
async def test_our_own_tools_say_the_same_to_every_provider(open_wire, kind, tmp_path):
    wire = open_wire(kind)
    for tool in open_registry(load_settings({"TWOBRAIN_DATA_DIR": str(tmp_path)})):
        told = await on_the_wire(wire, tool.parameters)
        assert told.get("required") == tool.parameters.get("required")
        assert set(told.get("properties", ())) == set(tool.parameters["properties"])
