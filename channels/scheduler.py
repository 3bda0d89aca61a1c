"""What is due is done, and its result finds its person."""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from base.errors import BusyThreadError, DamagedThreadError, StorageError, TwobrainError
from base.texts import count, one_line, visible
from channels.messages import NoticeRows
from graphs.attachments import Attachment
from graphs.result import Result
from graphs.session import Orchestrator
from graphs.stream import final_result
from ledger.threads import TITLE_CHARS
from nodes.context import Context
from schedules.destinations import destinations
from schedules.schedules import FAILURES, Run, RunStatus, Schedule, Schedules, notices_in
from schedules.triggers import Event, Triggers
from tools.mail.inbox import subject_of

_POLL_S = 1.0
_TURNS_AT_ONCE = 4
"""Turns of schedules that one process runs at a time."""
_AT_ONCE_OF_ONE = 2
"""Those of them that are one schedule's: anybody may make a hook's sender call it all the time."""
_NOTHING_TO_REPORT = re.compile(r"\W*nothing( new)? to report\W*", re.IGNORECASE)
_SOURCE_CHARS = 40
"""Characters of a source's name that a title begins with."""
_ASKED_QUIETLY = "(Where there is nothing that I should hear, answer with just: Nothing to report.)"

_log = logging.getLogger(__name__)


class Scheduler:
    """Does what is due; any number of processes may have one."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._schedules = Schedules(orchestrator.ledger)
        self._triggers = Triggers(orchestrator.ledger)
        self._rows = NoticeRows(orchestrator.ledger.access)
        self._room = asyncio.Semaphore(_TURNS_AT_ONCE)
        self._its_room: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def serve(self) -> None:
        """Do what is due until cancelled."""
        doing: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    for run, schedule in await self._due():
                        if run.id not in doing or doing[run.id].done():
                            doing[run.id] = tasks.create_task(self._do(run, schedule))
                except TwobrainError as error:
                    _log.error("what is due waits: %s", error)
                doing = {run: task for run, task in doing.items() if not task.done()}
                await asyncio.sleep(_POLL_S)

    async def run_due(self) -> int:
        """Do what is due now; return how much that was.

        Raises:
            StorageError: it cannot be read or noted.
        """
        return (await self.done_now())[0]

    async def done_now(self) -> tuple[int, Sequence[tuple[Run, Schedule]]]:
        """Do what is due now; return how many turns, and the reminders."""
        reminders = await self._schedules.take(self.targets)
        due = await self._schedules.due()
        await asyncio.gather(*(self._do(run, schedule) for run, schedule in due))
        return len(due), reminders

    async def run_one(self, ident: str, user: str | None) -> tuple[Run, str] | None:
        """Do one now, nothing else; None: there is none of the user's.

        Return what became of it, and why it failed. Where another process does it first, that is waited for.

        Raises:
            StorageError: it cannot be read or noted.
        """
        run, problem = await self._schedules.enter(ident, user, self.targets), ""
        while run and run.status == "due" and (found := await self._schedules.found(run.id)):
            with suppress(BusyThreadError):
                problem = await self._attempt(*found)
            run = (await self._schedules.found(run.id) or found)[0]
            if run.status == "due":
                await asyncio.sleep(_POLL_S)
        return (run, problem) if run else None

    async def _due(self) -> Sequence[tuple[Run, Schedule]]:
        await self._schedules.take(self.targets)
        return await self._schedules.due()

    def targets(self, user: str, chosen: str) -> Mapping[str, bool]:
        """Return where somebody is told, and whether they can be there."""
        return destinations(self._orchestrator.settings, user, chosen)

    async def _do(self, run: Run, schedule: Schedule) -> None:
        """Do a run, unless another process is at it."""
        try:
            await self._attempt(run, schedule)
        except BusyThreadError:
            pass
        except TwobrainError as error:
            _log.error("schedule %s: %s", schedule.id, error)

    async def _attempt(self, run: Run, schedule: Schedule) -> str:
        """Do a run that is due still; return why it failed."""
        its_room = self._its_room.setdefault(schedule.id, asyncio.Semaphore(_AT_ONCE_OF_ONE))
        async with its_room, self._room, self._orchestrator.turns.at_once(f"\ud800schedule {run.id}"):
            if any(each.id == run.id for each, _ in await self._schedules.due()):  # it was done meanwhile
                return await self._run(run, schedule)
        return ""

    async def _run(self, run: Run, schedule: Schedule) -> str:
        result, problem = await self._asked(run, schedule)
        if result and result.stop_reason == "model_failed":
            problem = "; ".join(each["why"] for each in result.failed_models) or "no model answered"
        status: RunStatus = "failed" if problem else "waiting" if result and result.pending else "done"
        # Before the run ends: killed in between, it is gone on with, and told. A question is told as one.
        is_nothing = result and schedule.is_quiet and _NOTHING_TO_REPORT.fullmatch(result.response)
        if not result or not (result.pending or is_nothing):
            await self._tell(run, schedule, "failed" if problem else "finished")
        failures = await self._schedules.end(run, status)
        if status == "failed":
            _log.warning("schedule %s failed: %s", schedule.id, problem)
            if failures >= FAILURES:
                await self._schedules.pause(
                    schedule.id, why=f"{count(FAILURES, 'failure')} in a row: {problem}"
                )
        return problem

    async def _asked(self, run: Run, schedule: Schedule) -> tuple[Result | None, str]:
        """Return what came of the turn; None: it failed, and why."""
        text = f"{schedule.task}\n\n{_ASKED_QUIETLY}" if schedule.is_quiet else schedule.task
        try:
            choices: dict[str, Any] = {**(schedule.choices or {}), "user": schedule.user}
            if schedule.untrusted:
                choices["confirm_deny"] = [
                    tool.name
                    for tool in await self._orchestrator.all_tools()
                    if tool.effect != "read" or tool.outbound
                ]
            context = Context.model_validate(choices)
            event = await self._triggers.of(run.id)
            brought = [Attachment(event.name, event.text.encode())] if event else []
            title = _title(schedule, event) if event else ""
            turn = self._orchestrator.stream(
                text,
                attachments=brought,
                thread_id=run.thread,
                context=context,
                message_id=run.id,
                sources=["what was planned"] if schedule.untrusted else (),
                title=title,
                watched=False,
            )
            return await final_result(turn), ""
        except DamagedThreadError as error:  # it would be due for ever
            return None, str(error)
        except (StorageError, BusyThreadError):  # it stays due, and is gone on with
            raise
        except TwobrainError as error:
            return None, str(error)
        except Exception as error:  # of a provider or a tool, whatever it throws: the others go on
            _log.exception("schedule %s", schedule.id)
            return None, f"{type(error).__name__}: the log says more."

    async def _tell(self, run: Run, schedule: Schedule, kind: str) -> None:
        now = self._orchestrator.ledger.now()
        row = {"user": run.user, "kind": kind, "thread": run.thread, "subject": run.id, "at": now}
        places = self.targets(schedule.user, schedule.place)
        await self._rows.add(notices_in(places, f"{kind} {run.thread}", row, now))


def _title(schedule: Schedule, event: Event) -> str:
    """Return what the conversation of an event is called, in one line.

    What its person called the source comes first, then a mail's subject, which others wrote.
    """
    kind, _, name = schedule.recurrence.rule.partition(" ")
    subject = subject_of(event.text) if kind == "mail" else ""
    source = name if subject else schedule.recurrence.rule
    return one_line(visible(f"{source[:_SOURCE_CHARS]}: {subject or schedule.task}", "\n\r\t"), TITLE_CHARS)


async def serve_schedules(orchestrator: Orchestrator) -> None:
    """Do what is due until cancelled; faults are logged."""
    while True:
        try:
            await Scheduler(orchestrator).serve()
        except Exception:  # whatever it was, the others' plans go on
            _log.exception("schedules begin again")
        await asyncio.sleep(_POLL_S)
