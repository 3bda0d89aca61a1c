"""A turn's result, and how it is read from the state."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from langgraph.types import StateSnapshot

from base.texts import visible
from graphs.damage import damage_named
from nodes.gate.request import remaining
from nodes.state import State
from nodes.turn.closing import account_of, listed_tools
from nodes.turn.history import read_turn

_OUTCOMES = {"executed": "done", "unknown": "unknown whether done"}
_NAME_CHARS = 44


@dataclass(frozen=True, slots=True)
class Result:
    """How a turn stands: answered, or waiting for a person."""

    thread_id: str
    response: str = ""
    """What the person reads; empty while a confirmation waits. Where a limit ended the turn
    or cut the answer off, its last paragraph is ours: which limit, what was done, what it took."""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    """One `{tool, args, result, status, call_id}` for each call of the turn, in order. Of a result of more
    than 2,000 characters the two ends, with the handle of the stored whole: this key is streamed."""
    backend: str | None = None
    """Registry name of the model that wrote the response; None where none did."""
    summary: str = ""
    """The planner's words for the responder; empty on the single and direct paths."""
    receipts: list[dict[str, Any]] = field(default_factory=list)
    """Machine-made: one `{tool, call_id, status, text}` for each call, whatever a model says of it. First
    come those of an earlier turn that no answer told of: superseded by this turn's message, for the most."""
    pending: dict[str, Any] | None = None
    """The confirmation request that waits; None when the turn is done."""
    usage: dict[str, Any] = field(default_factory=dict)
    """`model_calls`, `input_tokens`, `output_tokens`, `cached_tokens`, `reasoning_tokens`, `cost_usd`: None
    is unknown. Limits count `counted_tokens`, estimated where none are reported, and `known_cost_usd`."""
    failed_models: list[dict[str, Any]] = field(default_factory=list)
    """Models of this turn that could not answer: `{model, role, cause, why, instead}`, where `instead` is the
    one that did in its place, None where none did."""
    stop_reason: str | None = None
    """answered, truncated (the answer is cut off at a limit of its model's output), model_failed, or what
    ended it early: rounds, tool_calls, tokens, cost, deadline, repeats
    (the planner went on repeating calls although it was told), or tokens_per_day or cost_per_day (the user's
    allowance; with no model call in `usage` where it was used up before). None while it waits."""

    def to_json(self) -> dict[str, Any]:
        """Return the same keys as plain data."""
        return asdict(self)


def result_from(thread_id: str, values: Mapping[str, Any]) -> Result:
    """Return a thread's result as the state's values hold it."""
    told = {each.name: values[each.name] for each in fields(Result) if each.name != "thread_id"}
    return Result(thread_id, **told)


def result_of(thread_id: str, snapshot: StateSnapshot) -> Result:
    """Return how a thread's last turn stands.

    Raises:
        DamagedThreadError: what is stored of it cannot be read.
    """
    with damage_named(thread_id):
        state = State(**snapshot.values)
        finished = read_turn(state.messages, state.turn).finished()
        account = account_of(finished, state.receipts)
        pending = remaining(state) if snapshot.interrupts else None
    return result_from(thread_id, {**vars(state), **account, "pending": pending})


def outcomes_of(result: Result, label: Callable[[str], str] = str) -> dict[str, str]:
    """Return which tools ended how, in words: `{"done": "get_time (2)"}`.

    It stands beside the answer: a claim without a receipt is seen to have none. `label` says what a person
    calls a tool.
    """
    calls: dict[str, Counter[str]] = {"executed": Counter()}
    for receipt in result.receipts:
        calls.setdefault(receipt["status"], Counter())[visible(label(receipt["tool"]))[:_NAME_CHARS]] += 1
    return {_OUTCOMES.get(status, status): listed_tools(tools) for status, tools in calls.items() if tools}


def condition_of(snapshot: StateSnapshot) -> Literal["answered", "failed", "waiting", "interrupted"]:
    """Return how the state says that an idle thread stands.

    Not by `next`: it leaves out the tasks that finished before their checkpoint could be written.
    """
    if snapshot.interrupts:
        return "waiting"
    if snapshot.tasks:
        return "interrupted"
    return "failed" if snapshot.values.get("stop_reason") == "model_failed" else "answered"
