"""A turn in the terminal: shown, and its confirmations answered."""

import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

from pydantic import ValidationError

from base.errors import ConfigurationError, UnknownModelError, UnknownThreadError
from base.settings import LOCAL, Settings, UserCard
from base.texts import escaped
from graphs.attachments import Attachment
from graphs.result import Result
from graphs.session import Orchestrator, check_thread
from graphs.stream import Event, final_result, told
from ledger.ledger import Ledger
from nodes.context import CHOSEN, Context, choices_of, may_choose
from nodes.gate.answers import fault
from terminal.app import Options, Which
from terminal.card import ApprovalPrompt, Origin, answer_all, is_in_doubt, named, show_waiting
from terminal.interrupt import LeftError, until_interrupted
from terminal.lists import show_json
from terminal.progress import receipts, show_turn
from terminal.screen import open_screen
from terminal.text import one_line, plain
from tools.registry import Registry

_UUID_BEGIN = re.compile("[0-9a-f]{8}")
_TITLE_WIDTH = 60
_OPTIONS = {
    "orchestrator": "model",
    "responder": "writer",
    "system_prompt": "system",
    "max_cost_usd": "max-cost",
}
"""Of a context's fields that are called otherwise where a person chooses them."""


class Conversation:
    """Turns shown on the screen, with their confirmations answered.

    Raises:
        ConfigurationError: twobrain.toml has no such user, or an option does not fit.
    """

    def __init__(self, orchestrator: Orchestrator, options: Options) -> None:
        self.orchestrator = orchestrator
        self.screen = open_screen(machine=options.json)
        self.unsent = ""
        """What the person typed while they were asked, and has not sent."""
        self._options = options
        self.at_server = options.server is not None
        self.user = str(options.user or getattr(orchestrator, "user", LOCAL))
        """At a server, whose token it has."""
        self.context = _context(options, orchestrator.settings)
        """Names the user where `--user` does; else whoever the thread is of."""

    async def report(self, thread_id: str, turn: Awaitable[Result]) -> int:
        """Wait for a turn, say how it ended, return the exit code."""
        if self._options.json_stream:
            self._tell({"event": "thread", "thread_id": thread_id})
        try:
            result = await turn
        except LeftError:
            if self._options.json_stream:
                self._tell({"event": "stopped", "thread_id": thread_id})
            else:
                at = f" --server {named(self._options.server)}" if self._options.server else ""
                self.screen.note(f"Stopped. Go on with: twobrain resume {named(thread_id)}{at}", "yellow")
            return 130
        finally:
            self.tell_unsent()
        if self._options.json_stream:
            return exit_code(result)
        if self._options.json:
            show_json(self.screen, result.to_json())
        elif result.pending is not None:
            await self.show_waiting(thread_id, result.pending)
        else:
            self.screen.note(f"thread {plain(thread_id)}", "dim")
        return exit_code(result)

    def tell_unsent(self) -> None:
        """Say what was typed at a question, and is no answer."""
        if self.unsent:
            self.screen.note(f"You also wrote, and it was not sent: {plain(self.unsent)}", "yellow")

    async def ask(self, text: str, thread_id: str, attachments: Sequence[Attachment] = ()) -> Result:
        """Run a turn to its end or an unanswered confirmation.

        Raises:
            BadMessageError: the text is empty or too long, or an attachment cannot be read.
            LeftError: the person left before the end.
        """
        turn = self.orchestrator.stream(
            text, attachments=attachments, thread_id=thread_id, context=self.context
        )
        return await self._finish(turn)

    async def answer(self, thread_id: str, answer: dict[str, Any]) -> Result:
        """Answer a waiting confirmation, then go on as `ask` does."""
        return await self._finish(self.orchestrator.stream_resume(thread_id, answer, context=self.context))

    async def go_on(self, thread_id: str) -> Result:
        """Go on at a thread's confirmation, or with its unfinished turn."""
        result = await self.orchestrator.result(thread_id, context=self.context)
        if result.pending is None:
            return await self._finish(self.orchestrator.stream_proceed(thread_id, context=self.context))
        if result.receipts and not self._options.json:
            tools = await self.orchestrator.all_tools()
            self.screen.side.print(receipts(result, tools.label))
        return await self._settle(result)

    async def _finish(self, events: AsyncGenerator[Event, None]) -> Result:
        return await self._settle(await self._watch(events))

    async def _settle(self, result: Result) -> Result:
        """Answer confirmations until there is none, or nobody to answer it."""
        if result.pending is None:
            return result
        tools = await self.orchestrator.all_tools()
        origin = await self._origin(result.thread_id, tools)
        prompt = ApprovalPrompt(self.screen, partial(fault, tools), origin)
        while result.pending is not None:
            try:
                answer = await self.decision(result.pending, prompt)
            finally:
                self.unsent = " ".join(prompt.unsent)
            if answer is None:
                break
            before = await self._rules(answer)
            thread, context = result.thread_id, self.context
            result = await self._watch(self.orchestrator.stream_resume(thread, answer, context=context))
            for rule in await self._rules(answer):
                if rule not in before:
                    back = f"twobrain rules --revoke {rule}"
                    self.screen.note(f"Rule {rule} holds now; take it back with: {back}")
        return result

    async def show_waiting(self, thread_id: str, request: dict[str, Any]) -> None:
        """Show what a thread waits for, and the commands that answer it."""
        origin = await self._origin(thread_id, self.orchestrator.tools)
        show_waiting(self.screen.out, request, thread_id, origin)
        if self._options.server:
            self.screen.note(f"Each with --server {self._options.server}, for it is there.", "dim")

    async def _origin(self, thread_id: str, tools: Registry) -> Origin:
        """Return whose turn it is that asks, and of which conversation."""
        row = await self.orchestrator.ledger.thread(thread_id) or {}
        user, title = row.get("user") or LOCAL, one_line(row.get("title") or thread_id, _TITLE_WIDTH)
        who = "you" if user == self.user else escaped(user)
        words = f"Asked by {who}, in “{escaped(title)}”"
        return Origin(words, tools, self.orchestrator.settings, user)

    async def _rules(self, answer: dict[str, Any]) -> list[str]:
        """Return the ids of all rules, where an answer makes one."""
        made = any("remember" in decision for decision in answer["decisions"])
        return [rule["id"] for rule in await self.orchestrator.ledger.rules()] if made else []

    async def decision(self, request: dict[str, Any], prompt: ApprovalPrompt) -> dict[str, Any] | None:
        """Return the answer to a request; None: nobody gives one."""
        consent = self._options.consent
        if consent is not None:
            refused = "problem" in request  # the same answer again would be refused again
            unforeseen = consent and is_in_doubt(request)  # what was agreed to is one run
            return None if refused or unforeseen else answer_all(request, yes=consent)
        if self._options.json or not self.screen.interactive or not self.may_agree(request):
            return None
        return await prompt.decide(request)

    def may_agree(self, request: dict[str, Any]) -> bool:
        """Tell whether whoever is here may agree to what a request asks."""
        approvers = request.get("approvers")
        return not approvers or self.user in approvers

    async def _watch(self, events: AsyncGenerator[Event, None]) -> Result:
        async with aclosing(events):
            if self._options.json:
                return await until_interrupted(final_result(events, self._show))
            return await until_interrupted(self._shown(events))

    async def _shown(self, events: AsyncIterator[Event]) -> Result:
        label = (await self.orchestrator.all_tools()).label
        plain_text = self._options.plain
        return await show_turn(
            events, self.screen, label=self._label, tool_label=label, plain_text=plain_text
        )

    def _show(self, event: Event) -> None:
        """Print an event for a program, where it reads them."""
        if self._options.json_stream:
            self._tell(told(event))

    def _tell(self, event: dict[str, Any]) -> None:
        show_json(self.screen, event)

    def choose(self, **choices: str) -> None:
        """Choose for the turns to come.

        Raises:
            ConfigurationError: there is no such path, model or role.
        """
        for name in {"orchestrator", "responder"} & choices.keys():
            self.orchestrator.models.require(choices[name], self.user)
        chosen = {**choices_of(self.context), **choices}
        self.context = checked_context(chosen, self.orchestrator.settings.user(self.user), "/")

    def _label(self, model: str) -> str:
        """Return what a person calls a model."""
        with suppress(UnknownModelError):
            return self.orchestrator.models.card(model).label or model
        return model


def exit_code(result: Result) -> int:
    """Return the process's exit code for a turn's result."""
    if result.pending is not None:
        return 3
    unasked = not result.usage.get("model_calls")  # the day's allowance was used up before
    return 1 if unasked or result.stop_reason == "model_failed" else 0


async def last_thread(ledger: Ledger, user: str | None) -> str:
    """Return the conversation that a user (None: `local`) used last.

    Raises:
        UnknownThreadError: they have none.
    """
    rows = [row for row in await ledger.threads(user=user or LOCAL) if row["status"] != "pruning"]
    if not rows:
        raise UnknownThreadError("There is no conversation yet. Begin one with: twobrain ask TASK")
    return str(rows[-1]["thread"])


async def thread_of(ledger: Ledger, given: str | Which | None, user: str | None = None) -> str:
    """Return a thread's id, checked; None: a new one.

    `Which.LAST`: the one that the user used last. Raises as `last_thread`.

    A new one is a UUID, which is what a server can list. The first eight characters of one stand for it,
    where no other begins so.
    """
    if isinstance(given, Which):
        return await last_thread(ledger, user)
    if given is None:
        return str(uuid.uuid4())
    check_thread(given)
    if _UUID_BEGIN.fullmatch(given):
        names = await ledger.thread_names()
        found = [name for name in names if name == given or name.startswith(f"{given}-")]
        if len(found) == 1:
            return found[0]
    return given


def _context(options: Options, settings: Settings) -> Context:
    if options.user and options.user != LOCAL and options.user not in settings.users:
        known = ", ".join([LOCAL, *(name for name in settings.users if name != LOCAL)])
        raise ConfigurationError(
            f"--user {options.user!r}: twobrain.toml has no such user. Correct the name ({known}), or add a "
            f"[users.{options.user}] table."
        )
    model_writes = options.path == "direct" and options.writer is None  # there is no other
    given = {
        "user": options.user,
        "path": options.path,
        "orchestrator": options.model,
        "responder": options.model if model_writes else options.writer,
        "system_prompt": options.system,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return checked_context(chosen, settings.user(options.user or LOCAL))


def checked_context(given: dict[str, Any], card: UserCard, mark: str = "--") -> Context:
    """Return what was chosen; raises ConfigurationError, which names the option."""
    if card.approvers and not may_choose(card) and given.keys() & set(CHOSEN):
        raise ConfigurationError("Which models, path and persona answer a guest is chosen in twobrain.toml.")
    try:
        return Context.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        option = _OPTIONS.get(str(problem["loc"][0]), problem["loc"][0])
        raise ConfigurationError(f"{mark}{option}: {problem['msg']}.") from None
