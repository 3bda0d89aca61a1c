"""What a running turn shows: spinners, a line for each call, the answer, the receipts."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from graphs.result import Result
from graphs.stream import Begun, Done, Event, Queued
from nodes.events import Restarted, Token, ToolFinished, ToolStarted
from terminal.screen import Screen
from terminal.text import Flow, one_line, plain

_MARKS = {"executed": ("✓", "green"), "failed": ("✗", "red")}
_OTHER_MARK = ("\u2013", "yellow")
_OUTCOMES = {"executed": "done", "unknown": "unknown whether done"}
_OUTCOME_STYLES = {"executed": "dim", "failed": "red"}
_QUEUED = "waiting for another terminal's turn in this thread"
_NAME_WIDTH = 44
_RESULT_WIDTH = 200


async def show_turn(events: AsyncIterator[Event], screen: Screen) -> Result:
    """Show a turn as it runs and return its result: calls, and the answer as it is written."""
    view = _TurnView(screen)
    try:
        async for event in events:
            view.take(event)
            if isinstance(event, Done):
                return event.result
    finally:
        view.close()
    raise AssertionError


def receipts(result: Result) -> Text:
    """Return what a turn did, such as `done: get_time, read_file (2) · denied: delete_file`.

    It stands beside the answer: a claim without a receipt is seen to have none.
    """
    calls: dict[str, Counter[str]] = {"executed": Counter()}
    for receipt in result.receipts:
        calls.setdefault(receipt["status"], Counter())[one_line(receipt["tool"], _NAME_WIDTH)] += 1
    told = [
        Text(f"{_OUTCOMES.get(status, status)}: {_listed(tools)}", _OUTCOME_STYLES.get(status, "yellow"))
        for status, tools in calls.items()
        if tools
    ]
    return Text(" · ", "dim").join(told) if told else Text("no tool was used", "dim")


class _TurnView:
    """The events of one turn on the screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._calls = _Calls(screen)
        self._calls.turn()
        self._flow = Flow(self._write, screen.out.width if screen.out.is_terminal else None)
        self._answer = ""

    def take(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Queued):
            self._calls.queued()
        elif isinstance(event, Begun):
            self._calls.begun()
        elif isinstance(event, Token):
            self._hear(event.text)
        elif isinstance(event, Restarted):
            self._restart(event)
        elif isinstance(event, ToolStarted):
            self._end_answer()
            self._calls.started(event)
        elif isinstance(event, ToolFinished):
            self._end_answer()
            self._calls.finished(event)
        elif isinstance(event, Done):
            self._done(event.result)

    def _done(self, result: Result) -> None:
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
        self._calls.stop()
        self._end_answer()

    def _hear(self, text: str) -> None:
        if self._screen.out.is_terminal:  # a pipe gets the answer alone, and once
            self._say(text)

    def _restart(self, event: Restarted) -> None:
        if self._answer:
            self._end_answer()
            self._screen.side.print(f"{plain(event.model)} broke off; the answer begins anew.", style="dim")
            self._calls.turn()

    def _say(self, text: str) -> None:
        if not self._answer:
            text = text.lstrip()
            if not text:
                return
            self._calls.stop()
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


class _Calls:
    """The calls of one turn; nothing spins where the screen is not lively."""

    def __init__(self, screen: Screen) -> None:
        self._console = screen.side
        self._live = Live(console=screen.side, transient=True, redirect_stdout=False, redirect_stderr=False)
        self._lively = screen.lively
        self._running: dict[str, tuple[Spinner, Text]] = {}
        self._idle = _idle("thinking")

    def queued(self) -> None:
        """Show that somebody else's turn has to end first."""
        self._idle = _idle(_QUEUED)
        if not self._lively:
            self._console.print(_QUEUED, style="dim")
        self.turn()

    def begun(self) -> None:
        """Show that the turn runs."""
        self._idle = _idle("thinking")
        self.turn()

    def turn(self) -> None:
        """Show what runs now, or that a model thinks."""
        if self._lively:
            self._live.start()
            spinners = [spinner for spinner, _ in self._running.values()]
            self._live.update(Group(*spinners or [self._idle]), refresh=True)

    def stop(self) -> None:
        """Take the spinners off the screen."""
        self._live.stop()

    def started(self, event: ToolStarted) -> None:
        """Begin a call's line."""
        label = _call(event.tool, event.args)
        self._running[event.call_id] = (Spinner("dots", label, style="cyan"), label)
        self.turn()

    def finished(self, event: ToolFinished) -> None:
        """Put a call's final line above what still runs."""
        mark, style = _MARKS.get(event.status, _OTHER_MARK)
        _, label = self._running.pop(event.call_id, (None, Text(one_line(event.tool, _NAME_WIDTH), "bold")))
        line = Text.assemble((f"{mark} ", style), label)
        if event.status not in _MARKS:
            line.append(f" {event.status}", style)
        if result := one_line(event.result, _RESULT_WIDTH):
            line.append(f"  {result}", "red" if event.status == "failed" else "dim")
        self._console.print(line, no_wrap=True, overflow="ellipsis")
        self.turn()


def _listed(tools: Counter[str]) -> str:
    return ", ".join(tool if times == 1 else f"{tool} ({times})" for tool, times in tools.items())


def _idle(words: str) -> Spinner:
    return Spinner("dots", Text(words, style="dim"), style="dim")


def _call(tool: str, args: dict[str, Any]) -> Text:
    shown = one_line(", ".join(str(value) for value in args.values()).replace("\n", " "), _NAME_WIDTH)
    return Text.assemble((one_line(tool, _NAME_WIDTH), "bold"), f" {shown}" if shown else "")
