"""Who may run a thread: its user; an approver may answer it."""

import asyncio
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from base.errors import ApproverError, UnknownThreadError
from base.settings import LOCAL
from graphs.damage import damage_named
from graphs.stale_answers import question, stale_answer
from nodes.context import Answerer, asks, is_served
from nodes.resources import Resources


async def check_run(
    res: Resources, saver: BaseCheckpointSaver[Any], given: Any, config: RunnableConfig, context: Any
) -> tuple[str | None, str | None]:
    """Check who begins a run; return the thread's user, and them.

    Given is a new message, a Command, or None to go on. A message that names nobody is `local`'s; else who
    does not say who they are (None) is the thread's user. A new thread has none.

    Raises:
        ApproverError: the thread is of one for whom they approve, and this is no answer.
        UnknownThreadError: the thread is another's.
        UnknownUserError: there are users, and this is none.
    """
    if is_served(config["configurable"]):
        await asyncio.to_thread(res.settings.read_users)
    begins = given is not None and not (isinstance(given, Command) and not given.goto)
    user = asks(config["configurable"], context, res.settings) or (LOCAL if begins else None)
    owner = await check_user(res, saver, config, user)
    if user not in {owner, None} and owner is not None and not _only_answers(given, config):
        thread = str(config["configurable"]["thread_id"])
        raise ApproverError(f"Thread {thread!r} is {owner}'s: {user} may answer what it asks, no more.")
    return owner, user


async def admit(
    res: Resources, saver: BaseCheckpointSaver[Any], given: Any, config: RunnableConfig, context: Any
) -> Answerer | None:
    """Let a run begin, if `check_run` does; return an approver.

    Whose a new thread is stands in the ledger before anything of it is stored.

    Raises:
        NothingPendingError: it is an approver's, and the thread asks nothing.
    """
    owner, user = await check_run(res, saver, given, config, context)
    thread = str(config["configurable"]["thread_id"])
    if owner is None and user is not None:
        res.ledger.mark(thread, user=user, status="interrupted")
    if user is None or owner in {user, None}:
        return None
    if not await question(saver, config):
        raise await stale_answer(res.ledger, thread)
    return Answerer(str(owner), user)


async def check_user(
    res: Resources, saver: BaseCheckpointSaver[Any], config: RunnableConfig, user: str | None
) -> str | None:
    """Return whose a thread is that a user (None: anybody) may see.

    That are its user and their approvers. None: it is new. Raises as `check_run`.
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
