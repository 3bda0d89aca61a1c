"""Who may run a thread: its user; an approver may answer it."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from base.errors import ApproverError, UnknownThreadError
from base.settings import LOCAL
from graphs.damage import damage_named
from graphs.stale_answers import question, stale_answer
from nodes.context import Answerer, asks
from nodes.resources import Resources


async def admit(
    res: Resources, saver: BaseCheckpointSaver[Any], given: Any, config: RunnableConfig, context: Any
) -> Answerer | None:
    """Check that whoever begins a run may; return an approver.

    Given is a new message, a Command, or None to go on; who answers or goes on and does not say who they are
    is the thread's user.

    Raises:
        ApproverError: the thread is of one for whom they approve, and this is no answer.
        NothingPendingError: so it is, and the thread asks nothing.
        UnknownThreadError: the thread is another's.
        UnknownUserError: there are users, and this is none.
    """
    begins = given is not None and not (isinstance(given, Command) and not given.goto)
    user = asks(config["configurable"], context, res.settings) or (LOCAL if begins else None)
    owner = await check_user(res, saver, config, user)
    if user in {owner, None} or owner is None:
        return None
    thread = str(config["configurable"]["thread_id"])
    if not _only_answers(given, config):
        raise ApproverError(f"Thread {thread!r} is {owner}'s: {user} may answer what it asks, no more.")
    if not await question(saver, config):
        raise await stale_answer(res.ledger, thread)
    return Answerer(owner, str(user))


async def check_user(
    res: Resources, saver: BaseCheckpointSaver[Any], config: RunnableConfig, user: str | None
) -> str | None:
    """Return whose a thread is that a user (None: anybody) may see.

    That are its user and their approvers. None: it is new. Raises as `admit`.
    """
    thread = str(config["configurable"]["thread_id"])
    owner = await _owner(res, saver, thread)
    if user is not None:
        res.settings.user(user)
        card = res.settings.users.get(owner or "")
        if owner not in {user, None} and not (card and user in card.approvers):
            raise UnknownThreadError(
                f"There is no thread {thread!r} of {user!r}. `twobrain threads` lists those there are."
            )
    return owner


def _only_answers(given: Any, config: RunnableConfig) -> bool:
    """Tell whether a run brings an answer to the newest question alone."""
    if not isinstance(given, Command) or given.resume is None:
        return False
    more = (given.update, given.goto, given.graph, config["configurable"].get("checkpoint_id"))
    return not any(more)


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
