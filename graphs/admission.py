"""Who may run a thread: its user, and nobody else."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from base.errors import UnknownThreadError
from base.settings import LOCAL
from graphs.damage import damage_named
from nodes.context import asks
from nodes.resources import Resources


async def admit(
    res: Resources, saver: BaseCheckpointSaver[Any], given: Any, config: RunnableConfig, context: Any
) -> None:
    """Check that whoever begins a run may run its thread.

    Given is a new message, a Command, or None to go on; who answers or goes on and does not say who they are
    is the thread's user.

    Raises:
        UnknownThreadError: the thread is another's.
        UnknownUserError: there are users, and this is none.
    """
    begins = given is not None and not (isinstance(given, Command) and not given.goto)
    user = asks(config["configurable"], context, res.settings) or (LOCAL if begins else None)
    await check_user(res, saver, config, user)


async def check_user(
    res: Resources, saver: BaseCheckpointSaver[Any], config: RunnableConfig, user: str | None
) -> None:
    """Check that a thread is a user's (None: anybody's) or new.

    Raises as `admit`.
    """
    if user is None:
        return
    res.settings.user(user)
    thread = str(config["configurable"]["thread_id"])
    if await _owner(res, saver, thread) not in {user, None}:
        raise UnknownThreadError(
            f"There is no thread {thread!r} of {user!r}. `twobrain threads` lists those there are."
        )


async def _owner(res: Resources, saver: BaseCheckpointSaver[Any], thread: str) -> str | None:
    """Return whose a thread is; None: it is new.

    Where the ledger has no record of it, the conversation says who began its last turn.
    """
    if row := await res.ledger.thread(thread):
        return str(row["user"])
    with damage_named(thread):
        found = await saver.aget_tuple({"configurable": {"thread_id": thread}})
        if found is None:
            return None
        choices = found.checkpoint["channel_values"].get("choices") or {}
        return str(choices.get("user", LOCAL))
