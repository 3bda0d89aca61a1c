"""Brain two writes what the person reads."""

from functools import partial

from langgraph.runtime import Runtime

from base.errors import NoModelAnsweredError
from models.call import Ask
from nodes.context import Context
from nodes.prompt.views import responder_view
from nodes.state import State, Update
from nodes.turn.calls import as_list, records_of
from nodes.turn.closing import end_turn
from nodes.turn.stopping import stopped
from nodes.turn.turn import take_up
from nodes.turn.usage import Meter, prompt_of


async def respond(state: State, runtime: Runtime[Context]) -> Update:
    """Write the answer, streaming.

    Reads the turn and the summary; writes the answer. Where no responder answers, what the planner
    gathered is the answer, and says so.
    """
    turn = await take_up(state, runtime)
    if state.path == "direct":  # as in plan
        await turn.res.settled(state.thread)
    meter = Meter(turn, "chat")
    view = partial(responder_view, state, turn.context, stopped(turn, state.stop_reason))
    prompt, chars = await prompt_of(turn, view, turn.responder)
    ask = Ask(turn.context.responder, prompt, turn.person.user, known=turn.res.tools, fit=view, chars=chars)
    if state.path == "direct" and (day := await meter.begin(ask)):
        return await end_turn(turn, meter, day.refusal(), day.reason)
    try:
        reply = await turn.res.models.call(ask, meter)
    except NoModelAnsweredError as error:
        return await end_turn(turn, meter, _without_responder(state, str(error)), "model_failed")
    return await end_turn(turn, meter, reply.message.text, state.stop_reason or "answered", reply)


def _without_responder(state: State, why: str) -> str:
    found = state.summary or as_list(records_of(state))
    if not found:
        return why
    return (
        "The model that writes answers could not be used, so this is what was gathered.\n\n"
        f"{found}\n\n({why})"
    )
