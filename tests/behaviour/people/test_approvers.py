"""Approvers: a child's request waits for a parent, and only they can agree."""

import pytest
from langgraph.types import Command

from base.errors import ApproverError, ConfigurationError, NothingPendingError, UnknownThreadError
from base.settings import load_settings
from nodes.context import Context

FAMILY = """
[users.mum]
role = "admin"
[users.dad]
[users.kid]
approvers = ["mum", "dad"]
[users.bob]
role = "admin"
"""
WRITE = 'write_file {"path": "a.txt", "content": "x"} & write_file {"path": "b.txt", "content": "y"}'
APPROVE, REJECT = {"type": "approve"}, {"type": "reject", "message": "no"}
EDITED = {"path": "c.txt", "content": "z"}
EDIT = {"type": "edit", "edited_action": {"name": "write_file", "args": EDITED}}
KID = Context(user="kid", path="single")
MUM, DAD, BOB = (Context(user=name) for name in ("mum", "dad", "bob"))


@pytest.fixture
async def family(settle):
    """Yield a house and its orchestrator, on which two writes of the child wait."""
    house = settle("openai", more=FAMILY)
    async with house.open() as orchestrator:
        request = (await orchestrator.ask(WRITE, thread_id="t", context=KID)).pending
        assert request["approvers"] == ["mum", "dad"]
        assert all("It waits for mum or dad." in each["description"] for each in request["action_requests"])
        yield house, orchestrator


def files(house) -> list[str]:
    return sorted(str(path.relative_to(house.workspace)) for path in house.workspace.rglob("*.txt"))


async def rows(orchestrator) -> list[tuple[str, ...]]:
    found = await orchestrator.ledger.audit(thread="t")
    return [(row["user"], row["role"], row["decided_by"], row["decision"], row["status"]) for row in found]


async def answer(orchestrator, way, said, context):
    if way == "session":
        return (await orchestrator.resume("t", said, context=context)).to_json()
    config = orchestrator.config("t")
    return await orchestrator.graph.ainvoke(Command(resume=said), config, context=context)


@pytest.mark.parametrize("way", ["session", "plain graph"])
async def test_an_approvers_yes_runs_the_turn_on_as_the_childs(way, family):
    house, orchestrator = family
    # what the approver's context chooses is not the child's
    done = await answer(orchestrator, way, {"decisions": [APPROVE, REJECT]}, Context(user="mum", tools=[]))
    assert done["response"]
    assert files(house) == [".people/kid/a.txt"]
    assert await rows(orchestrator) == [
        ("kid", "user", "mum", "approved", "executed"),
        ("kid", "user", "mum", "rejected", "denied"),
    ]
    assert {row["user"] for row in await orchestrator.ledger.usage()} == {"kid"}
    assert {row["user"] for row in await orchestrator.ledger.threads()} == {"kid"}
    with pytest.raises(NothingPendingError, match="approved by mum"):
        await answer(orchestrator, way, True, DAD)


@pytest.mark.parametrize("way", ["session", "plain graph"])
@pytest.mark.parametrize("context", [KID, None, Context(confirm_allow=["write_file"])])
async def test_the_childs_own_yes_counts_for_nothing_and_is_told_whose_does(way, context, family):
    house, orchestrator = family
    for said in (True, "yes", {"decisions": [APPROVE, EDIT]}):
        again = await answer(orchestrator, way, said, context)
        assert "Only mum or dad may agree to this." in again["pending"]["problem"]
        assert len(again["pending"]["action_requests"]) == 2
    assert files(house) == []
    assert {row[2:] for row in await rows(orchestrator)} == {(None, None, "waiting")}
    assert (await answer(orchestrator, way, True, DAD))["response"]
    assert files(house) == [".people/kid/a.txt", ".people/kid/b.txt"]


async def test_the_child_may_give_it_up(family):
    house, orchestrator = family
    again = await answer(orchestrator, "session", {"decisions": [REJECT, APPROVE]}, KID)
    assert "Only mum or dad may agree" in again["pending"]["problem"]
    assert [each["args"]["path"] for each in again["pending"]["action_requests"]] == ["b.txt"]
    assert (await answer(orchestrator, "session", False, KID))["response"]
    assert files(house) == []
    assert {row[2] for row in await rows(orchestrator)} == {"kid"}


async def test_an_approver_may_do_nothing_else_there_and_others_not_even_that(family):
    house, orchestrator = family
    config, plain = orchestrator.config("t"), orchestrator.graph.ainvoke
    older = [each.config async for each in orchestrator.graph.aget_state_history(config)][-1]
    older = {"configurable": {**older["configurable"], **config["configurable"]}}
    for forbidden in (
        orchestrator.ask("hello", thread_id="t", context=MUM),
        orchestrator.proceed("t", context=MUM),
        plain({"messages": [{"role": "user", "content": "hello"}]}, config, context=MUM),
        plain(Command(resume=True, update={"path": "direct"}), config, context=MUM),
        plain(Command(resume=True, goto="respond"), config, context=MUM),
        plain(Command(resume=True), older, context=MUM),
    ):
        with pytest.raises(ApproverError, match="Thread 't' is kid's: mum may answer what it asks, no more"):
            await forbidden
    for refused in (
        orchestrator.resume("t", True, context=BOB),
        orchestrator.resume("t", True, context=Context(user="local")),
        plain(Command(resume=True), config, context=BOB),
        orchestrator.result("t", context=BOB),
    ):
        with pytest.raises(UnknownThreadError):
            await refused
    assert (await orchestrator.result("t", context=MUM)).pending
    seen = {name: await orchestrator.pending(user=name) for name in ("mum", "dad", "kid", "bob", None)}
    assert [name for name, waiting in seen.items() if not waiting] == ["bob"]
    assert files(house) == []
    await orchestrator.resume("t", {"decisions": [EDIT, REJECT]}, context=MUM)
    assert files(house) == [".people/kid/c.txt"]


async def test_a_rule_that_an_approver_makes_is_the_childs_and_one_of_the_childs_own_is_none(family):
    house, orchestrator = family
    remember = {**APPROVE, "remember": {"where": {"path": "*.txt"}}}
    await orchestrator.resume("t", {"decisions": [remember, REJECT]}, context=MUM)
    [rule] = await orchestrator.ledger.rules()
    assert (rule["user"], rule["created_by"]) == ("kid", "mum")
    again = 'write_file {"path": "d.txt", "content": "z"}'
    assert (await orchestrator.ask(again, context=KID)).pending is None
    assert (await orchestrator.ask(again, context=Context(user="mum", path="single"))).pending
    config = house.folder / "twobrain.toml"
    config.write_text(config.read_text().replace('["mum", "dad"]', '["dad"]'))
    async with house.open() as later:  # of one who may no longer agree
        assert (await later.ask('write_file {"path": "e.txt", "content": "z"}', context=KID)).pending


async def test_no_context_raises_a_child_above_what_its_table_says(family):
    _, orchestrator = family
    raised = Context(user="kid", path="single", user_role="admin", confirm_allow=["write_file"])
    assert (await orchestrator.ask(WRITE, thread_id="u", context=raised)).pending
    assert {row["role"] for row in await orchestrator.ledger.audit(thread="u")} == {"user"}


@pytest.mark.parametrize(
    ("table", "line", "words"),
    [
        (
            '[users.kid]\nrole = "user"\napprovers = ["mim"]\n[users.mum]',
            3,
            "'mim' is no user .*there are: 'mum'",
        ),
        ('[users.kid]\napprovers = ["kid"]', 2, "'kid' cannot be asked instead of 'kid'"),
        ('[users.kid]\napprovers = ["local"]\n[users.local]', 2, "'local' is no user"),
        ('[users.kid]\napprovers = ["*"]\n[users."*"]', 2, r"'\*' is no user"),
        (f'[users."*"]\ntoken_sha256 = "{"0" * 64}"', 2, "a token is one user's"),
    ],
)
def test_people_who_cannot_be_are_refused_with_file_and_line(table, line, words, tmp_path):
    config = tmp_path / "twobrain.toml"
    config.write_text(table)
    with pytest.raises(ConfigurationError, match=rf"twobrain.toml, line {line}: users\..*: {words}"):
        load_settings({"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(tmp_path)})
