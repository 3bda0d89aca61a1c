"""The repair of a thread; no tool is run for it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from langgraph.types import StateSnapshot

from base.errors import DamagedThreadError, RequestError, UnknownThreadError
from base.texts import count
from doctor.diagnose import diagnose, rows_of
from doctor.missing_records import find_missing, record_missing
from graphs.damage import check
from graphs.result import condition_of
from graphs.session import Orchestrator
from ledger.records import Call, Recorded, ThreadStatus
from nodes.turn.history import open_calls, result_message

_RUNNING = Recorded("unknown", "Unknown: another process was still at it when the thread was repaired.")


async def repair(orchestrator: Orchestrator, thread_id: str) -> list[str]:
    """Do what the diagnosis offers, and return what was done in words.

    Raises:
        RequestError: a turn of the thread is under way.
        BusyThreadError: one has just begun.
        UnknownThreadError: there is no such thread, or nothing of it could be saved.
        StorageError: what has to be written cannot be.
    """
    found = await diagnose(orchestrator, thread_id)
    if found.condition == "running":
        raise RequestError(f"{found.sentence} Repair it when it is done, or end that process first.")
    if not found.remedies:
        return []
    async with orchestrator.turns.at_once(thread_id):
        done = await _remove_damage(orchestrator, thread_id)
        try:
            snapshot = await orchestrator.snapshot(thread_id)
        except UnknownThreadError:
            await _note(orchestrator, thread_id, "failed")
            return [*done, "nothing of it could be read; the next message in it begins it anew"]
        rows = rows_of(orchestrator, thread_id)
        answers = await asyncio.to_thread(rows.answers) if rows else 0
        if rows and snapshot.interrupts and answers:
            await asyncio.to_thread(rows.remove_answers)
            done.append("took back an answer that was never taken up")
        row = await orchestrator.ledger.thread(thread_id)
        if (missing := await find_missing(orchestrator, snapshot, row)) is not None:
            await record_missing(orchestrator, thread_id, snapshot, row, missing)
            done.append("noted in the ledger what the conversation tells")
        if not snapshot.tasks and (left := open_calls(snapshot.values["messages"])):
            await _close(orchestrator, thread_id, snapshot, left)
            done.append(f"gave {count(len(left), 'call')} without a result the outcome on record")
        return done + await _note(orchestrator, thread_id, condition_of(snapshot))


async def _remove_damage(orchestrator: Orchestrator, thread_id: str) -> list[str]:
    """Take out unreadable rows, then step back to a whole checkpoint."""
    rows = rows_of(orchestrator, thread_id)
    if rows is None:
        return []
    damaged = await asyncio.to_thread(rows.damaged) and await asyncio.to_thread(rows.remove_damaged)
    done = [f"took out {count(len(damaged), 'row')} that could not be read, to damaged.db"] if damaged else []
    back = 0
    while await _is_damaged(orchestrator, thread_id) and await asyncio.to_thread(rows.step_back):
        back += 1
    return [*done, f"went back {count(back, 'step')}, kept in damaged.db"] if back else done


async def _is_damaged(orchestrator: Orchestrator, thread_id: str) -> bool:
    try:
        check(thread_id, await orchestrator.snapshot(thread_id))
    except (DamagedThreadError, UnknownThreadError) as error:
        return isinstance(error, DamagedThreadError)
    return False


async def _close(
    orchestrator: Orchestrator, thread_id: str, snapshot: StateSnapshot, left: Sequence[Any]
) -> None:
    """Give calls without a result their recorded outcome, or that of none."""
    row = await orchestrator.ledger.thread(thread_id) or {"user": "local"}
    turn = snapshot.values.get("turn", "")
    closed = [
        Call(thread_id, call["id"], turn, row["user"], "", "", call["name"], call["args"], effect="unknown")
        for call in left
    ]
    recorded = await orchestrator.ledger.supersede(closed)
    outcomes = [(call, recorded.get(call["id"], _RUNNING)) for call in left]
    results = [result_message(c, o.status, o.text, untrusted=o.untrusted) for c, o in outcomes]
    changes = {"messages": results, "own_last_id": results[-1].id}
    await orchestrator.graph.aupdate_state(snapshot.config, changes, as_node="respond")


async def _note(orchestrator: Orchestrator, thread_id: str, status: ThreadStatus) -> list[str]:
    row = await orchestrator.ledger.thread(thread_id)
    if row is None or row["status"] == status:
        return []
    await orchestrator.ledger.touch(thread_id, user=row["user"], status=status)
    return [f"noted in the ledger that it is {status}"]
