"""A line for every tool call: a spinner while it runs, a mark and a short result when it has ended."""

from typing import Any

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from nodes.events import ToolFinished, ToolStarted
from terminal.screen import Screen
from terminal.text import one_line

_MARKS = {"executed": ("✓", "green"), "failed": ("✗", "red")}
_OTHER_MARK = ("\u2013", "yellow")
_QUEUED = "waiting for another terminal's turn in this thread"
_ARGS_WIDTH = 44
_RESULT_WIDTH = 200


class Progress:
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

    def rest(self) -> None:
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
        _, label = self._running.pop(event.call_id, (None, Text(one_line(event.tool, _ARGS_WIDTH), "bold")))
        line = Text.assemble((f"{mark} ", style), label)
        if event.status not in _MARKS:
            line.append(f" {event.status}", style)
        if result := one_line(event.result, _RESULT_WIDTH):
            line.append(f"  {result}", "red" if event.status == "failed" else "dim")
        self._console.print(line, no_wrap=True, overflow="ellipsis")
        self.turn()


def _idle(words: str) -> Spinner:
    return Spinner("dots", Text(words, style="dim"), style="dim")


def _call(tool: str, args: dict[str, Any]) -> Text:
    shown = one_line(", ".join(str(value) for value in args.values()).replace("\n", " "), _ARGS_WIDTH)
    return Text.assemble((one_line(tool, _ARGS_WIDTH), "bold"), f" {shown}" if shown else "")
