"""The second model writes what the person reads."""

from functools import partial

from langgraph.runtime import Runtime

from base.errors import NoModelAnsweredError
from models.call import Ask
from models.media import media_in
from nodes.context import Context
from nodes.prompt.compaction import chars_of
from nodes.prompt.views import messages_by, responder_view
from nodes.state import State, Update
from nodes.turn.closing import end_turn
from nodes.turn.history import as_list
from nodes.turn.limits import stopped
from nodes.turn.meter import Meter
from nodes.turn.turn import Turn, take_up


async def respond(state: State, runtime: Runtime[Context]) -> Update:
    """Write the answer, streaming.

    Reads the turn and the summary; writes the answer. Where no responder answers, what the planner
    gathered is the answer, and says so.
    """
    turn = await take_up(state, runtime)
    if state.path == "direct":  # as in plan
        await turn.res.settled(turn.thread_id)
    meter = Meter(turn, "chat")
    view = partial(responder_view, turn, stopped(turn, state.stop_reason))
    prompt = await view(chars_of(turn.responder))
    ask = Ask(
        turn.context.responder,
        prompt.messages,
        turn.person.user,
        known=turn.res.tools,
        fit=partial(messages_by, view),
        chars=prompt.chars,
        described=bool(state.summary) or not media_in([turn.history.request]),
    )
    if state.path == "direct" and (day := await meter.begin(ask)):
        return await end_turn(turn, meter, day.refusal(), day.reason)
    try:
        reply = await meter.ask(ask)
    except NoModelAnsweredError as error:
        return await end_turn(turn, meter, _without_responder(turn, str(error)), "model_failed")
    return await end_turn(turn, meter, reply.message.text.strip(), state.stop_reason or "answered", reply)


def _without_responder(turn: Turn, why: str) -> str:
    found = turn.state.summary or as_list(turn.history.finished())
    if not found:
        return why
    return (
        "The model that writes answers could not be used, so this is what was gathered.\n\n"
        f"{found}\n\n({why})"
    )
