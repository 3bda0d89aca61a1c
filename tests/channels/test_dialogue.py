"""A conversation in text: what is shown of a question, and which words decide it."""

import pytest

from base.errors import NothingPendingError
from channels.dialogue import Dialogue, card_text, code_in, code_of, receipts_text
from graphs.stream import Confirmation, Done
from tests.behaviour.household import House

TWO = 'ring_bell {"times": 1} & ring_bell {"times": 2, "room": "kitchen"}'


async def say(house: House, text: str, *, shown: str | None = "", thread: str = "t", user: str = "local"):
    """Say something as one who saw the question that waits; `shown`: another code, None: none."""
    async with house.open() as orchestrator:
        dialogue = Dialogue(orchestrator, user)
        waits = await dialogue.waiting(thread)
        code = (code_of(waits) if waits else None) if shown == "" else shown
        events = [event async for event in dialogue.say(thread, text, shown=code)]
    assert house.rejected() == []
    asked = [event.request for event in events if isinstance(event, Confirmation)]
    return events[-1].result if isinstance(events[-1], Done) else None, asked


@pytest.fixture
def house(settle, bell) -> House:
    return settle()


async def test_a_question_is_shown_with_its_exact_call_and_a_code_that_names_it(house):
    _, [asked] = await say(
        house, 'write_file {"path": "a.txt", "content": "```\\n[x](https://evil.example)"}'
    )
    text = card_text(asked)
    assert "````\nwrite_file\npath: a.txt\ncontent: ```\n[x](https://evil.example)\n````" in text
    assert text.endswith(f"[Question {code_of(asked)}]")
    assert code_in(text) == code_of(asked)
    assert code_in(f"{text} yes") is None


YES = ["yes", "Yes!", "ja", "👍", "approve"]
NO = ["no", "nein", "no: wrong room", "reject, not now"]
NEITHER = [
    "wait, don't",
    "yes please",
    "yes, but only once",
    "",
    "?",
    "edit",
    "edit: nonsense",
    "always",
    "1 yes",
    "ok?",
]


@pytest.mark.parametrize("words", YES)
async def test_a_plain_yes_runs_the_call_that_was_shown(house, words):
    await say(house, 'ring_bell {"times": 1}')
    result, _ = await say(house, words)
    assert result.pending is None
    assert house.rung() == ["1 hall"]


@pytest.mark.parametrize("words", NO)
async def test_a_plain_no_refuses_it_with_the_reason(house, words):
    await say(house, 'ring_bell {"times": 1}')
    result, _ = await say(house, words)
    assert result.tool_calls[0]["status"] == "denied"
    assert house.rung() == []


@pytest.mark.parametrize("words", NEITHER)
async def test_what_is_neither_asks_again_and_says_so(house, words):
    await say(house, 'ring_bell {"times": 1}')
    result, [again] = await say(house, words)
    assert result.pending is not None
    assert "so nothing was done" in card_text(again) or "not understood" in card_text(again)
    assert house.rung() == []


@pytest.mark.parametrize(
    ("words", "rung"),
    [
        ("edit times: 3", "3 hall"),
        ("edit\ntimes: 3\nroom: kitchen", None),  # the call names no room
        ('edit {"times": 2, "room": "attic"}', "2 attic"),
        ("Edit: room = cellar", None),
        ("Edit: times = 4", "4 hall"),
        ("edit times: many", None),
    ],
)
async def test_an_edit_runs_what_was_typed_for_the_arguments_it_names(house, words, rung):
    await say(house, 'ring_bell {"times": 1}')
    result, _ = await say(house, words)
    assert house.rung() == ([rung] if rung else [])
    assert (result.pending is None) == bool(rung)


@pytest.mark.parametrize(
    ("words", "rung"),
    [
        ("yes", ["1 hall", "2 kitchen"]),
        ("1 yes\n2 no: too loud", ["1 hall"]),
        ("2. yes\n1) no", ["2 kitchen"]),
        ("1 yes\n2 edit times: 5", ["1 hall", "5 kitchen"]),
        ("1 yes\n1 yes", []),
        ("3 yes", []),
        ("edit times: 5", []),
    ],
)
async def test_of_several_calls_each_can_be_decided_by_its_number(house, words, rung):
    await say(house, TWO)
    await say(house, words)
    assert sorted(house.rung()) == rung


async def test_an_answer_to_one_of_two_calls_leaves_the_other_waiting(house):
    await say(house, TWO)
    result, [asked] = await say(house, "2 yes")
    assert [action["args"] for action in asked["action_requests"]] == [{"times": 1}]
    assert house.rung() == []
    result, _ = await say(house, "no")
    assert result.pending is None
    assert house.rung() == ["2 kitchen"]


@pytest.mark.parametrize("code", [None, "000000"])
async def test_a_yes_of_one_who_did_not_see_this_question_counts_for_nothing(house, code):
    await say(house, 'ring_bell {"times": 1}')
    result, [again] = await say(house, "yes", shown=code)
    assert result.pending is not None
    assert "counts for nothing" in card_text(again) or "nothing was done" in card_text(again)
    assert house.rung() == []


async def test_a_yes_to_what_is_decided_already_is_told_what_became_of_it(house):
    _, [asked] = await say(house, 'ring_bell {"times": 1}')
    await say(house, "yes")
    with pytest.raises(NothingPendingError, match="ring_bell was approved by local"):
        await say(house, "yes", shown=code_of(asked))
    assert house.rung() == ["1 hall"]


async def test_a_new_request_says_so_and_leaves_the_call_undone(house):
    await say(house, 'ring_bell {"times": 1}')
    result, _ = await say(house, "/new Hello")
    assert result.response.endswith("Answer to: Hello")
    assert result.receipts[0]["status"] == "superseded"
    assert house.rung() == []


async def test_who_may_not_agree_is_told_who_may(settle, bell):
    house = settle(more='[users.mum]\nrole = "admin"\n[users.kid]\napprovers = ["mum"]\nrole = "user"\n')
    _, [asked] = await say(house, 'ring_bell {"times": 1}', user="kid")
    assert "It waits for mum." in card_text(asked, may_answer=False)
    _, [again] = await say(house, "yes", user="kid")
    assert "Only mum may agree" in card_text(again)
    await say(house, "yes", user="mum")
    assert house.rung() == ["1 hall"]


async def test_the_receipts_name_what_was_done(house):
    await say(house, 'ring_bell {"times": 1} & get_time {}')
    result, _ = await say(house, "yes")
    assert receipts_text(result) == "done: ring_bell, get_time"
