"""Who may use the server; each user sees only their own data.

`langgraph.json` names it. Where a user of twobrain.toml has a `token_sha256`, every request must bring a
user's token. Where none has, nobody is authenticated: whoever reaches the port is `local`.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

from langgraph_sdk import Auth

from base.errors import TwobrainError
from base.settings import LOCAL, UserCard, load_settings
from graphs.stale_answers import question
from nodes.gate.request import ANSWERED
from nodes.resources import shared_resources
from tools.memory import place_of

auth = Auth()

_log = logging.getLogger(__name__)

Identity = Auth.types.MinimalUserDict

_ASK = "Send a user's token, as in `Authorization: Bearer TOKEN`."


@auth.authenticate
async def authenticate(authorization: str | None) -> Identity:
    """Return who sends a request.

    Raises:
        HTTPException: 401, the request brings no user's token; 403, the settings cannot be read.
    """
    guarded = await asyncio.to_thread(_guarded)
    if not guarded:
        return {"identity": LOCAL, "is_authenticated": False}
    scheme, _, token = (authorization or "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Auth.exceptions.HTTPException(401, f"This server does not know who you are. {_ASK}")
    given = hashlib.sha256(token.encode()).hexdigest()
    found = [name for name, card in guarded.items() if hmac.compare_digest(given, card.token_sha256 or "")]
    if len(found) != 1:
        raise Auth.exceptions.HTTPException(401, f"That is not the token of one user. {_ASK}")
    return {"identity": found[0], "permissions": [guarded[found[0]].role]}


@auth.on
async def refuse(ctx: Auth.types.AuthContext, value: Any) -> None:  # noqa: ARG001
    """Refuse what no rule below allows: others would run users' assistants."""
    if ctx.user.is_authenticated:
        raise Auth.exceptions.HTTPException(
            403, f"No user may {ctx.action} {ctx.resource} here: send the context with each run."
        )


@auth.on(resources="assistants", actions=["read", "search"])
async def look_up(ctx: Auth.types.AuthContext, value: Any) -> bool:  # noqa: ARG001
    """Let everybody find the graph."""
    return True


@auth.on(resources=["threads", "crons"])
async def own(ctx: Auth.types.AuthContext, value: Any) -> Auth.types.FilterType | None:
    """Keep a user's threads, runs and schedules from every other user."""
    name = ctx.user.identity if ctx.user.is_authenticated else None
    child = await _waits_for(name, ctx.action, value) if name and ctx.resource == "threads" else None
    if ctx.action in {"create", "create_run", "update"} and not child:
        await _check_owner(ctx.user, value)
    if ctx.action == "create_run":
        await _prepare(value)
    if name is None:
        return None
    owner: dict[str, Any] = {"owner": child or name}
    if ctx.action in {"create", "create_run", "update"}:
        value.setdefault("metadata", {}).update(owner)
    if ctx.action == "search" and ctx.resource == "threads":
        return await _whose_waiting(name, value)
    return owner


@auth.on.store
async def remembered(ctx: Auth.types.AuthContext, value: Any) -> bool:
    """Keep a user's memories from every other user."""
    mine = place_of(ctx.user.identity)
    return not ctx.user.is_authenticated or tuple(value.get("namespace") or ())[: len(mine)] == mine


async def _waits_for(user: str, action: str, value: Any) -> str | None:
    """Return whose thread waits for a user's approval.

    Raises:
        HTTPException: 403, a run on it brings more than an answer.
    """
    if action not in {"read", "create_run"}:
        return None
    res = await shared_resources()
    row = await res.ledger.thread(str(value.get("thread_id") or ""))
    if not row or row["status"] != "waiting" or row["user"] not in _children(user, res.settings.users):
        return None
    if action == "create_run":
        _check_answer(value)
    return str(row["user"])


async def _whose_waiting(user: str, value: Any) -> dict[str, Any]:
    """Return a search's filter, which finds what waits for a user's approval."""
    children = _children(user, (await shared_resources()).settings.users)
    owner: dict[str, Any] = {"owner": user}
    if value.get("status") != "interrupted" or not children:
        return owner
    return {"$or": [owner, *({"owner": name} for name in children)]}


def _children(user: str, users: Mapping[str, UserCard]) -> list[str]:
    return [name for name, card in users.items() if user in card.approvers]


def _check_answer(value: Any) -> None:
    """Check that a run brings an answer alone, and ends no other.

    The graph refuses it too, but as a failed run of the thread's user.
    """
    run = value.get("kwargs") or {}
    command = {name for name, said in (run.get("command") or {}).items() if said is not None}
    at = (run.get("config") or {}).get("configurable", {}).get("checkpoint_id")
    ends = value.get("multitask_strategy") in {"rollback", "interrupt"}
    if command != {"resume"} or run.get("input") or at or ends:
        raise Auth.exceptions.HTTPException(403, "An approver may answer what this thread asks, no more.")


async def _check_owner(user: Auth.types.BaseUser, value: Any) -> None:
    """Check that a thread is the user's; a new one becomes theirs.

    The server itself forgets threads when it is killed, and lets whoever names one make it anew. So whose it
    is stands on disk before anything of it.
    """
    thread, res = str(value.get("thread_id") or ""), await shared_resources()
    if not thread:
        return
    row = await res.ledger.thread(thread)
    if row:
        value.setdefault("metadata", {}).setdefault("graph_id", "orchestrator")  # what its state is read by
    elif not user.is_authenticated:
        return
    elif res.checkpoints and not await res.checkpoints.aget_tuple({"configurable": {"thread_id": thread}}):
        await res.ledger.touch(thread, user=user.identity, status="interrupted")
        row = await res.ledger.thread(thread)  # another may have been first
    if not row or row["user"] != user.identity:
        raise Auth.exceptions.HTTPException(404, f"Thread with ID {thread} not found")


async def _prepare(value: Any) -> None:
    """Refuse a run that calls elsewhere; note the question it answers.

    A run may wait for others, or be begun again: by then, another question may stand.
    """
    run = value["kwargs"]
    if run.get("webhook") or run.get("feedback_keys"):
        raise Auth.exceptions.HTTPException(
            403, "A run sends no requests elsewhere here: leave webhook and feedback_keys out."
        )
    choices = run["config"].setdefault("configurable", {})
    asked, saver = None, (await shared_resources()).checkpoints
    if saver and (run.get("command") or {}).get("resume") is not None:
        at = {"checkpoint_id": choices["checkpoint_id"]} if choices.get("checkpoint_id") else {}
        asked = await question(saver, {"configurable": {"thread_id": str(value["thread_id"]), **at}}) or ""
    choices[ANSWERED] = asked  # whatever a client wrote there


@cache
def _guarded() -> dict[str, UserCard]:
    """Return the users who have a token, read once."""
    try:
        users = load_settings().users
    except TwobrainError as error:
        _log.error("nobody is let in: %s", error)
        raise Auth.exceptions.HTTPException(
            403, "This server's settings cannot be read; its log and `twobrain doctor` say why."
        ) from None
    return {name: card for name, card in users.items() if card.token_sha256}
