"""Every fork of the graph, from the state to the next steps.

Nothing here waits; they are coroutines because LangGraph runs a plain function in a thread.
"""

from collections.abc import Container
from typing import Literal

from langchain_core.messages import ToolMessage
from langgraph.types import Send

from nodes.state import CallDecision, JudgedCall, State, Task
from nodes.turn.history import last_round_ids


async def after_intake(state: State) -> list[Send] | Literal["plan", "respond", "__end__"]:
    """Plain chat goes to the responder; what is answered, nowhere.

    Of a turn that was cut short, whose message came again, the calls that need no consent go on.
    """
    if state.response:
        return "__end__"
    answered = {message.tool_call_id for message in state.messages if isinstance(message, ToolMessage)}
    cut = [call for call in state.calls if call["verdict"] != "ask" and call["id"] not in answered]
    if cut:
        made = last_round_ids(state.messages)
        return [Send("execute_tools", _task(state, call, made, None, "plan")) for call in cut]
    return "respond" if state.path == "direct" else "plan"


async def after_plan(state: State) -> list[Send] | Literal["execute_tools", "explain", "respond", "__end__"]:
    """Run calls that need no consent, then ask; without calls, answer."""
    if not state.calls:
        handed_over = state.path == "two-brain" and state.respond and not state.response
        return "respond" if handed_over else "__end__"
    safe = [call for call in state.calls if call["verdict"] != "ask"]
    if not safe:
        return "explain"
    after: Literal["plan", "explain"] = "plan" if len(safe) == len(state.calls) else "explain"
    made = last_round_ids(state.messages)
    return [Send("execute_tools", _task(state, call, made, None, after)) for call in safe]


async def after_confirm(state: State) -> list[Send] | Literal["execute_tools", "plan", "confirm"]:
    """Ask again while anything is undecided; then run what was approved.

    Where nothing is asked any more, because the ledger has forgotten the question, plan puts it anew.
    """
    asked = {action["tool_call_id"] for action in state.request.get("action_requests", ())}
    if not asked <= state.decisions.keys():
        return "confirm"
    approved = [c for c in state.calls if c["id"] in asked and state.decisions[c["id"]]["approved"]]
    if not approved:
        return "plan"
    made = last_round_ids(state.messages)
    return [Send("execute_tools", _task(state, c, made, state.decisions[c["id"]], "plan")) for c in approved]


def _task(
    state: State,
    call: JudgedCall,
    made: Container[str | None],
    decided: CallDecision | None,
    after: Literal["plan", "explain"],
) -> Task:
    return Task(
        call=call,
        args=decided["args"] if decided else call["args"],
        in_conversation=call["id"] in made,
        on_record=bool(decided and decided.get("on_record")),
        thread=state.thread,
        turn=state.turn,
        started_at=state.started_at,
        waited_s=state.waited_s,
        choices=state.choices,
        planner=state.planner,
        taint=state.taint,
        next=after,
    )
