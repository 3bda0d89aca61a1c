"""Every form of an answer to a confirmation, and everything that is none."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.gate.answers import Approve, Edit, Reject, read

ACTIONS = [
    {"name": "write_file", "args": {"path": "a", "content": "x"}, "tool_call_id": "c1"},
    {"name": "delete_file", "args": {"path": "b"}, "tool_call_id": "c2"},
]
ONE = ACTIONS[:1]
CHANGED = {"path": "a", "content": "y"}
EDITED = {"type": "edit", "edited_action": {"name": "write_file", "args": CHANGED}}
YES, NO = {"type": "approve"}, {"type": "reject", "message": "not now"}


def fits(name, args):
    return None if set(args) <= {"path", "content"} else "unknown argument"


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        (True, Approve()),
        (False, Reject()),
        *((word, Approve()) for word in ("approve", "yes", " YES ", "y", "ok", "accept", "true", '"yes"')),
        *((word, Reject()) for word in ("reject", "no", "No", "n", "deny", "ignore", "false", '"no"')),
        ({"decisions": [YES]}, Approve()),
        ({"decisions": [NO]}, Reject("not now")),
        ({"decisions": [EDITED]}, Edit(CHANGED)),
        ({"decisions": [{**YES, "tool_call_id": "c1"}]}, Approve()),
        ([{"type": "accept", "args": None}], Approve()),
        ([{"type": "edit", "args": {"action": "write_file", "args": CHANGED}}], Edit(CHANGED)),
        ([{"type": "edit", "args": {"action": "write_file", "args": {}}}], Edit({})),
        ([{"type": "accept", "args": {"action": "write_file", "args": ONE[0]["args"]}}], Approve()),
        ([{"type": "accept", "args": {"action": "write_file", "args": {}}}], Approve()),
        ({**YES, "message": "", "remember": None}, Approve()),
        ([{"type": "response", "args": "not now"}], Reject("not now")),
        ([{"type": "ignore", "args": None}], Reject()),
        (YES, Approve()),
        (NO, Reject("not now")),
        (EDITED, Edit(CHANGED)),
        ({"type": "edit", "edited_action": {"name": "write_file", "args": ONE[0]["args"]}}, Approve()),
        (json.dumps({"decisions": [YES]}), Approve()),
        (json.dumps([NO]), Reject("not now")),
        (json.dumps(json.dumps(EDITED)), Edit(CHANGED)),
    ],
)
def test_each_accepted_form_means_what_it_says(answer, choice):
    reading = read(answer, ONE, fits)
    assert reading.choices == {"c1": choice}
    assert reading.problem == ""


CLEAR = "Yes. yes! ja Ja. да Да! 好的 是的。 👍 👍🏽 ✅ oui sí tak evet はい 네 हाँ כן نعم Ναι ok. true"  # noqa: RUF001
REFUSED = "No. no! nein нет Нет. 不 👎 👎🏿 ❌ non nie hayır いいえ 아니요 नहीं לא لا Όχι"  # noqa: RUF001


CLEAR += " Oui\u00a0! oui\u202f!!! ¡Sí! نعم\u06d4 हाँ। ✔️ ✓ 係 EVET"
REFUSED += " HAYIR hayir\u3002 Non\u202f! ไม่ ✗ ✘ いいえ\uff61 ոչ\u0589 አይ። 唔係"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("word", "choice"),
    [*((word, Approve()) for word in CLEAR.split(" ")), *((w, Reject()) for w in REFUSED.split(" "))],
)
def test_a_plain_word_that_is_the_whole_answer_is_one_in_any_language(word, choice, count):
    assert read(word, ACTIONS[:count], fits).choices == dict.fromkeys(("c1", "c2")[:count], choice)


@pytest.mark.parametrize(
    "said",
    [
        "no wait yes",
        "ok?",
        "not ok",
        "yes yes",
        "да нет",
        "ja nein",
        "不好",
        "👍👎",
        "yes…",
        "yes\u00a0no!",
        "!yes",
        "¡¡sí!",
        "sí!¡",
        "yes ?!",
        "si",  # a yes without its accent, and an if
        "jo",  # a yes in Danish, a no in Albanian
        "ha!",
        "👍✗",
        "¿sí?",
        "j",
        "д",
        "o",
        "nai",
    ],
)
def test_what_only_holds_a_word_of_consent_is_none(said):
    reading = read(said, ONE, fits)
    assert reading.choices == {}
    assert reading.problem


@pytest.mark.parametrize(
    ("answer", "choices"),
    [
        ({"type": "edit", "editedAction": {"name": "write_file", "args": CHANGED}}, {"c1": Edit(CHANGED)}),
        ({"decisions": [{**YES, "toolCallId": "c2"}]}, {"c2": Approve()}),
        (
            {"decisions": [{**NO, "toolCallId": "c2"}, {**YES, "toolCallId": "c1"}]},
            {"c2": Reject("not now"), "c1": Approve()},
        ),
        ({**YES, "toolCallId": "c1", "tool_call_id": "c2"}, {}),
    ],
)
def test_names_in_camel_case_are_understood(answer, choices):
    assert read(answer, ACTIONS if "c2" in choices else ONE, fits).choices == choices


@pytest.mark.parametrize(
    ("echoed", "is_same"),
    [
        ({"amount": 20, "now": True, "each": [{"at": 1}]}, True),
        ({"amount": 20, "now": 1, "each": [{"at": 1}]}, False),
        ({"amount": 20, "now": True, "each": [{"at": True}]}, False),
        ({"amount": 21, "now": True, "each": [{"at": 1}]}, False),
        ({"amount": "20", "now": True, "each": [{"at": 1}]}, False),
    ],
)
def test_a_call_that_comes_back_from_a_browser_is_the_same_by_its_numbers_values(echoed, is_same):
    action = {"name": "pay", "args": {"amount": 20.0, "now": True, "each": [{"at": 1.0}]}}
    sent = [{"type": "accept", "args": {"action": "pay", "args": echoed}}]
    choices = read(json.dumps(sent), [{**action, "tool_call_id": "c1"}], fits).choices
    assert choices == ({"c1": Approve()} if is_same else {})


@pytest.mark.parametrize(
    ("answer", "choices"),
    [
        (True, {"c1": Approve(), "c2": Approve()}),
        ("no", {"c1": Reject(), "c2": Reject()}),
        ({"decisions": [YES, NO]}, {"c1": Approve(), "c2": Reject("not now")}),
        (
            {"decisions": [{**NO, "tool_call_id": "c2"}, {**YES, "tool_call_id": "c1"}]},
            {"c1": Approve(), "c2": Reject("not now")},
        ),
    ],
)
def test_decisions_are_taken_in_order_or_by_call_id(answer, choices):
    assert read(answer, ACTIONS, fits).choices == choices


def test_a_decision_that_names_its_call_decides_that_and_leaves_the_others_open():
    reading = read({"decisions": [{**YES, "tool_call_id": "c2"}]}, ACTIONS, fits)
    assert reading.choices == {"c2": Approve()}
    assert "1 of 2 calls are still undecided" in reading.problem
    assert not reading.one_by_one


@pytest.mark.parametrize(
    "answer",
    [
        YES,
        [YES],
        {"decisions": [NO]},
        json.dumps([{"type": "accept", "args": None}]),
        {"decisions": [YES, {**YES, "tool_call_id": "c3"}]},
        {"decisions": [{**YES, "tool_call_id": "c1"}, NO]},
        {"decisions": [YES, NO]},
    ],
)
def test_fewer_unnamed_decisions_than_calls_decide_nothing(answer):
    reading = read(answer, [*ACTIONS, {**ACTIONS[0], "tool_call_id": "c3"}], fits)
    assert reading.choices == {}
    assert reading.one_by_one
    assert "nothing says which it is about" in reading.problem


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        [],
        1,
        1.0,
        "",
        "maybe",
        "yes please",
        {"decisions": None},
        {"decisions": {"type": "approve"}},
        {"decisions": [True]},
        {"decisions": ["approve"]},
        {"decisions": [YES, YES]},
        {"decisions": [{**YES, "tool_call_id": "c9"}]},
        {"decisions": [{**YES, "tool_call_id": ["c1"]}]},
        {"decisions": [{"type": ["approve"]}]},
        {"decisions": [{"type": None}]},
        {"approve": True},
        {"type": "edit"},
        {"type": "edit", "edited_action": {"name": "delete_file", "args": {"path": "a"}}},
        {"type": "edit", "edited_action": {"name": "write_file", "args": "a"}},
        {"type": "edit", "edited_action": {"name": "write_file", "args": {"pfad": "a"}}},
        {"type": "edit", "edited_action": {"name": "write_file", "args": {"path": 10**30}}},
        "[" * 100_000,
        {**YES, "message": "no"},
        {**YES, "comment": "but not on Sundays"},
        {**YES, "edited_action": {"name": "write_file", "args": CHANGED}},
        {**YES, "args": CHANGED},
        {**YES, "args": {"action": "write_file", "args": CHANGED}},
        {**YES, "args": {"action": "delete_file", "args": {}}},
        {**YES, "args": "no"},
        {**EDITED, "message": "no"},
        {**EDITED, "args": {"action": "write_file", "args": {}}},
        {**EDITED, "edited_action": {"name": "write_file", "args": CHANGED, "arguments": {"path": "a"}}},
        {**EDITED, "edited_action": {"name": "write_file", "action": "delete_file", "args": CHANGED}},
        {**EDITED, "edited_action": {"name": "write_file", "args": CHANGED, "unless": "it rains"}},
        {"decisions": [YES], "type": "reject"},
        {"decisions": [YES], "decided": False},
        '{"type": "reject", "type": "approve"}',
        '{"decisions": [{"type": "approve"}], "decisions": [{"type": "approve"}]}',
        '{"type": "edit", "edited_action": {"name": "write_file", "args": {"path": "a", "path": "b"}}}',
        "o\N{KELVIN SIGN}",
        {"type": "\N{CYRILLIC SMALL LETTER A}pprove"},
        {"type": "appro\N{ZERO WIDTH SPACE}ve"},
        "\N{FULLWIDTH LATIN SMALL LETTER Y}es",
        "\N{NO-BREAK SPACE}yes",
        "yes\x1f",
        {"type": "approve\x00"},
    ],
)
def test_what_is_not_understood_decides_nothing_and_says_why(answer):
    reading = read(answer, ONE, fits)
    assert reading.choices == {}
    assert reading.problem


@pytest.mark.parametrize(("ahead_s", "problem"), [(0, "is over already"), (1, "")])
def test_what_is_to_be_remembered_until_this_moment_is_over(ahead_s, problem, monkeypatch):
    now = datetime(2030, 1, 1, tzinfo=UTC)
    monkeypatch.setattr("time.time", now.timestamp)
    remember = {"where": {"path": "a"}, "until": (now + timedelta(seconds=ahead_s)).isoformat()}
    assert problem in read({**YES, "remember": remember}, ONE, fits).problem
    assert bool(read({**YES, "remember": remember}, ONE, fits).choices) is not bool(problem)


def test_an_edit_that_makes_one_of_true_is_an_edit():
    one = [{"name": "ring", "args": {"times": 1}, "tool_call_id": "c1"}]
    edit = {"type": "edit", "edited_action": {"name": "ring", "args": {"times": True}}}
    assert read(edit, one, lambda *_: None).choices == {"c1": Edit({"times": True})}
    assert (
        read({"type": "accept", "args": {"action": "ring", "args": {"times": True}}}, one, fits).choices == {}
    )


CONSENT = ("approve", "accept", "edit", "yes", "ok", "true", '"y"', "y")
WORDS = st.sampled_from(["type", "decisions", "args", "edited_action", "tool_call_id", "name", "c1", "c2"])
SAID = st.sampled_from(["reject", "respond", "ignore", "no", "no\n", "false", "{}", "respond to it"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | WORDS | SAID,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.prove
@given(JSON, st.booleans())
def test_nothing_is_consent_but_a_word_of_consent(value, as_text):
    said = json.dumps(value).lower()
    reading = read(said if as_text else value, ACTIONS, fits)
    if not any(word in said for word in CONSENT):
        assert all(isinstance(choice, Reject) for choice in reading.choices.values())
    assert reading.problem or reading.choices.keys() == {"c1", "c2"}
