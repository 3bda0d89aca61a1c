"""What happened in a turn, in one line beside its answer: a claim without a receipt is seen to have none."""

from collections import Counter

from rich.text import Text

from graphs.result import Result
from terminal.text import one_line

_WORDS = {"executed": "done", "unknown": "unknown whether done"}
_STYLES = {"executed": "dim", "failed": "red"}
_NAME_WIDTH = 44


def receipts(result: Result) -> Text:
    """Return the line, such as `done: get_time, read_file (2) · denied: delete_file`."""
    calls: dict[str, Counter[str]] = {"executed": Counter()}
    for receipt in result.receipts:
        calls.setdefault(receipt["status"], Counter())[one_line(receipt["tool"], _NAME_WIDTH)] += 1
    told = [
        Text(f"{_WORDS.get(status, status)}: {_listed(tools)}", _STYLES.get(status, "yellow"))
        for status, tools in calls.items()
        if tools
    ]
    return Text(" · ", "dim").join(told) if told else Text("no tool was used", "dim")


def _listed(tools: Counter[str]) -> str:
    return ", ".join(tool if times == 1 else f"{tool} ({times})" for tool, times in tools.items())
