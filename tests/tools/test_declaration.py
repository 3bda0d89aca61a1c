import asyncio
import threading
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from tools.declaration import ArgumentsError, ToolFailure, tool
from tools.run import run_tool


class Place(BaseModel):
    """Where to."""

    city: str
    title: str | None = None


@tool(effect="read")
def travel(
    to: Place,
    by: Annotated[Literal["train", "ship"], "means"] = "train",
    days: Annotated[int, Field(ge=1, description="nights away")] = 1,
    budget: Annotated[float | None, "in euros"] = None,
) -> str:
    """Plan a journey."""
    return f"{to['city']} by {by}, {days} days, {budget}"


def test_nested_and_optional_arguments_make_a_plain_schema():
    assert travel.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["to"],
        "properties": {
            "to": {
                "type": "object",
                "description": "Where to.",
                "required": ["city"],
                "properties": {"city": {"type": "string"}, "title": {"type": "string"}},
            },
            "by": {"type": "string", "enum": ["train", "ship"], "default": "train", "description": "means"},
            "days": {"type": "integer", "minimum": 1, "default": 1, "description": "nights away"},
            "budget": {"type": "number", "description": "in euros"},
        },
    }


def test_what_a_client_changes_in_a_spec_does_not_change_the_tool():
    travel.spec()["function"]["parameters"].clear()
    assert travel.parameters["required"] == ["to"]


def test_numbers_that_a_form_sent_as_text_become_numbers_and_the_rest_stays_as_it_came():
    checked = travel.check({"to": {"city": "Oslo"}, "days": "3", "budget": "12.5"})
    assert checked == {"to": {"city": "Oslo"}, "days": 3, "budget": 12.5}


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ({}, "'to' is missing"),
        ({"to": {"city": "Oslo"}, "dayz": 1}, "there is no argument 'dayz'"),
        ({"to": {"city": "Oslo"}, "days": "many"}, "'days': Input should be a valid integer"),
        ({"to": {"city": "Oslo"}, "days": 0}, "'days': Input should be greater than or equal to 1"),
        ({"to": {"city": "Oslo"}, "by": "plane"}, "'by': Input should be 'train' or 'ship'"),
        ({"to": {"city": "Oslo"}, "budget": float("nan")}, "'budget': Input should be a finite number"),
        ({"to": {"city": "\ud800"}}, "a text holds half a character"),
        ({"to": "Oslo"}, "'to': Input should be a valid dictionary"),
        ([], "expected an object of arguments by name"),
        (None, "expected an object of arguments by name"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_words_with_the_schema(args, complaint):
    with pytest.raises(ArgumentsError) as refusal:
        travel.check(args)
    assert complaint in str(refusal.value)
    assert '"required": ["to"]' in str(refusal.value)


@given(args=st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text() | st.binary()))
def test_no_made_up_argument_gets_past_the_check(args):
    with pytest.raises(ArgumentsError):
        travel.check(args)


def test_only_a_read_neither_asks_nor_fears_to_be_run_again_unless_it_is_said_otherwise():
    def act() -> str:
        """Act."""
        return ""

    flags = {effect: tool(effect=effect)(act) for effect in ("read", "write", "send", "execute")}
    assert {e: (t.confirm, t.idempotent) for e, t in flags.items()} == {
        "read": (False, True),
        "write": (True, False),
        "send": (True, False),
        "execute": (True, False),
    }
    chosen = tool(effect="write", confirm=False, idempotent=True)(act)
    assert (chosen.confirm, chosen.idempotent) == (False, True)


async def test_a_plain_function_runs_off_the_event_loop_and_a_coroutine_on_it(here):
    @tool(effect="read")
    def blocking() -> bool:
        """Tell the thread."""
        return threading.current_thread() is threading.main_thread()

    @tool(effect="read")
    async def cooperative() -> bool:
        """Tell the thread."""
        return threading.current_thread() is threading.main_thread()

    assert (await run_tool(blocking, here, {})).text == "false"
    assert (await run_tool(cooperative, here, {})).text == "true"


async def test_a_tool_knows_who_calls_it_without_the_model_having_a_say(here):
    @tool(effect="read")
    async def whoami(here) -> str:
        """Tell who calls."""
        return f"{here.user}/{here.idempotency_key}"

    assert whoami.parameters["properties"] == {}
    assert (await run_tool(whoami, here, {})).text == "local/key-1"
    with pytest.raises(ArgumentsError):
        whoami.check({"here": "somebody else"})


def declared_with(preview):
    @tool(effect="write", preview=preview)
    def act(amount: int) -> str:
        """Act."""
        return str(amount)

    return act


async def test_a_preview_says_the_exact_effect_without_secrets(here):
    act = declared_with(lambda amount: f"Pay {amount} with hunter2-and-more")
    assert await act.preview(here, {"amount": 3}) == "Pay 3 with [redacted]"


async def test_a_preview_that_knows_the_call_must_fail_says_so(here):
    async def foresee(amount):
        raise ToolFailure("The purse is empty.")

    assert await declared_with(foresee).preview(here, {"amount": 3}) == "This will fail: The purse is empty."


async def test_a_preview_that_breaks_or_is_not_there_is_none(here):
    assert await declared_with(lambda amount: 1 / 0).preview(here, {"amount": 3}) is None
    assert await declared_with(None).preview(here, {"amount": 3}) is None


async def test_a_preview_that_hangs_is_given_up(here, monkeypatch):
    monkeypatch.setattr("tools.declaration.PREVIEW_TIMEOUT_S", 0.02)

    async def hang(amount):
        await asyncio.Event().wait()

    assert await declared_with(hang).preview(here, {"amount": 3}) is None


def checked_with(verify):
    @tool(effect="send", verify=verify)
    def act(amount: int) -> str:
        """Act."""
        return str(amount)

    return act


@pytest.mark.parametrize(
    ("found", "known"), [(True, True), (False, False), (None, None), ("yes", None), (1, None)]
)
async def test_a_tool_asks_the_world_whether_an_earlier_call_took_effect(here, found, known):
    asked = []

    def look(here, amount):
        asked.append((here.idempotency_key, amount))
        return found

    assert await checked_with(look).verify(here, {"amount": 3}) is known
    assert asked == [("key-1", 3)]


async def test_a_question_to_the_world_that_breaks_or_hangs_leaves_it_unknown(here, monkeypatch):
    monkeypatch.setattr("tools.declaration.VERIFY_TIMEOUT_S", 0.02)

    async def hang(amount):
        await asyncio.Event().wait()

    async def fail(amount):
        raise ToolFailure("The line is dead.")

    for each in (hang, fail, lambda amount: 1 / 0, lambda: True):
        assert await checked_with(each).verify(here, {"amount": 3}) is None
    assert checked_with(None).verify is None
