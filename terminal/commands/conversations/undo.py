"""`twobrain undo`: put back what a call changed."""

from collections.abc import Mapping
from typing import Any

from base.settings import LOCAL
from graphs.result import Result
from graphs.session import Orchestrator
from nodes.gate.request import own_description, unfenced
from terminal.app import Options
from terminal.card import ApprovalPrompt, Origin, named
from terminal.conversation import Conversation, thread_of
from terminal.interrupt import LeftError, until_interrupted
from terminal.lists import Row, list_rows, show_json
from terminal.text import plain

_COLUMNS = ("number", "when", "tool", "args")
_NONE = "There is nothing that can be undone."


async def undoable(orchestrator: Orchestrator, options: Options) -> None:
    """List the calls that may be undone, the newest last."""
    user = options.user or LOCAL
    rows = [
        {
            "number": each.number,
            **each.call._asdict(),
            "tool": each.tool,
            "args": each.args,
            "started_at": each.at,
        }
        for each in reversed(await orchestrator.undoable(user=user))
    ]
    zone = orchestrator.settings.zone(user)
    list_rows(rows, _COLUMNS, _NONE, as_json=options.json, for_people=_for_people, zone=zone)


def _for_people(row: Row) -> Row:
    """Return a call with its number as it is typed."""
    return {**row, "number": str(row["number"]), "when": row["started_at"]}


async def undo(orchestrator: Orchestrator, call: str | None, thread: str | None, options: Options) -> int:
    """Undo a call; None: the newest that can be.

    Raises:
        UndoError: it cannot be undone.
    """
    talk = Conversation(orchestrator, options)
    if call is None:
        found = await orchestrator.undoable(user=options.user or LOCAL)
        if not found:
            talk.screen.note(_NONE, "dim")
            return 1
        call = str(found[0].number)
    elif thread is not None:
        thread = await thread_of(orchestrator.ledger, thread)
    try:
        result = await _settled(talk, call, thread, options.user or LOCAL)
    except LeftError:
        talk.screen.note("Stopped, and nothing was decided.", "yellow")
        return 130
    finally:
        talk.tell_unsent()
    if options.json:
        show_json(talk.screen, result.to_json())
    elif result.pending is not None:
        _show_waiting(talk, result.pending, call)
    else:
        talk.screen.out.print(plain(result.response), soft_wrap=True)
    if result.pending is not None:
        return 3
    return 0 if result.receipts[0]["status"] == "executed" else 1


async def _settled(talk: Conversation, call: str, thread: str | None, user: str) -> Result:
    """Ask until it is decided, or nobody is here to decide."""

    async def take(answer: Any = None) -> Result:
        undone = talk.orchestrator.undo(call, answer, thread_id=thread, user=user)
        return await until_interrupted(undone)

    origin = Origin(settings=talk.orchestrator.settings, user=user)
    prompt = ApprovalPrompt(talk.screen, lambda _name, _args: None, origin)
    result = await take()
    while result.pending is not None:
        answer = await talk.decision(result.pending, prompt)
        if answer is None:
            break
        result = await take(answer)
    return result


def _show_waiting(talk: Conversation, request: Mapping[str, Any], call: str) -> None:
    approvers = request.get("approvers") or []
    talk.screen.note(plain(unfenced(own_description(request["action_requests"][0]))))
    by = f" --user {named(approvers[0])}" if approvers else ""
    talk.screen.note(f"Nothing was undone yet. To agree: twobrain undo {named(call)}{by} --yes", "yellow")
