from typing import assert_never

from hypothesis import given
from hypothesis import strategies as st

from settings import ROLES
from tools.declaration import Here, Tool, tool
from tools.policy import Allow, Confirm, Deny, Person, decide

NAMES = ("look", "change")


def a_tool(name: str, *, role: str, confirm: bool) -> Tool:
    def act(here: Here) -> str:
        """Act."""
        return "done"

    act.__name__ = name
    return tool(effect="write", role=role, confirm=confirm)(act)


TOOLS = [a_tool(n, role=r, confirm=c) for n in NAMES for r in ROLES for c in (True, False)]
name_sets = st.frozensets(st.sampled_from(NAMES))
people = st.builds(
    Person,
    user=st.just("ada"),
    role=st.sampled_from([*ROLES, "root", ""]),
    tools=st.none() | name_sets,
    confirm_allow=name_sets,
    confirm_deny=name_sets,
)


@given(person=people, declared=st.sampled_from(TOOLS))
def test_no_combination_of_lists_lets_a_forbidden_call_run_or_a_risky_one_run_unasked(person, declared):
    decision = decide(person, declared, declared.name)
    forbidden = person.role not in ROLES[ROLES.index(declared.role) :] or (
        person.tools is not None and declared.name not in person.tools
    )
    must_ask = declared.name in person.confirm_deny or (
        declared.confirm and declared.name not in person.confirm_allow
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
    decision = decide(Person("eve", "guest"), a_tool("change", role="admin", confirm=True), "change")
    assert decision == Deny("change needs the role admin; eve is guest.")
