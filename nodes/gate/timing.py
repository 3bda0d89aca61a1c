"""When an answer was sent, and when the question was put that it meets."""

from uuid import UUID

from langgraph.runtime import Runtime

from nodes.context import Context
from nodes.state import State

_BY_TIME = 7
"""Version of the UUIDs that begin with the milliseconds of the Unix epoch."""


def was_sent_before(state: State, runtime: Runtime[Context]) -> bool:
    """Tell whether an answer was sent before the question was put, so that nobody can have meant it.

    A LangGraph server lets one run wait for another, and hands what it brings to whatever question stands
    when its time comes. Its runs bear the time at which they were sent in their ids.

    Returns:
        False also where that cannot be told: elsewhere, or in a run that the server begins again.
    """
    info = runtime.execution_info
    if runtime.server_info is None or info is None or not info.run_id:
        return False
    run = UUID(info.run_id)
    return run.version == _BY_TIME and run.int >> 80 < int(state.asked_at * 1_000)
