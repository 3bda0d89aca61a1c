"""A turn in the terminal: what happens is shown, and gates are answered until it ends."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.text import Text

from graphs.events import Begun, Done, Event, Queued, Result
from graphs.session import Orchestrator
from nodes.context import Context
from nodes.events import Restarted, Token, ToolFinished, ToolStarted
from nodes.gate.answers import fault
from terminal import card
from terminal.interrupt import until_interrupted
from terminal.progress import Progress
from terminal.prompt import Prompt
from terminal.receipts import receipts
from terminal.screen import Screen
from terminal.text import Flow, plain


@dataclass(frozen=True)
class Conversation:
    """Whose turns these are, where they are shown, and who answers their gates."""

    orchestrator: Orchestrator
    context: Context
    screen: Screen
    consent: bool | None = None
    """The answer to every gate; None asks the person, where there is one."""
    quiet: bool = False
    """Nothing is shown, and nobody asked."""

    async def ask(self, text: str, thread_id: str) -> Result:
        """Run a turn to its end, or to a gate that nobody here can answer: then the result is `pending`.

        Raises:
            LeftError: the person left before the end.
        """
        return await self._finish(self.orchestrator.stream(text, thread_id=thread_id, context=self.context))

    async def answer(self, thread_id: str, answer: dict[str, Any]) -> Result:
        """Answer a waiting gate, then go on as `ask` does."""
        return await self._finish(self.orchestrator.stream_resume(thread_id, answer, context=self.context))

    async def go_on(self, thread_id: str) -> Result:
        """Take up a thread where it stands: at its gate, or in the middle of a turn that was cut short."""
        standing = await self.orchestrator.result(thread_id)
        if standing.pending is not None:
            if standing.receipts and not self.quiet:
                self.screen.side.print(receipts(standing))
            return await self._settle(standing)
        return await self._finish(self.orchestrator.stream_proceed(thread_id, context=self.context))

    async def _finish(self, events: AsyncGenerator[Event, None]) -> Result:
        return await self._settle(await self._watch(events))

    async def _settle(self, result: Result) -> Result:
        if result.pending is None:
            return result
        check = partial(fault, await self.orchestrator.all_tools())
        desk = card.Desk(self.screen.side, Prompt(self.screen), check)
        while result.pending is not None:
            answer = await self._answer(result.pending, desk)
            if answer is None:
                break
            before = await self._rules(answer)
            result = await self._watch(
                self.orchestrator.stream_resume(result.thread_id, answer, context=self.context)
            )
            for rule in await self._rules(answer):
                if rule not in before:
                    self.screen.side.print(
                        f"Rule {rule} holds now; take it back with: twobrain rules --revoke {rule}",
                        soft_wrap=True,
                    )
        return result

    async def _rules(self, answer: dict[str, Any]) -> list[str]:
        """Return the ids of the rules there are, where an answer is to make one."""
        made = any("remember" in decision for decision in answer["decisions"])
        return [rule["id"] for rule in await self.orchestrator.ledger.rules()] if made else []

    async def _answer(self, request: dict[str, Any], desk: card.Desk) -> dict[str, Any] | None:
        if self.consent is not None:
            refused = "problem" in request  # the same answer again would be refused again
            unforeseen = self.consent and card.is_in_doubt(request)  # what was agreed to is one run
            return None if refused or unforeseen else card.answer_all(request, yes=self.consent)
        if self.quiet or not self.screen.interactive:
            return None
        return await desk.decide(request)

    async def _watch(self, events: AsyncGenerator[Event, None]) -> Result:
        async with aclosing(events):
            return await until_interrupted(silently(events) if self.quiet else aloud(events, self.screen))


def exit_code(result: Result) -> int:
    """Return the process's exit code for a turn that stands so."""
    if result.pending is not None:
        return 3
    unasked = not result.usage.get("model_calls")  # the day's allowance was used up before
    return 1 if unasked or result.stop_reason == "model_failed" else 0


async def silently(events: AsyncIterator[Event]) -> Result:
    """Follow a turn without a word."""
    async for event in events:
        if isinstance(event, Done):
            return event.result
    raise RuntimeError("A turn ended without its result.")


async def aloud(events: AsyncIterator[Event], screen: Screen) -> Result:
    """Follow a turn on the screen: calls as they run, the answer as it is written."""
    view = _View(screen)
    try:
        async for event in events:
            if isinstance(event, Done):
                view.done(event.result)
                return event.result
            view.take(event)
    finally:
        view.close()
    raise RuntimeError("A turn ended without its result.")


class _View:
    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._progress = Progress(screen)
        self._progress.turn()
        self._flow = Flow(self._write, screen.out.width if screen.out.is_terminal else None)
        self._answer = ""

    def take(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Queued):
            self._progress.queued()
        elif isinstance(event, Begun):
            self._progress.begun()
        elif isinstance(event, Token):
            self._hear(event.text)
        elif isinstance(event, Restarted):
            self._restart(event)
        elif isinstance(event, ToolStarted):
            self._end_answer()
            self._progress.started(event)
        elif isinstance(event, ToolFinished):
            self._end_answer()
            self._progress.finished(event)

    def done(self, result: Result) -> None:
        """Show what of the answer was not streamed, and what really happened."""
        if self._answer.strip() != result.response.strip():
            self._end_answer()
            self._say(result.response)
        self.close()
        if result.pending is None:
            self._screen.side.print(Text.assemble("\n", receipts(result)))
        if result.stop_reason == "model_failed":
            self._screen.side.print("No model could finish this.", style="yellow")

    def close(self) -> None:
        """Leave the screen ready for whatever comes next."""
        self._progress.rest()
        self._end_answer()

    def _hear(self, text: str) -> None:
        if self._screen.out.is_terminal:  # a pipe gets the answer alone, and once
            self._say(text)

    def _restart(self, event: Restarted) -> None:
        if self._answer:
            self._end_answer()
            self._screen.side.print(f"{plain(event.model)} broke off; the answer begins anew.", style="dim")
            self._progress.turn()

    def _say(self, text: str) -> None:
        if not self._answer:
            text = text.lstrip()
            if not text:
                return
            self._progress.rest()
            if self._screen.out.is_terminal:
                self._write("\n")
        self._answer += text
        self._flow.feed(text)

    def _end_answer(self) -> None:
        if self._answer:
            self._flow.end()
            self._answer = ""

    def _write(self, text: str) -> None:
        self._screen.out.file.write(plain(text))
        self._screen.out.file.flush()
