from dataclasses import replace
from typing import assert_never

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.settings import ROLES
from tools.declaration import Here, Tool, tool
from tools.policy.decision import Allow, Confirm, Deny, Person, decide
from tools.policy.rules import Rule
from tools.policy.taint import UNTAINTED, Taint

NAMES = ("look", "change")
EFFECTS = ("read", "write", "send", "execute")
GIVEN = "https://example.com/menu"
ARGS = (
    {"place": "notes/a.txt"},
    {"place": "notes/../a.txt"},
    {"place": "a.txt"},
    {"place": GIVEN},
    {"place": "https://evil.example/?q=secret"},
    {"place": 5},
    {"place": ["notes/a.txt"]},
    {"other": "notes/a.txt"},
    {},
    None,
    "notes/a.txt",
)
COVERED = {  # which of ARGS a rule lets run, by its place in them
    "notes/*": {0},
    "*.txt": {0, 2},
    "*": {0, 2, 3, 4, 5},  # a number is taken for text, as the tool itself takes it
    "https://example.com/*": {3},
}


def a_tool(name: str, *, role: str = "user", effect: str = "write", confirm: bool | None = None) -> Tool:
    def act(here: Here, place: str) -> str:
        """Act."""
        return "done"

    act.__name__ = name
    return tool(effect=effect, role=role, confirm=confirm)(act)


TOOLS = [
    replace(a_tool(name, role=role, effect=effect, confirm=confirm), caution=caution, outbound=outbound)
    for name in NAMES
    for role in ROLES
    for effect in EFFECTS
    for confirm in (True, False)
    for caution in (None, "its definition changed")
    for outbound in (True, False)
]
name_sets = st.frozensets(st.sampled_from(NAMES))
rules = st.builds(
    Rule,
    tool=st.sampled_from(NAMES),
    where=st.sampled_from([{"place": pattern} for pattern in COVERED]),
    id=st.sampled_from(["", "r1", "r2"]),
    definition=st.sampled_from(["", "of another tool", "of this tool"]),
    uses_left=st.sampled_from([None, 0, 1]),
)
people = st.builds(
    Person,
    user=st.just("ada"),
    role=st.sampled_from([*ROLES, "root", ""]),
    tools=st.none() | name_sets,
    confirm_allow=name_sets,
    confirm_deny=name_sets,
    rules=st.lists(rules, max_size=2).map(tuple),
)
taints = st.builds(
    Taint,
    sources=st.frozensets(st.sampled_from(["web_fetch", "read_file"])),
    trusted_links=st.sampled_from([frozenset(), frozenset({"example.com/menu"})]),
)


def lets(rule: Rule, declared: Tool, place: int) -> bool:
    in_force = rule.definition in {"", declared.definition} and rule.uses_left != 0
    return rule.tool == declared.name and in_force and place in COVERED[rule.where["place"]]


@pytest.mark.prove
@given(
    person=people,
    declared=st.sampled_from(TOOLS),
    place=st.integers(0, len(ARGS) - 1),
    taint=taints,
    remembered=st.lists(rules, max_size=3),
)
def test_nothing_makes_a_forbidden_call_run_or_a_call_run_unasked_that_must_ask(
    person, declared, place, taint, remembered
):
    remembered = [
        replace(rule, definition=declared.definition) if rule.definition == "of this tool" else rule
        for rule in remembered
    ]
    args = ARGS[place]
    decision = decide(person, declared, declared.name, args, taint, remembered)
    forbidden = person.role not in ROLES[ROLES.index(declared.role) :] or (
        person.tools is not None and declared.name not in person.tools
    )
    carries_out = declared.outbound and not (args == {"place": GIVEN} and taint.trusted_links)
    swayed = bool(taint.sources) and (declared.effect != "read" or carries_out)
    agreed = declared.name in person.confirm_allow or any(
        lets(rule, declared, place) for rule in (*person.rules, *remembered)
    )
    must_ask = (
        declared.name in person.confirm_deny
        or declared.caution is not None
        or swayed
        or (declared.confirm and not agreed)
    )
    match decision:
        case Deny(reason):
            assert forbidden
        case Confirm(reason):
            assert not forbidden
            assert must_ask
        case Allow(reason):
            assert not forbidden
            assert not must_ask
        case _:
            assert_never(decision)
    assert declared.name in reason


@given(person=people)
def test_a_tool_that_does_not_exist_is_denied_to_everyone(person):
    assert isinstance(decide(person, None, "launch"), Deny)


def test_the_refusal_of_an_unknown_tool_names_the_tools_there_are():
    decision = decide(Person("ada", "user"), None, "launch", known=["read_file", "get_time"])
    assert decision == Deny("There is no tool 'launch'. Tools there are: get_time, read_file.")


def test_a_role_that_is_too_low_is_told_which_one_it_takes():
    decision = decide(Person("eve", "guest"), a_tool("change", role="admin"), "change")
    assert decision == Deny("change needs the role admin; eve is guest.")


def test_after_strangers_text_what_was_allowed_beforehand_asks_and_says_from_where_the_text_came():
    person = Person("ada", "user", confirm_allow=frozenset({"change"}))
    declared = a_tool("change", effect="send")
    assert isinstance(decide(person, declared, "change", ARGS[0], UNTAINTED), Allow)
    decision = decide(person, declared, "change", ARGS[0], Taint(frozenset({"web_fetch", "read_inbox"})))
    assert isinstance(decision, Confirm)
    assert "strangers" in decision.reason
    assert "read_inbox, web_fetch" in decision.reason
    assert "sends something out" in decision.reason


def look(url: str, note: str = "", headers: dict[str, str] | None = None, links: bool = False) -> str:
    """Look something up."""
    return ""


@pytest.mark.parametrize(
    ("args", "runs"),
    [
        ({"url": "https://example.com/menu"}, True),
        ({"url": "http://example.com/menu"}, True),
        ({"url": " http://EXAMPLE.com:80/menu#wine "}, False),
        ({"url": "https://example.com/menu?q=secret"}, False),
        ({"url": "https://example.com/menu/secret"}, False),
        ({"url": "https://user:secret@example.com/menu"}, False),
        ({"url": "https://example.com/menu", "note": "secret"}, False),
        ({"url": "https://example.com/menu", "headers": {"secret": "https://example.com/menu"}}, False),
        ({"url": "https://example.com/menu", "links": True, "note": ""}, True),
        ({}, False),
        (None, False),
        ("https://example.com/menu", False),
    ],
)
def test_after_strangers_text_a_read_goes_out_unasked_only_to_a_link_that_was_given(args, runs):
    declared = tool(effect="read", outbound=True)(look)
    person = Person("ada", "user", confirm_allow=frozenset({"look"}))
    taint = Taint(frozenset({"web_fetch"}), frozenset({"example.com/menu"}))
    assert isinstance(decide(person, declared, "look", args, taint), Allow) is runs
    assert isinstance(decide(person, declared, "look", args), Allow)


def test_a_remembered_rule_lapses_when_the_tool_becomes_another():
    declared = a_tool("change")
    rule = Rule("change", {"place": "notes/*"}, "r1", declared.definition)
    assert decide(Person("ada", "user"), declared, "change", ARGS[0], UNTAINTED, [rule]) == Allow(
        "ada lets such calls of change run unasked.", "r1"
    )
    for changed in (
        replace(declared, description="Act, and tell the neighbours."),
        replace(declared, parameters={**declared.parameters, "additionalProperties": True}),
        replace(declared, effect="execute"),
    ):
        assert isinstance(
            decide(Person("ada", "user"), changed, "change", ARGS[0], UNTAINTED, [rule]), Confirm
        )


def test_an_argument_that_the_tool_does_not_declare_is_covered_by_no_rule():
    free = replace(a_tool("change"), check=lambda args: args)
    rule = Rule("change", {"place": "notes/*"})
    person = Person("local", "user", rules=(rule,))
    assert isinstance(decide(person, free, "change", {"place": "notes/a"}), Allow)
    assert isinstance(decide(person, free, "change", {"place": "notes/a", "force": "yes"}), Confirm)
