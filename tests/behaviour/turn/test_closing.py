"""What is left of an orchestrator that was closed: nothing."""

import asyncio

import pytest

from tests.behaviour.household import obedient
from tests.wires.cards import at
from tests.wires.serve import Host


@pytest.mark.parametrize("kind", ["gemini", "openai", "anthropic"])
async def test_closing_closes_the_connections_to_the_models(furnish, kind):
    with Host(keep_alive=True) as host:
        house = furnish({"planner": at(host.open(kind, brain=obedient))})
        async with house.open() as orchestrator:
            assert (await orchestrator.ask("hello", context=house.context())).response == "Answer to: hello"
            assert host.connections == 1
        async with asyncio.timeout(60):
            while host.connections:  # noqa: ASYNC110 (the server has no event for it)
                await asyncio.sleep(0.01)
