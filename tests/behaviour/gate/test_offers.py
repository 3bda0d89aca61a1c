"""After the third approval of a kind a bounded rule is offered, in words, and never a wider one."""

import json
import time
from datetime import UTC, datetime

import pytest
from langgraph.types import Command

from base.errors import StorageError
from channels.dialogue import card_text, understood
from graphs.stream import shown
from ledger.ledger import Ledger
from nodes.gate.offers import choices_for
from tests.behaviour.household import ring_bell
from tests.tools.loopback import open_post
from tools.declaration import tool
from tools.policy.decision import rule_for
from tools.policy.rules import Rule
from tools.registry import Registry, open_registry

WITHOUT = "without asking, 20 times, until "
TOML = '[users.bob]\n[users.alice]\nrole = "admin"\ntimezone = "Pacific/Kiritimati"\n'


def write(path: str, content: str = "x") -> str:
    return f"write_file {json.dumps({'path': path, 'content': content})}"


def mail(to: str, body: str = "Hello") -> str:
    return f"send_email {json.dumps({'to': to, 'subject': body, 'body': body})}"


def offer_in(result) -> dict | None:
    [action] = result.pending["action_requests"]
    return action.get("offer")


def taking(result) -> dict:
    [action] = result.pending["action_requests"]
    remember = action["offer"]["remember"]
    return {"decisions": [{"type": "approve", "tool_call_id": action["tool_call_id"], "remember": remember}]}


class Table:
    """An orchestrator at which a person is asked, each time in a thread of its own."""

    def __init__(self, house, orchestrator, **choices):
        self.orchestrator = orchestrator
        self.context = house.context(**choices)
        self.asked = 0

    async def ask(self, request, thread=None):
        self.asked += 1
        self.thread = thread or f"t{self.asked}"
        return await self.orchestrator.ask(request, thread_id=self.thread, context=self.context)

    async def answer(self, answer=True):
        return await self.orchestrator.resume(self.thread, answer, context=self.context)

    async def approve(self, *requests):
        for request in requests:
            assert offer_in(await self.ask(request)) is None, request
            assert (await self.answer()).pending is None

    async def checkpoints(self, *then):
        """Return the configs of the thread's steps, the newest first, that these follow; none named: any."""
        config = self.orchestrator.config(self.thread)
        history = [state async for state in self.orchestrator.graph.aget_state_history(config)]
        named = [state.config["configurable"] for state in history if state.next and then in {(), state.next}]
        return [{"configurable": {**config["configurable"], **each}} for each in named]

    async def offer(self, request):
        """Return what is offered with a request, which is then neither approved nor denied."""
        return offer_in(await self.ask(request))


async def test_after_the_third_approval_a_bounded_rule_is_offered_in_words_and_taken_it_holds(settle):
    async with open_post() as (sent, table):
        house = settle("openai", more=table + TOML)
        async with house.open() as orchestrator:
            at = Table(house, orchestrator, user="alice", user_role=None)
            await at.approve(*(mail("Anna <anna@example.com>", body) for body in "abc"))
            asked = await at.ask(mail("Anna <Anna@example.com>", "d"))
            offer, [action] = offer_in(asked), asked.pending["action_requests"]
            until = datetime.fromisoformat(offer["remember"]["until"])
            assert offer["remember"] == {
                "where": {"to": "anna@example.com"},
                "uses": 20,
                "until": until.isoformat(),
            }
            assert until.strftime("%A %H:%M:%S %z") == "Sunday 23:59:59 +1400", "in the person's own zone"
            assert 7 <= (until - datetime.now(UTC)).total_seconds() / 86_400 < 14.1
            day = f"{until:%A} {until.day} {until:%B}"
            assert offer["text"] == f"Mails to anna@example.com {WITHOUT}{day}"
            [line] = [line for line in action["description"].splitlines() if offer["text"] in line]
            said = json.loads(line[line.index("{") : line.rindex("}") + 1])
            [drawn] = shown(asked.pending)["action_requests"]
            assert '"approve"' not in drawn["description"], "the page has a box for it"
            assert (await at.answer({"decisions": [said]})).pending is None

            for to in ("anna@example.com", "Anna <ANNA@example.com>"):
                assert (await at.ask(mail(to, "other words"))).pending is None
            for to in ("eve@example.com", "anna@example.com, eve@example.com", "anna@example.com.evil.com"):
                assert await at.offer(mail(to)) is None
            [rule] = await orchestrator.ledger.rules(user="alice")
            assert rule["uses_left"] == 18
            assert await orchestrator.ledger.rules(user="bob") == []
    assert sent == [(f"{name}@example.com",) for name in ("anna", "anna", "anna", "Anna", "anna", "ANNA")]


@pytest.mark.slow
async def test_a_rule_is_offered_no_wider_than_what_was_approved_shows(settle):
    cases = (
        (["a/[*].md"] * 3, {"./a/[*].md": {"path": "a/[[][*]].md"}, "a/[x].md": None}),
        (["b/x.md", "b/y.md", "b/z.md"], {"b/w.md": {"path": "b/+([!/]).md"}, "b/deep/w.md": None}),
        ([], {"b/w.sh": None, "c/../../b/w.md": None}),
        (["c/x.md", "c/x.md", "c/y.md"], {"c/w.md": None}),
        (["d/x", "x.md", "d/y", "y.md", "d/z", "z.md"], {"d/w": None, "w.md": None}),
        (["e/`x`.md"] * 3, {"e/`x`.md": None}),
    )
    house = settle("openai")
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        for approved, wanted in cases:
            await at.approve(*(write(path, str(content)) for content, path in enumerate(approved)))
            for path, where in wanted.items():
                offer = await at.offer(write(path, "d"))
                assert (offer and offer["remember"]["where"]) == where, path


async def test_a_folders_rule_lets_its_files_be_written_and_nothing_beside_or_below(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        await at.approve(*(write(f"notes/{name}.md") for name in "abc"))
        asked = await at.ask(write("notes/d.md"))
        assert offer_in(asked)["text"].startswith(f"Writing files that end in .md in notes/ {WITHOUT}")
        await at.answer(taking(asked))
        assert (await at.ask(write("notes/e.md", "other words"))).pending is None
        for path in ("notes/.git/hooks/x.md", "notes/x.sh", "x.md", "notes/../x.md", "notes/%2e%2e/x.md"):
            assert (await at.ask(write(path))).pending, path
    found = sorted(path.name for path in (house.workspace / "notes").iterdir())
    assert found == ["a.md", "b.md", "c.md", "d.md", "e.md"]


@tool(effect="write")
def ring_room(room: str, how: str | None = None) -> str:
    """Ring in a room."""
    return f"Rang {how or 'softly'} in the {room}."


@pytest.mark.slow
async def test_whatever_the_tool_does_not_say_the_very_same_call_is_what_is_offered(settle, monkeypatch):
    def with_bells(settings):
        return Registry([*open_registry(settings), ring_bell, ring_room])

    monkeypatch.setattr("nodes.resources.open_registry", with_bells)
    house = settle("openai")
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        ring = 'ring_bell {"times": 1, "room": "hall"}'
        for _ in range(3):  # a number is in no rule, so that it could be any
            await at.approve(ring)
        assert await at.offer(ring) is None
        for name in "abc":
            await at.approve(write("a.txt", name), 'delete_file {"path": "a.txt"}')
        await at.approve(*['ring_room {"room": "hall"}'] * 4)  # what is left out could be anything
        (house.workspace / "a.txt").write_text("x")
        assert (await at.offer('delete_file {"path": "a.txt"}'))["remember"]["where"] == {"path": "a.txt"}
        (house.workspace / "b.txt").write_text("x")
        assert await at.offer('delete_file {"path": "b.txt"}') is None
    assert house.rung() == ["1 hall"] * 3


@pytest.mark.slow
async def test_nothing_is_offered_where_no_rule_would_hold_or_a_no_came_since(settle):
    house = settle("openai", more="[tools.run_command]\nenabled = true\n")
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        for n in range(3):
            await at.approve(write("a.txt", str(n)))
        assert await at.offer(write("a.txt"))
        assert await at.offer(f'read_file {{"path": "a.txt"}} then {write("a.txt")}') is None, "tainted"
        at.context = house.context(confirm_deny=["write_file"])
        assert await at.offer(write("a.txt")) is None, "always asks"
        at.context = house.context()
        await at.ask(f"{write('b.txt')} then {write('a.txt')}")
        assert offer_in(await at.answer(False)) is None, "after a denial of the tool in this turn"
        assert await at.offer(write("a.txt"))
        await at.answer(False)
        await at.approve(write("a.txt", "4"), write("a.txt", "5"))
        await at.ask(write("a.txt"))
        args = {"path": "a.txt", "content": "6"}
        await at.answer({"type": "edit", "edited_action": {"name": "write_file", "args": args}})
        await at.approve(*(write("a.txt", str(n)) for n in range(7, 10)))
        assert await at.offer(write("a.txt"))

        await at.approve(*['run_command {"command": "true"}'] * 4)


@pytest.mark.slow
async def test_an_offer_not_taken_and_a_rule_revoked_are_not_offered_again(settle, monkeypatch):
    house, real, ahead = settle("openai"), time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        await at.approve(*(write("a.txt", each) for each in "abc"))
        assert offer_in(await at.ask(write("a.txt")))
        await at.answer()
        await at.approve(*(write("a.txt", each) for each in "def"))
        ahead[0] = 31 * 86_400.0
        await at.approve(*(write("a.txt", each) for each in "ghi"))
        await at.answer(taking(await at.ask(write("a.txt"))))
        [rule] = await orchestrator.ledger.rules()
        assert await orchestrator.ledger.revoke_rule(rule["id"], user="local")
        await at.approve(write("a.txt", "j"))
        ahead[0] = 300 * 86_400.0
        await at.approve(*(write("a.txt", each) for each in "klmn"))


@pytest.mark.slow
async def test_nothing_is_offered_that_a_revoked_rule_covers_or_that_would_cover_what_one_did(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        for where, first in (("*.txt", "x.txt"), ("n/a.md", "n/a.md")):
            await at.ask(write(first))
            await at.answer({"type": "approve", "remember": {"where": {"path": where}}})
            [rule] = await orchestrator.ledger.rules()
            assert await orchestrator.ledger.revoke_rule(rule["id"], user="local")
        await at.approve(*(write("y.txt", each) for each in "abcd"))
        await at.approve(*(write(f"n/{each}.md") for each in "bcde"))
        await at.approve(*(write("n/b.md", each) for each in "bc"))
        assert (await at.offer(write("n/b.md")))["remember"]["where"] == {"path": "n/b.md"}


@pytest.mark.slow
async def test_an_approval_counts_once_however_often_its_turn_is_run_again_or_forked(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        at.asked = 10
        await at.ask(" & ".join(write(f"n/{each}.md") for each in "abc"))
        assert (await at.answer()).pending is None, "three at once are one answer"
        await at.approve(write("n/d.md"))
        forks = await at.checkpoints()
        for fork in forks:
            await orchestrator.graph.ainvoke(None, fork)
            while pending := (await orchestrator.result(at.thread)).pending:
                assert "offer" not in pending["action_requests"][0]
                await at.answer()
        await at.approve(write("n/e.md"))
        assert await at.offer(write("n/f.md"))
        at.thread = f"t{at.asked - 1}"
        (house.workspace / "n" / "e.md").write_text("what nobody can tell from another's")
        forked = await orchestrator.graph.ainvoke(None, (await at.checkpoints("plan"))[-1])
        [action] = forked["pending"]["action_requests"]
        assert "attempt" in action
        assert "offer" not in action, "it may have happened"


async def test_what_was_approved_after_untrusted_content_shows_nothing(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        await at.approve(write("a.txt"), write("a.txt", "b"))
        for _ in range(2):
            await at.approve(f'read_file {{"path": "a.txt"}} then {write("a.txt")}')
        await at.approve(write("a.txt", "c"))
        assert await at.offer(write("a.txt"))


async def test_each_call_of_a_round_is_in_one_question_and_one_rule_is_offered_once(settle):
    house = settle("openai")
    three = " & ".join(["get_time {}", *(write(f"n/{each}.md") for each in "abc")])
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        await at.approve(*(write(f"n/{each}.md") for each in "xyz"))
        asked = await at.ask(f"{three} then {write('n/d.md')}")
        actions = asked.pending["action_requests"]
        assert [("offer" in action) for action in actions] == [True, False, False]
        decisions = [{"type": "approve", "tool_call_id": action["tool_call_id"]} for action in actions]
        decisions[0]["remember"] = actions[0]["offer"]["remember"]
        config = orchestrator.config(at.thread)
        done = await orchestrator.graph.ainvoke(
            Command(resume={"decisions": decisions[::-1]}), config, context=at.context
        )
        assert done["pending"] is None, "what the rule covers is not asked about in the next round"
        assert [call["status"] for call in done["tool_calls"]] == ["executed"] * 5


@pytest.mark.slow
async def test_an_approvers_yes_counts_for_the_child_and_that_of_nobody_else(settle):
    house = settle("openai", more='[users.mum]\n[users.kid]\napprovers = ["mum"]\n')
    async with house.open() as orchestrator:
        at = Table(house, orchestrator, user="kid", user_role=None)
        for each in "abc":
            assert offer_in(await at.ask(write("a.txt", each))) is None
            at.context = house.context(user="mum", user_role=None)
            assert (await at.answer()).pending is None
            at.context = house.context(user="kid", user_role=None)
        asked = await at.ask(write("a.txt"))
        again = await at.answer(taking(asked))
        assert "Only mum" in again.pending["problem"]
        at.context = house.context(user="mum", user_role=None)
        assert (await at.answer(taking(asked))).pending is None
        at.context = house.context(user="kid", user_role=None)
        assert (await at.ask(write("a.txt", "f"))).pending is None


@pytest.mark.slow
async def test_where_all_is_text_the_word_always_takes_the_offer_and_no_other_does(settle):
    house = settle("openai")
    path = "a/![x](http:x)/b.md"
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        await at.approve(*(write(path, each) for each in "abc"))
        asked = await at.ask(write(path))
        card = card_text(asked.pending)
        assert f'"always" allows: `Writing {path} {WITHOUT}' in card, "as code, so that nothing is loaded"
        assert '"remember"' not in card
        for word in ("always!", "always do", "yes always"):
            assert understood(word, asked.pending, lambda *_: None).answer is None
        said = understood(" Always ", asked.pending, lambda *_: None).answer
        assert (await at.answer(said)).pending is None
        assert (await at.ask(write(path, "d"))).pending is None


@pytest.mark.slow
async def test_where_the_answers_cannot_be_read_the_question_comes_without_an_offer(settle, monkeypatch):
    async def unreadable(*_args, **_kwargs):
        raise StorageError("The ledger cannot be read.")

    house = settle("openai")
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        await at.approve(*(write("a.txt", each) for each in "abc"))
        monkeypatch.setattr(Ledger, "answers", unreadable)
        await at.approve(write("a.txt"))


@pytest.mark.slow
async def test_a_rule_that_was_not_offered_has_to_cover_the_call_as_before(settle):
    house = settle("openai")
    async with house.open() as orchestrator:
        at = Table(house, orchestrator)
        await at.approve(*(write("a.txt", each) for each in "abc"))
        asked = await at.ask(write("./a.txt"))
        answer = taking(asked)
        answer["decisions"][0]["remember"] = {"where": {"path": "b.txt"}}
        again = await at.answer(answer)
        assert "would not cover this call" in again.pending["problem"]
        assert (await at.answer(taking(asked))).pending is None


POST = tool(effect="send")
PROGRAM = tool(effect="execute", role="admin")


def publish(to: str, body: str, copies: list[str] = []) -> str:  # noqa: B006 (never changed)
    """Publish."""
    return to + body + "".join(copies)


@pytest.mark.parametrize(
    ("made", "args", "words"),
    [
        (
            POST,
            {"to": "anna@example.org", "body": "a, b\nc"},
            ["to is anna@example.org", "to is any address at example.org", "Every call of publish"],
        ),
        (
            POST,
            {"to": "https://a.test/x/y", "body": "long" * 99},
            ["to is https://a.test/x/y", "to is anything at https://a.test/", "Every call of publish"],
        ),
        (
            POST,
            {"to": "notes/a.txt", "body": "b", "copies": ["x/c.md", "x/d.md"]},
            [
                "copies x/c.md and x/d.md",
                "to is notes/a.txt",
                "to is any file in notes/",
                "copies is x/c.md and",
                "copies is any file in x/",
                "Every call of publish",
            ],
        ),
        (POST, {"to": "two\nlines", "body": "a;b"}, []),
        (POST, {"to": "\u202etxt.a/b.exe", "body": "x"}, ["Every call of publish"]),
        (PROGRAM, {"to": "notes/a.txt", "body": "b", "copies": ["c"]}, ["copies c, to notes/a.txt, body b"]),
        (PROGRAM, {"to": "notes/a.txt", "body": "long" * 99}, []),
    ],
)
def test_the_rules_to_choose_from_cover_the_call_and_get_wider(made, args, words):
    publishes = made(publish)
    found = choices_for(publishes, args)
    assert [word in each.words for each, word in zip(found, words, strict=True)] == [True] * len(words), found
    elsewhere = ("../notes/a.txt", "anna@example.org,eve@evil.test", "https://a.test.evil/")
    for each in found:
        rule = Rule("publish", each.where)
        assert rule_for(publishes, args, [rule]), each
        if each.where.get("to", "*") != "*":
            assert not any(rule_for(publishes, {**args, "to": other}, [rule]) for other in elsewhere), each
