"""Who may use the server; each user sees only their own data.

`langgraph.json` names it, for LangGraph's servers and for aegra. Where users have tokens, every request must
bring one, as `Authorization: Bearer TOKEN` or as `X-Api-Key: TOKEN`. Where none has, nobody is authenticated:
whoever reaches the port is `local`.
"""

import asyncio
import hmac
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph_sdk import Auth

from base.errors import BusyThreadError, ConfigurationError, StorageAwayError, StorageError, TwobrainError
from base.settings import LOCAL, Settings, UserCard
from base.users import Users, digest_of
from base.webhooks import is_allowed
from graphs.stale_answers import answered_question
from nodes.gate.request import ANSWERED
from nodes.resources import shared_resources
from server.engine_check import TokenAuth
from server.thread_list import GRAPH, Listeners, opened
from tools.memory import from_client, place_of

auth = TokenAuth()

_log = logging.getLogger(__name__)

Identity = Auth.types.MinimalUserDict

_ASK = "Send a user's token, as in `Authorization: Bearer TOKEN`."
_LANGSMITH = (b"lsv2_", b"ls__")
"""How LangSmith's keys begin. langgraph_sdk sends that of its environment as X-Api-Key, unasked."""
_CHANGES = {"create", "create_run", "update"}
_listeners = Listeners()


@auth.authenticate
async def authenticate(headers: Mapping[Any, Any]) -> Identity:
    """Return who sends a request.

    `headers` have names and values as text or as bytes, which differs between engines.

    Raises:
        HTTPException: 401, the request brings no user's token; 403, the settings cannot be read.
    """
    users = await _users()
    if not users.guarded:
        return {"identity": LOCAL, "is_authenticated": False}
    name = name_by_token(users, headers)
    return {"identity": name, "permissions": [users.cards[name].role]}


def name_by_token(users: Users, headers: Mapping[Any, Any]) -> str:
    """Return whose token a request brings.

    Raises:
        HTTPException: 401, no user's.
    """
    found = users.whose(digest_of(_token(headers)))
    if len(found) != 1:
        raise Auth.exceptions.HTTPException(401, f"That is not the token of one user. {_ASK}")
    return found[0]


@auth.on
async def refuse(ctx: Auth.types.AuthContext, value: Any) -> None:  # noqa: ARG001
    """Refuse what no rule below allows: others would run users' assistants."""
    if await _name(ctx.user):
        raise Auth.exceptions.HTTPException(
            403, f"No user may {ctx.action} {ctx.resource} here: send the context with each run."
        )


@auth.on(resources="assistants", actions=["read", "search"])
async def look_up(ctx: Auth.types.AuthContext, value: Any) -> bool:  # noqa: ARG001
    """Let everybody find the graph."""
    return True


@auth.on(resources="crons", actions=["create", "update"])
async def refuse_schedule(ctx: Auth.types.AuthContext, value: Any) -> None:  # noqa: ARG001
    """Refuse the platform's schedules: what one of them asks is lost."""
    raise Auth.exceptions.HTTPException(
        403,
        "The server's crons are off: what one asks its person would be lost. Plan it in a conversation, or "
        "by `twobrain schedule add`.",
    )


@auth.on(resources=["threads", "crons"])
async def own(ctx: Auth.types.AuthContext, value: Any) -> Auth.types.FilterType | None:
    """Keep a user's threads, runs and schedules from every other user."""
    key = (ctx.user.identity, _thread(value))
    if ctx.action == "read" and (known := _listeners.filter_of(*key, partial(_own, ctx, value))):
        return known
    filters = await _own(ctx, value)
    if ctx.action in {"read", "create_run"} and filters:
        _listeners.note(*key, {"owner": filters["owner"]})
    return filters


async def _own(ctx: Auth.types.AuthContext, value: Any) -> Auth.types.FilterType | None:
    """Let a request through; return the filter of what it finds.

    The order matters: whose a thread is stands in the ledger before anything of it is stored, and which
    question an answer is for is noted last, when no refusal can come any more. `value` is changed in place,
    which langgraph-api heeds; aegra takes what is returned. No filter (None) where nobody needs a token and
    the engine keeps conversations of its own.
    """
    name, is_new = await _name(ctx.user), False
    if ctx.resource == "threads" and ctx.action == "search":
        return await _searched(name, value)
    child = await _waits_for(name, ctx.action, value) if name and ctx.resource == "threads" else None
    if ctx.action in _CHANGES:
        is_new = not child and not await _is_known(name, ctx, value)
        await _check_outbound(value)
    if ctx.resource == "threads" and not is_new:
        await _bring_up_to_date(name or LOCAL, ctx.action, value)
    chosen = await _prepared(value) if ctx.action == "create_run" else {}
    if name is None and not opened:
        return None
    owner: dict[str, Any] = {"owner": child or name or LOCAL}
    if ctx.action in _CHANGES:
        _metadata(value).update(owner)
    return {**owner, **chosen}


@auth.on.store
async def remembered(ctx: Auth.types.AuthContext, value: Any) -> bool | dict[str, Any]:
    """Keep a user's memories from every other user.

    What a client writes there is marked untrusted: in place, which langgraph-api heeds, and by what is
    returned, which aegra does.
    """
    name = await _name(ctx.user)
    if name and not _is_theirs(name, value):
        return False
    place = value.get("namespace") or ()
    if ctx.action == "put" and isinstance(value.get("value"), dict) and tuple(place[:1]) == place_of("")[:1]:
        value["value"] = from_client(value["value"])
        return {"value": value["value"]}
    return True


def _is_theirs(name: str, value: Any) -> bool:
    asked = next((value[key] for key in ("namespace", "namespace_prefix", "prefix") if value.get(key)), ())
    mine = place_of(name)
    return isinstance(asked, list | tuple) and tuple(asked[: len(mine)]) == mine


async def _users() -> Users:
    try:
        settings = (await shared_resources()).settings
    except TwobrainError as error:
        _log.error("nobody is let in: %s", error)
        settings = None
    return await users_now(settings)


async def users_now(settings: Settings | None) -> Users:
    """Return the users there are now.

    Raises:
        HTTPException: 403, they cannot be read; 503, just now.
    """
    try:
        if settings:
            return await asyncio.to_thread(settings.read_users)
    except ConfigurationError:
        pass  # it was logged when it was first found
    except StorageAwayError as error:
        raise Auth.exceptions.HTTPException(503, str(error)) from None
    except StorageError as error:
        _log.error("nobody is let in: %s", error)
    raise Auth.exceptions.HTTPException(
        403, "This server's settings cannot be read; its log and `twobrain doctor` say why."
    )


def _token(headers: Mapping[Any, Any]) -> bytes:
    """Return the token that a request brings.

    Raises:
        HTTPException: 401, there is none, or there are two that differ.
    """
    given = {_bytes(name).lower(): _bytes(value).strip() for name, value in headers.items()}
    scheme, _, bearer = given.get(b"authorization", b"").partition(b" ")
    bearer = bearer.strip() if scheme.lower() == b"bearer" else b""
    key = given.get(b"x-api-key", b"")
    if bearer and key.startswith(_LANGSMITH):
        key = b""
    if not (bearer or key):
        raise Auth.exceptions.HTTPException(401, f"This server does not know who you are. {_ASK}")
    if bearer and key and not hmac.compare_digest(bearer, key):
        raise Auth.exceptions.HTTPException(
            401, f"Authorization and X-Api-Key bring two tokens, and which counts is unknown. {_ASK}"
        )
    return bearer or key


def _bytes(text: str | bytes) -> bytes:
    """Return a part of a header as it was sent."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("latin-1")  # as which Starlette reads it
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


async def _name(user: Auth.types.BaseUser) -> str | None:
    """Return who a user is; None where nobody needs a token.

    What was put off, such as a schedule, comes here without a token.

    Raises:
        HTTPException: 403, they have no token now, or the settings cannot be read.
    """
    users = await _users()
    if not users.guarded:
        return None
    if user.is_authenticated and users.may_enter(user.identity):
        return user.identity
    raise Auth.exceptions.HTTPException(403, f"{user.identity!r} has no token, so nothing is done for them.")


async def _waits_for(user: str, action: str, value: Any) -> str | None:
    """Return whose thread waits for a user, or runs by their yes.

    Raises:
        HTTPException: 403, a run on it brings more than an answer.
    """
    if action not in {"read", "create_run"}:
        return None
    res = await shared_resources()
    thread = _thread(value)
    row = await res.ledger.thread(thread)
    if not row or row["user"] not in _children(user, res.settings.users):
        return None
    runs_on = action == "read" and any(threads.is_running_for(user, thread) for threads in opened)
    if row["status"] != "waiting" and not runs_on:  # a client that listens is asked again meanwhile
        return None
    if action == "create_run":
        _check_answer(value)
    return str(row["user"])


async def _searched(name: str | None, value: Any) -> dict[str, Any] | None:
    """Return a search's filter, on a list that is up to date.

    It finds a user's threads, and what waits for their approval.
    """
    owners = [name or LOCAL]
    if name and value.get("status") == "interrupted":
        owners += _children(name, (await shared_resources()).settings.users)
    for threads in opened:
        await threads.refresh_all(owners, value)
    if name is None and not opened:
        return None
    found: list[dict[str, Any]] = [{"owner": owner} for owner in owners]
    return found[0] if len(found) == 1 else {"$or": found}


def _children(user: str, users: Mapping[str, UserCard]) -> list[str]:
    return [name for name, card in users.items() if user in card.approvers]


def _check_answer(value: Any) -> None:
    """Check that a run brings an answer alone, and ends no other.

    The graph refuses it too, but as a failed run of the thread's user.
    """
    run = value.get("kwargs") or value
    command = {name for name, said in (run.get("command") or {}).items() if said is not None}
    at = (run.get("config") or {}).get("configurable", {}).get("checkpoint_id") or value.get("checkpoint")
    ends = value.get("multitask_strategy") in {"rollback", "interrupt"}
    if command != {"resume"} or run.get("input") or at or ends:
        raise Auth.exceptions.HTTPException(403, "An approver may answer what this thread asks, no more.")


async def _is_known(name: str | None, ctx: Auth.types.AuthContext, value: Any) -> bool:
    """Check that a thread is the user's; False: it is new.

    A new one becomes theirs. The server lets whoever names a thread make it. So whose it is stands on disk
    before anything of it.
    """
    thread, res = _thread(value), await shared_resources()
    if not thread:
        return True
    row = known = await res.ledger.thread(thread)
    makes = ctx.action == "create" or (
        ctx.action == "create_run" and value.get("if_not_exists", "create") == "create"
    )
    if row:
        _metadata(value).setdefault("graph_id", GRAPH)  # what its state is read by
    elif name is None and (not opened or await _has_steps(thread)):
        return True
    elif makes and ctx.resource == "threads" and not await _has_steps(thread):
        await res.ledger.touch(thread, user=name or LOCAL, status="interrupted")
        row = await res.ledger.thread(thread)  # another may have been first
    if not row or row["user"] != (name or LOCAL):
        raise Auth.exceptions.HTTPException(404, f"Thread with ID {thread} not found")
    return known is not None


async def _bring_up_to_date(name: str, action: str, value: Any) -> None:
    """Bring the list up to date, before it is used."""
    thread = _thread(value)
    if thread and action == "delete":
        await _check_idle(thread, name)
        return
    for threads in opened if thread else ():
        await threads.refresh(thread)


async def _check_idle(thread: str, name: str) -> None:
    """Check that no turn of a thread under deletion runs.

    Of an engine with a saver of its own the ledger hears no more of it: `twobrain prune` forgets it.
    """
    res = await shared_resources()
    try:
        async with res.turns.at_once(thread):
            row = await res.ledger.thread(thread)
            if row and row["user"] == name and not res.checkpoints:
                await res.ledger.touch(thread, user=name, status="pruning")
    except BusyThreadError:
        raise Auth.exceptions.HTTPException(
            409, f"A turn of thread {thread} is under way: cancel it, or delete the thread once it has ended."
        ) from None


def _thread(value: Any) -> str:
    """Return a request's thread; spelled in any way, an id is one."""
    given = str(value.get("thread_id") or "")
    try:
        return str(UUID(given))
    except ValueError:
        return given


async def _has_steps(thread: str) -> bool:
    """Tell whether our saver has steps of a thread.

    An engine with a saver of its own knows whose its threads are.
    """
    saver = (await shared_resources()).checkpoints
    return saver is not None and await saver.aget_tuple({"configurable": {"thread_id": thread}}) is not None


async def _check_outbound(value: Any) -> None:
    """Refuse requests sent elsewhere, but for webhooks allowed by name."""
    allowed = (await shared_resources()).settings.server.webhooks
    for sent in (value, *(value.get(part) for part in ("kwargs", "payload", "params"))):
        if not isinstance(sent, dict):
            continue
        webhook = sent.get("webhook")
        if sent.get("feedback_keys") or (webhook and not is_allowed(webhook, allowed)):
            raise Auth.exceptions.HTTPException(
                403, "A run sends no requests elsewhere here: leave webhook and feedback_keys out."
            )


async def _prepared(value: Any) -> dict[str, Any]:
    """Note the question that a run answers; return changes for aegra.

    A run may wait for others, or be begun again: by then, another question may stand. On aegra the graph
    alone notes it; what a client says of it is taken away.
    """
    run = value.get("kwargs")
    if run is None:
        config = value.get("config")
        choices = config.get("configurable") if isinstance(config, dict) else None
        if not isinstance(choices, dict) or ANSWERED not in choices:
            return {}
        config["configurable"] = {key: chosen for key, chosen in choices.items() if key != ANSWERED}
        return {"config": config}
    choices = run["config"].setdefault("configurable", {})
    asked, res = None, await shared_resources()
    if res.checkpoints and (run.get("command") or {}).get("resume") is not None:
        at = {"checkpoint_id": choices["checkpoint_id"]} if choices.get("checkpoint_id") else {}
        place: RunnableConfig = {"configurable": {"thread_id": str(value["thread_id"]), **at}}
        asked = await answered_question(res.turns, res.checkpoints, place)
    choices[ANSWERED] = asked  # whatever a client wrote there
    return {}


def _metadata(value: Any) -> dict[str, Any]:
    """Return a request's metadata, to be changed in place; made where missing."""
    if not isinstance(value.get("metadata"), dict):
        value["metadata"] = {}
    found: dict[str, Any] = value["metadata"]
    return found
