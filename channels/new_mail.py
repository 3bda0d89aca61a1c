"""New mail in people's inboxes, which by their rules starts turns."""

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from base.errors import TwobrainError
from base.settings import Settings
from base.texts import local_time, mended, one_line, visible
from base.worker_threads import in_thread, is_cancelled
from channels.messages import NoticeRows
from graphs.session import Orchestrator
from ledger.tables import mailboxes, matching
from schedules.destinations import destinations
from schedules.schedules import Schedules, notices_in
from schedules.triggers import Event, Triggers, by_event
from storage.shared_tables import insert
from tools.mail.imap import (
    MAIL_FIELDS,
    RECIPIENT_FIELDS,
    RESULT_FIELDS,
    Mailbox,
    MailId,
    TangledMailError,
    headers_of,
    open_mailbox,
)
from tools.mail.inbox import FetchedMail, fetch_mail, head_of, sender_check
from tools.mail.inbox_card import InboxCard, MailRule, cards

_ON = "mailboxes"
_INBOX = "INBOX"
_CONNECTION_S = 540.0
"""Seconds that a connection waits for mail: some routers forget those that are silent for ten minutes."""
_NOTICED_S = 0.5
"""Seconds in which the end of the process is noticed."""
_IDLE_S = 29.0
"""Seconds after which a server is asked anew, though it tells of new mail itself (IDLE, RFC 2177): what it
tells as IDLE begins is read only as that ends."""
_MOST_LOOKED_AT, _MOST_STARTING = 100, 5
"""Mails that are looked at together, and those of them that may start a turn."""
_UIDS = 10_000
_LONGEST_TASK = 20_000
"""Characters of a mail that a turn begins with."""
_CONTROLS = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""What makes a file no text."""
_LONGEST_WAIT_S, _MOST_DOUBLINGS = 300.0, 9
_TOLD_AFTER_S = 600.0
"""Seconds for which an inbox could not be watched until its person is told: a server may start anew."""
_DAY_S = 86_400
_LONGEST_FAULT = 300
_AN_HOUR = 3_600.0

_log = logging.getLogger(__name__)


class _Mark(NamedTuple):
    """How far an inbox was looked through."""

    validity: int
    uid: int


class _Arrived(NamedTuple):
    """A mail that a rule means."""

    mail: MailId
    message_id: str
    rule: MailRule
    content: FetchedMail


class MailWatch:
    """Watches one person's inbox; any number of processes may have one."""

    def __init__(self, orchestrator: Orchestrator, user: str, card: InboxCard) -> None:
        self._settings = orchestrator.settings
        self._access = orchestrator.ledger.access
        self._schedules = Schedules(orchestrator.ledger)
        self._triggers = Triggers(orchestrator.ledger)
        self._notices = NoticeRows(orchestrator.ledger.access)
        self._user, self._card = user, card
        self._account = f"{card.user} {card.host}"
        self.idle_s = _IDLE_S

    async def serve(self) -> None:
        """Start turns by what comes until cancelled.

        Faults are logged; of one that lasts the person is told, once a day.
        """
        failures, since = 0, 0.0
        while True:
            try:
                await self.look()
                failures = 0
            except Exception as error:  # of the server, the network or the store: it is tried again
                log = _log.error if failures == 0 else _log.debug
                why = self._settings.redact(str(error))
                log("the inbox of %s is looked at later: %s", self._user, why)
                since = since if failures else self._schedules.now()
                with suppress(TwobrainError):  # of the store: it is told once that is back
                    await self._tell(since, why)
                await asyncio.sleep(min(2.0**failures, _LONGEST_WAIT_S))
                failures = min(failures + 1, _MOST_DOUBLINGS)

    async def _tell(self, since: float, why: str) -> None:
        """Tell its person that an inbox was not watched for long."""
        now = self._schedules.now()
        if now - since < _TOLD_AFTER_S:
            return
        when = local_time(since, self._settings.zone(self._user))
        fault = visible(one_line(why, _LONGEST_FAULT))
        said = f"Mail starts nothing since {when}: {fault} (Try twobrain doctor --online.)"
        row = {"user": self._user, "kind": "inbox", "thread": "", "subject": said, "at": now}
        key = f"inbox {self._user} {self._account} {now // _DAY_S:.0f}"
        await self._notices.add(notices_in(destinations(self._settings, self._user, ""), key, row, now))

    async def look(self, wait_s: float = _CONNECTION_S) -> int:
        """Wait for mail and start turns by it; return how many.

        A mail is behind the mark once it is entered: after a crash it is met again, and known.
        """
        before = await self._access.read(_mark, self._user, self._account)
        until = time.monotonic() + wait_s
        mark, arrived = await in_thread(
            partial(_wait, self._settings, self._user, before, until, self.idle_s), waits=True
        )
        started = [await self._enter(each) for each in arrived]
        if mark != before:
            await self._access.write(_ON, _set_mark, self._user, self._account, mark)
        return sum(started)

    async def _enter(self, arrived: _Arrived) -> bool:
        mail, rule = arrived.mail, arrived.rule
        now = self._schedules.now()
        schedule = by_event(f"mail {rule.name}", self._user, rule.task, now, untrusted=False)
        latest = await self._schedules.runs(schedule.id, rule.per_hour)
        if sum(abs(now - run.due_at) < _AN_HOUR for run in latest) == rule.per_hour:
            _log.warning("mail %s starts no turn: rule %r had %d in an hour", mail, rule.name, rule.per_hour)
            return False
        text = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", mended(await arrived.content.text()))
        most = min(_LONGEST_TASK, self._settings.limits.max_message_chars // 2)
        more = f"\n[Cut here. read_mail {mail} has all of it.]" if len(text) > most else ""
        key = f"{mail.validity} {mail.uid} {arrived.message_id}"
        event = Event(key, "mail.txt", f"{text[:most]}{more}")
        return await self._triggers.enter(schedule, event) == "entered"


def _mark(connection: Connection, user: str, account: str) -> _Mark | None:
    query = select(mailboxes.c.validity, mailboxes.c.uid)
    found = connection.execute(query.where(*matching(mailboxes, {"user": user, "account": account}))).first()
    return _Mark(*found) if found else None


def _set_mark(connection: Connection, user: str, account: str, mark: _Mark) -> None:
    """Set how far an inbox was looked through, never back."""
    before = _mark(connection, user, account)
    if before is None or before.validity != mark.validity or before.uid < mark.uid:
        put = insert(connection.dialect, mailboxes).values(user=user, account=account, **mark._asdict())
        put = put.on_conflict_do_update(index_elements=["user", "account"], set_=mark._asdict())
        connection.execute(put)


def _wait(
    settings: Settings, user: str, before: _Mark | None, until: float, idle_s: float
) -> tuple[_Mark, Sequence[_Arrived]]:
    """Return how far the inbox was looked through, and what starts turns."""
    with open_mailbox(settings, user) as box:
        box.select(_INBOX)
        if before is None or before.validity != box.validity:
            if before:
                _log.warning("the inbox of %s was made anew: what is in it starts no turn", user)
            return _Mark(box.validity, box.last_uid()), ()
        while True:
            uid, arrived = _new(settings, user, box, before.uid)
            if uid > before.uid or is_cancelled() or time.monotonic() >= until:
                return _Mark(box.validity, uid), arrived
            _idle(box, min(until, time.monotonic() + idle_s))


def _new(settings: Settings, user: str, box: Mailbox, after: int) -> tuple[int, list[_Arrived]]:
    """Return the last UID looked at, and what rules mean."""
    found = sorted(uid for uid in box.client.search(["UID", f"{after + 1}:{after + _UIDS}"]) if uid > after)
    if not found:
        return max(after, min(after + _UIDS, box.following - 1)), []
    answers = box.headers(found[:_MOST_LOOKED_AT], [MAIL_FIELDS, RECIPIENT_FIELDS, RESULT_FIELDS])
    last, arrived = after, []
    for last in found[:_MOST_LOOKED_AT]:
        answer = answers.get(last)
        rule = _rule(box.card, answer) if answer else None
        if answer and rule:
            mail = MailId(box.folder, box.validity, last)
            content, is_broken = _content(box, mail, answer, settings, user)
            ids = headers_of(answer, MAIL_FIELDS).message_ids("Message-ID")
            arrived.append(_Arrived(mail, "".join(ids[:1]), rule, content))
            if is_broken or len(arrived) == _MOST_STARTING:
                break
    return last, arrived


def _rule(card: InboxCard, answer: dict[bytes, Any]) -> MailRule | None:
    """Return the first rule that means a mail."""
    headers, recipients = headers_of(answer, MAIL_FIELDS), headers_of(answer, RECIPIENT_FIELDS)
    check = sender_check(answer, card)
    return next((rule for rule in card.rules if rule.matches(headers, recipients, check)), None)


def _content(
    box: Mailbox, mail: MailId, answer: dict[bytes, Any], settings: Settings, user: str
) -> tuple[FetchedMail, bool]:
    """Return what is read of a mail; True: nothing follows it here."""
    zone = settings.zone(user)
    try:
        return fetch_mail(box, mail, answer, zone), False
    except TangledMailError as error:  # that is its sender's doing
        head = head_of(mail, answer, box.card, zone)
        return FetchedMail(head, None, b"", [f"({error})"]), True


def _idle(box: Mailbox, until: float) -> None:
    """Wait until something may be new, or the process ends."""
    client = box.client
    has_idle = client.has_capability("IDLE")
    if has_idle:
        client.idle()
    while not is_cancelled() and (left := min(until - time.monotonic(), _NOTICED_S)) > 0:
        asked = time.monotonic()
        if not has_idle:
            time.sleep(left)
        elif client.idle_check(timeout=left) or time.monotonic() - asked < left / 2:
            break  # at once, and nothing said: the connection is over
    (client.idle_done if has_idle else client.noop)()


async def serve_new_mail(orchestrator: Orchestrator) -> None:
    """Watch the inboxes of all who have rules for mail until cancelled."""
    watched = {user: card for user, card in cards(orchestrator.settings).items() if card.rules}
    async with asyncio.TaskGroup() as tasks:
        for user, card in watched.items():
            tasks.create_task(MailWatch(orchestrator, user, card).serve())
