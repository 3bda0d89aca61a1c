"""Calls that a person need not be asked about: as twobrain.toml has them, and as they were remembered."""

import time
from datetime import UTC, datetime

import pytest

from base.errors import ConfigurationError, StorageError
from base.settings import load_settings
from ledger.ledger import Ledger
from ledger.records import CallKey, Remembered, fingerprint
from tests.tools.loopback import answer, open_site

WRITE = 'write_file {"path": "notes/a.txt", "content": "x"}'
ELSEWHERE = 'write_file {"path": "notes/../a.txt", "content": "x"}'
REMEMBERED = {"type": "approve", "remember": {"where": {"path": "notes/*"}, "until": None, "uses": 2}}
RULE = '[users.bob]\n[[users.alice.rules]]\ntool = "write_file"\nwhere = { path = "notes/*" }\n'


def written(house) -> list[str]:
    return sorted(str(path.relative_to(house.workspace)) for path in house.workspace.rglob("*.txt"))


async def test_a_rule_of_the_configuration_lets_its_calls_run_unasked_and_no_others(settle):
    house = settle("openai", more=RULE)
    alice = house.context(user="alice", user_role=None)
    async with house.open() as orchestrator:
        assert (await orchestrator.ask(WRITE, context=alice)).pending is None
        assert (await orchestrator.ask(ELSEWHERE, context=alice)).pending
        assert (await orchestrator.ask(WRITE, context=house.context(user="bob"))).pending
        denied = house.context(user="alice", user_role=None, confirm_deny=["write_file"])
        assert (await orchestrator.ask(WRITE, context=denied)).pending
        guest = house.context(user="alice", user_role="guest")
        refused = await orchestrator.ask(WRITE, context=guest)
    assert [call["status"] for call in refused.tool_calls] == ["denied"]
    assert written(house) == [".people/alice/notes/a.txt"]


async def test_an_approval_that_is_remembered_lets_as_many_further_calls_run_as_it_says(settle):
    house = settle("openai")
    ask = house.context()
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=ask)
        done = await orchestrator.resume("t", {"decisions": [REMEMBERED]})
        assert done.pending is None
        [rule] = await orchestrator.ledger.rules()
        assert (rule["tool"], rule["where"], rule["uses_left"]) == ("write_file", {"path": "notes/*"}, 2)

        once = await orchestrator.ask(WRITE, thread_id="u", context=ask)
        assert once.pending is None
        both = await orchestrator.ask(f"{WRITE} & {WRITE}", thread_id="t", context=ask)
        assert len(both.pending["action_requests"]) == 1, "one use is left for two calls"
        await orchestrator.resume("t", answer=False)
        rows = await orchestrator.ledger.audit()
        assert await orchestrator.ledger.rules(valid=True) == []
    told = [(row["decision"], row["decided_by"], row["status"]) for row in rows]
    by_rule = ("rule", rule["id"], "executed")
    assert told == [("approved", "local", "executed"), by_rule, by_rule, ("rejected", "local", "denied")]


async def test_each_use_of_a_rule_is_counted_once_whichever_steps_run_again(settle):
    house = settle("openai")
    often = {**REMEMBERED, "remember": {"where": {"path": "notes/*"}, "uses": 5}}
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=house.context())
        await orchestrator.resume("t", often)
        for used, thread in enumerate(("u", "v"), 1):
            assert (await orchestrator.ask(WRITE, thread_id=thread, context=house.context())).pending is None
            config = orchestrator.config(thread)
            for state in [state async for state in orchestrator.graph.aget_state_history(config)]:
                if state.next == ("execute_tools",):
                    named = {**config["configurable"], **state.config["configurable"]}
                    await orchestrator.graph.ainvoke(None, {"configurable": named})
            [rule] = await orchestrator.ledger.rules()
            assert rule["uses_left"] == 5 - used


async def test_a_rule_whose_time_is_over_asks_instead_of_denying(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=house.context())
        [row] = await orchestrator.ledger.audit()
        key = CallKey("local", "t", row["call_id"])
        tool = orchestrator.tools.find("write_file")
        over = Remembered({"path": "notes/*"}, tool.definition, until=time.time() - 1)
        shown = fingerprint("write_file", row["args"])
        await orchestrator.ledger.decide(key, approve=True, by="local", fingerprint=shown, remember=over)
        assert len(await orchestrator.ledger.rules()) == 1
        asked = await orchestrator.ask(WRITE, thread_id="u", context=house.context())
        assert asked.pending
        assert (await orchestrator.resume("u", answer=True)).tool_calls[0]["status"] == "executed"


async def test_a_revoked_rule_asks_again(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=house.context())
        await orchestrator.resume("t", REMEMBERED)
        [rule] = await orchestrator.ledger.rules()
        await orchestrator.ledger.revoke_rule(rule["id"])
        assert (await orchestrator.ask(WRITE, thread_id="t", context=house.context())).pending


async def test_a_remembered_rule_does_not_hold_against_strangers_text_or_for_others(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=house.context())
        await orchestrator.resume("t", REMEMBERED)
        read = f'read_file {{"path": "notes/a.txt"}} then {WRITE}'
        assert (await orchestrator.ask(read, thread_id="t", context=house.context())).pending
        assert (await orchestrator.ask(WRITE, context=house.context(user="bob"))).pending
        guest = await orchestrator.ask(WRITE, context=house.context(user_role="guest"))
        assert [call["status"] for call in guest.tool_calls] == ["denied"]


@pytest.mark.parametrize(
    "remember",
    [
        {},
        {"where": {}},
        {"where": {"path": "other/*"}},
        {"where": {"path": "notes/*", "mode": "*"}},
        {"where": {"path": "notes/*"}, "uses": 0},
        {"where": {"path": "notes/*"}, "uses": True},
        {"where": {"path": "notes/*"}, "until": "tomorrow"},
        {"where": {"path": "notes/*"}, "until": "2036-12-01T00:00:00"},
        {"where": {"path": "notes/*"}, "until": "2001-12-01T00:00:00Z"},
        {"where": {"path": "notes/*"}, "tool": "delete_file"},
        "always",
        True,
    ],
)
async def test_a_wish_to_remember_that_cannot_be_read_or_does_not_cover_the_call_asks_again(settle, remember):
    house = settle("openai")
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=house.context())
        again = await orchestrator.resume("t", {"type": "approve", "remember": remember})
        assert "remember" in again.pending["problem"]
        assert await orchestrator.ledger.rules() == []
        assert written(house) == []
        assert (await orchestrator.resume("t", answer=True)).pending is None


@pytest.mark.parametrize(
    "decision",
    [
        {"type": "reject"},
        {"type": "edit", "edited_action": {"name": "write_file", "args": {"path": "b", "content": "y"}}},
    ],
)
async def test_only_an_approval_as_it_stands_is_remembered(settle, decision):
    house = settle("openai")
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=house.context())
        again = await orchestrator.resume("t", {**decision, "remember": REMEMBERED["remember"]})
        assert "only an approval" in again.pending["problem"]
        assert await orchestrator.ledger.rules() == []


@pytest.mark.parametrize(
    "table", ['tool = "write_file"\nwhere = {}', 'tool = "write_file"', 'tool = "x"\nwhere = { path = 5 }']
)
def test_a_rule_of_the_configuration_that_cannot_be_read_fails_at_the_start(tmp_path, table):
    config = tmp_path / "twobrain.toml"
    config.write_text(f"[[users.alice.rules]]\n{table}\n")
    with pytest.raises(ConfigurationError, match=r"twobrain.toml, line \d"):
        load_settings({"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(tmp_path)})


async def test_a_rule_past_its_time_asks_and_denies_nothing(settle, monkeypatch):
    house, real, ahead = settle("openai"), time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    until = datetime.fromtimestamp(real() + 3_600, UTC).isoformat()
    rule = {"where": {"path": "notes/*"}, "until": until}
    async with house.open() as orchestrator:
        await orchestrator.ask(WRITE, thread_id="t", context=house.context())
        await orchestrator.resume("t", {"decisions": [{"type": "approve", "remember": rule}]})
        assert (await orchestrator.ask(WRITE, thread_id="u", context=house.context())).pending is None
        ahead[0] = 3_601
        assert (await orchestrator.ask(WRITE, thread_id="v", context=house.context())).pending
        result = await orchestrator.resume("v", answer=True)
    assert [call["status"] for call in result.tool_calls] == ["executed"]


async def test_where_the_rules_cannot_be_read_a_call_asks(settle, monkeypatch):
    async def unreadable(*_args, **_kwargs):
        raise StorageError("The ledger cannot be read.")

    monkeypatch.setattr(Ledger, "rules", unreadable)
    house = settle("openai")
    async with house.open() as orchestrator:
        assert (await orchestrator.ask(WRITE, thread_id="t", context=house.context())).pending
        result = await orchestrator.resume("t", answer=True)
    assert [call["status"] for call in result.tool_calls] == ["executed"]


async def test_each_call_by_a_rule_counts_as_one_use_of_that_rule_alone(settle):
    house = settle("openai")
    other = {"type": "approve", "remember": {"where": {"path": "b.txt"}, "uses": 5}}
    async with house.open() as orchestrator:
        for thread, request, answer in (
            ("t", WRITE, REMEMBERED),
            ("u", WRITE.replace("notes/a", "b"), other),
        ):
            await orchestrator.ask(request, thread_id=thread, context=house.context())
            await orchestrator.resume(thread, {"decisions": [answer]})
        await orchestrator.ask(WRITE, thread_id="v", context=house.context())
        assert [rule["uses_left"] for rule in await orchestrator.ledger.rules()] == [1, 5]
        await orchestrator.proceed("v")
        assert [rule["uses_left"] for rule in await orchestrator.ledger.rules()] == [1, 5]


async def test_http_request_asks_and_nothing_is_sent_before_the_yes(settle):
    async with open_site() as site:
        site.pages["/light"] = answer("[]", "application/json")
        house = settle("openai", more=f'[tools.http_request]\nallow_hosts = ["{site.host}"]\n')
        request = f'http_request {{"method": "POST", "url": "{site.url("/light")}"}}'
        async with house.open() as orchestrator:
            asked = await orchestrator.ask(request, thread_id="t", context=house.context())
            [action] = asked.pending["action_requests"]
            assert f"POST {site.url('/light')}" in action["description"]
            denied = await orchestrator.resume("t", answer=False)
            assert site.seen == []
            await orchestrator.ask(request, thread_id="t", context=house.context())
            assert site.seen == []
            done = await orchestrator.resume("t", answer=True)
    assert [call["status"] for call in (*denied.tool_calls, *done.tool_calls)] == ["denied", "executed"]
    assert [(each.method, each.path) for each in site.seen] == [("POST", "/light")]
