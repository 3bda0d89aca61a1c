"""What holds for one call, or one turn, holds for none beside it or after."""

from dataclasses import replace

import pytest

from base.errors import ConfigurationError, StorageError
from graphs.session import Orchestrator
from ledger.ledger import Ledger
from nodes.context import Context
from storage.checkpoints.saver import open_checkpoints
from tests.behaviour.crashes.process import check_pairs

RING = 'ring_bell {"times": 1}'
ALLOWED = {"confirm_allow": ["ring_bell"]}


async def test_a_new_turn_inherits_nothing_that_the_one_before_was_allowed(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        first = await orchestrator.ask(RING, thread_id="t", context=house.context(**ALLOWED))
        assert first.pending is None
        assert (await orchestrator.ask(RING, thread_id="t", context=house.context())).pending
        given = {"messages": [("user", RING)]}
        plain = await orchestrator.graph.ainvoke(given, orchestrator.config("t"), context=house.context())
        assert plain["pending"]
        assert house.rung() == ["1 hall"]


async def test_a_resume_that_says_nothing_goes_on_with_what_its_own_turn_was_allowed(settle):
    house = settle("openai")
    request = f'write_file {{"path": "a", "content": "b"}} then {RING}'
    async with house.open() as orchestrator:
        await orchestrator.ask(request, thread_id="t", context=house.context(**ALLOWED))
        assert (await orchestrator.resume("t", answer=True)).pending is None
        await orchestrator.ask(request, thread_id="u", context=house.context(**ALLOWED))
        narrowed = Context(confirm_allow=[])
        assert (await orchestrator.resume("u", answer=True, context=narrowed)).pending
    assert house.rung() == ["1 hall"]


@pytest.fixture
def broken(home):
    """Return a way to open an orchestrator with a ledger or a store that throws."""

    async def opened(saver, **changes):
        res = replace(await home.resources(), **changes)
        return Orchestrator(res, saver), res

    return opened


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("a bug"), "an internal error; the details are in the log"),
        (ZeroDivisionError(), "an internal error"),
        (ConfigurationError("the settings are gone"), "the settings are gone"),
    ],
)
async def test_whatever_the_ledger_throws_over_a_call_its_siblings_go_on(
    home, broken, monkeypatch, error, told
):
    claim = Ledger.claim

    async def throws(self, call, **terms):
        if call.tool == "remember":
            raise error
        return await claim(self, call, **terms)

    monkeypatch.setattr(Ledger, "claim", throws)
    async with open_checkpoints(home.data / "checkpoints.db") as saver:
        orchestrator, res = await broken(saver)
        text = "remember that it rains and delete undone.txt and what is 12*7"
        result = await orchestrator.ask(text, thread_id="t1")
        await check_pairs(orchestrator)
        await res.ledger.close()
    found = {call["tool"]: (call["status"], call["result"]) for call in result.tool_calls}
    assert found["remember"][0] == "failed"
    assert told in found["remember"][1]
    assert (found["delete_file"][0], found["calculate"][0]) == ("executed", "executed")
    assert sorted(home.effects) == ["calculate", "delete_file"]
    assert result.stop_reason == "answered"


class NoStore:
    """Throws what no store should."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def put(self, user, text, *, untrusted):
        raise self._error


@pytest.mark.parametrize("error", [RuntimeError("a bug"), StorageError("The disk is full.")])
async def test_whatever_a_store_throws_over_one_result_the_siblings_go_on(home, broken, monkeypatch, error):
    monkeypatch.setattr("nodes.turn.results.LONGEST_INLINE", 30)
    async with open_checkpoints(home.data / "checkpoints.db") as saver:
        orchestrator, res = await broken(saver, artifacts=NoStore(error))
        text = f"remember that {'it rains ' * 8} and delete undone.txt and what is 12*7"
        result = await orchestrator.ask(text, thread_id="t1")
        await check_pairs(orchestrator)
        await res.ledger.close()
    assert [call["status"] for call in result.tool_calls] == ["executed"] * 3, "for it ran"
    assert "The rest is lost" in result.tool_calls[0]["result"]
    assert sorted(home.effects) == ["calculate", "delete_file", "remember"]
    assert result.stop_reason == "answered"
