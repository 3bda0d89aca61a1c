"""Who did what, decided how, and how it ended."""

import hashlib

import pytest

from base.settings import load_settings
from graphs.session import open_orchestrator
from nodes.context import Context


@pytest.fixture
def environ(tmp_path):
    config = tmp_path / "twobrain.toml"
    config.write_text(
        '[users.alice]\nrole = "admin"\nconfirm_deny = ["calculate"]\n[users.tim]\nrole = "guest"\n'
    )
    return {"TWOBRAIN_DATA_DIR": str(tmp_path / "data"), "TWOBRAIN_CONFIG": str(config)}


async def test_each_call_is_audited_with_who_what_how_decided_and_how_it_ended(environ):
    async with open_orchestrator(load_settings(environ)) as orchestrator:
        context = Context(user="alice")
        waiting = await orchestrator.ask("what is 6*7 and list files", thread_id="t", context=context)
        assert [action["name"] for action in waiting.pending["action_requests"]] == ["calculate"]
        assert "always asks alice first" in waiting.pending["action_requests"][0]["description"]
        await orchestrator.resume("t", True)
        rows = {row["tool"]: row for row in await orchestrator.ledger.audit(thread="t")}
    asked, unasked = rows["calculate"], rows["list_files"]
    assert (asked["user"], asked["role"], asked["model"]) == ("alice", "admin", "offline-planner")
    assert (asked["args"], asked["status"]) == ({"expression": "6*7"}, "executed")
    assert (asked["decision"], asked["decided_by"]) == ("approved", "alice")
    assert asked["result_size"] == 2
    assert asked["result_sha256"] == hashlib.sha256(b"42").hexdigest()
    assert asked["duration_ms"] >= 0
    assert (unasked["decision"], unasked["decided_by"]) == (None, None)


@pytest.mark.slow
async def test_a_call_that_the_role_forbids_is_denied_where_it_runs_and_audited_so(
    environ, open_wire, tmp_path
):
    from tests.wires.brain import Call, Reply
    from tests.wires.cards import at, configure

    def stubborn(heard):
        told = heard.results
        call = Call("delete_file", {"path": "notes.txt"})
        return Reply(text=f"So: {told[-1].text}") if told else Reply(calls=(call,))

    wire = open_wire("openai", brain=stubborn)
    tim = '[users.tim]\nrole = "guest"\n'
    environ = configure(
        tmp_path, {"planner": at(wire)}, {"orchestrator": ["planner"], "chat": ["planner"]}, tim
    )
    notes = tmp_path / "data" / "workspace" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("keep me")
    async with open_orchestrator(load_settings(environ)) as orchestrator:
        result = await orchestrator.ask("tidy up", thread_id="t", context=Context(user="tim", path="single"))
        (row,) = await orchestrator.ledger.audit(thread="t")
    assert result.pending is None
    assert "delete_file needs the role user; tim is guest" in result.response
    assert (row["user"], row["tool"], row["status"]) == ("tim", "delete_file", "denied")
    assert notes.read_text() == "keep me"
