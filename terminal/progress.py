"""What a running turn shows: spinners, calls, the answer, the receipts."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from graphs.result import Result, outcomes_of
from graphs.stream import Begun, Done, Event, Queued, final_result
from nodes.events import Restarted, Token, ToolFinished, ToolStarted, UsageReported
from terminal.markdown import MarkdownFlow
from terminal.screen import Screen
from terminal.text import Flow, one_line, plain

Labels = Callable[[str], str]
_MARKS = {"executed": ("✓", "green"), "failed": ("✗", "red")}
_OTHER_MARK = ("\u2013", "yellow")
_OUTCOME_STYLES = {"done": "dim", "failed": "red"}
_QUEUED = "waiting for another terminal's turn in this thread"
_THINKING = "thinking"
_NAME_WIDTH = 44
_RESULT_WIDTH = 200


async def show_turn(
    events: AsyncIterator[Event],
    screen: Screen,
    *,
    label: Labels = str,
    tool_label: Labels = str,
    plain_text: bool = False,
) -> Result:
    """Show a turn as it runs, and return its result.

    `label` and `tool_label` say what a person calls a model and a tool; `plain_text`: the answer's Markdown
    is shown as it was written.
    """
    view = _TurnView(screen, label, tool_label, plain_text=plain_text)
    try:
        return await final_result(events, view.take)
    finally:
        view.close()


def receipts(result: Result, label: Labels = str) -> Text:
    """Return what a turn did: `done: get_time (2) · denied: delete_file`."""
    told = [
        Text(f"{outcome}: {tools}", _OUTCOME_STYLES.get(outcome, "yellow"))
        for outcome, tools in outcomes_of(result, label).items()
    ]
    return Text(" · ", "dim").join(told) if told else Text("no tool was used", "dim")


class _TurnView:
    """One turn on the screen; nothing spins where that is not lively."""

    def __init__(self, screen: Screen, label: Labels, tool_label: Labels, *, plain_text: bool) -> None:
        self._screen = screen
        self._label = label
        self._tool_label = tool_label
        self._models: dict[str, None] = {}
        self._began = time.monotonic()
        self._live = Live(console=screen.side, transient=True, redirect_stdout=False, redirect_stderr=False)
        self._running: dict[str, tuple[Spinner, Text]] = {}
        self._idle = _idle(_THINKING)
        width = screen.out.width if screen.out.is_terminal else None
        is_plain = plain_text or not screen.lively
        self._flow = Flow(self._write, width) if is_plain else MarkdownFlow(screen.out)
        self._answer = ""
        self._spin()

    def take(self, event: Event) -> None:
        if isinstance(event, Queued | Begun):
            self._waits(_QUEUED if isinstance(event, Queued) else _THINKING)
        elif isinstance(event, Token) and self._screen.out.is_terminal:
            self._say(event.text)  # a pipe gets the answer alone, and once
        elif isinstance(event, Restarted):
            self._restarted(event)
        elif isinstance(event, ToolStarted):
            self._started(event)
        elif isinstance(event, ToolFinished):
            self._finished(event)
        elif isinstance(event, UsageReported):
            self._models[event.model] = None
        elif isinstance(event, Done):
            self._done(event.result)

    def close(self) -> None:
        """Leave the screen ready for whatever comes next."""
        self._live.stop()
        self._end_answer()

    def _spin(self) -> None:
        """Show what runs now, or that a model thinks."""
        if self._screen.lively:
            self._live.start()
            spinners = [spinner for spinner, _ in self._running.values()]
            self._live.update(Group(*spinners or [self._idle]), refresh=True)

    def _waits(self, words: str) -> None:
        self._idle = _idle(words)
        if words == _QUEUED and not self._screen.lively:
            self._screen.side.print(words, style="dim")
        self._spin()

    def _started(self, event: ToolStarted) -> None:
        self._end_answer()
        args = ", ".join(str(value) for value in event.args.values()).replace("\n", " ")
        shown = one_line(args, _NAME_WIDTH)
        label = Text.assemble((self._named(event), "bold"), f" {shown}" if shown else "")
        self._running[event.call_id] = (Spinner("dots", label, style="cyan"), label)
        self._spin()

    def _finished(self, event: ToolFinished) -> None:
        """Put a call's final line above what still runs."""
        self._end_answer()
        mark, style = _MARKS.get(event.status, _OTHER_MARK)
        _, label = self._running.pop(event.call_id, (None, Text(self._named(event), "bold")))
        line = Text.assemble((f"{mark} ", style), label)
        if event.status not in _MARKS:
            line.append(f" {event.status}", style)
        if result := one_line(event.result, _RESULT_WIDTH):
            line.append(f"  {result}", "red" if event.status == "failed" else "dim")
        self._screen.side.print(line, no_wrap=True, overflow="ellipsis")
        self._spin()

    def _named(self, event: ToolStarted | ToolFinished) -> str:
        return one_line(self._tool_label(event.tool), _NAME_WIDTH)

    def _restarted(self, event: Restarted) -> None:
        if self._answer:
            self._end_answer()
            self._screen.side.print(f"{plain(event.model)} broke off; the answer begins anew.", style="dim")
            self._spin()

    def _done(self, result: Result) -> None:
        """Show what of the answer was not streamed, and what really happened."""
        if self._answer.strip() != result.response.strip():
            self._end_answer()
            self._say(result.response)
        self.close()
        if result.pending is None:
            self._screen.side.print(Text.assemble("\n", receipts(result, self._tool_label)))
            self._screen.side.print(self._account(result), style="dim", soft_wrap=True)
        if result.stop_reason == "model_failed":
            self._screen.side.print("No model could finish this.", style="yellow")

    def _account(self, result: Result) -> str:
        """Return which models answered, what that took, and how long."""
        models = " \u2192 ".join(one_line(self._label(name), _NAME_WIDTH) for name in self._models)
        seconds = f"{time.monotonic() - self._began:.1f} s"
        return " · ".join(filter(None, (models, *used_by(result.usage), seconds)))

    def _say(self, text: str) -> None:
        if not self._answer:
            text = text.lstrip()
            if not text:
                return
            self._live.stop()
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


def used_by(usage: Mapping[str, Any]) -> list[str]:
    """Return what a turn's models used, in words; unknown is left out."""
    calls, cost = usage.get("model_calls") or 0, usage.get("cost_usd")
    tokens = (usage.get("input_tokens") or 0) + (usage.get("output_tokens") or 0)
    told = [f"{calls} model call{'s' if calls != 1 else ''}"] if calls else []
    return [*told, *([f"{tokens:,} tokens"] if tokens else []), *([f"${cost:.4f}"] if cost else [])]


class _Elapsed:
    """Words, and the seconds since they were first shown."""

    def __init__(self, words: str) -> None:
        self._words = words
        self._began = time.monotonic()

    def __rich__(self) -> Text:
        seconds = int(time.monotonic() - self._began)
        return Text(f"{self._words} {seconds} s" if seconds else self._words, style="dim")


def _idle(words: str) -> Spinner:
    return Spinner("dots", _Elapsed(words), style="dim")
