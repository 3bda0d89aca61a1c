"""The approval card: a waiting call, and the person's answer to it."""

import glob
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from base.texts import escaped
from nodes.gate.answers import Check, plain_answer, read, read_json
from nodes.gate.request import one_of, own_description, unfenced
from terminal.interrupt import EXIT, LeftError
from terminal.prompt import LinePrompt
from terminal.text import json_line, plain

_WIDEST = 100
_LINES = 12
"""Lines of one argument that a card shows unasked."""
_ALWAYS = "always"
"""Takes the rule that is offered: a whole word, for a letter is typed too soon."""
_CHOICES = ("approve", _ALWAYS, "edit", "whenever", "reject")
_LONGEST_PATTERN = 80
_USES = 20
"""How many calls may run by a rule that does not say otherwise."""

Decision = dict[str, Any]


def answer_all(request: dict[str, Any], *, yes: bool, reason: str = "") -> dict[str, Any]:
    """Return the answer that approves or rejects every waiting call."""
    actions = request["action_requests"]
    said: Decision = {} if yes else {"message": reason}
    return {"decisions": [_decision(action, "approve" if yes else "reject", **said) for action in actions]}


def is_in_doubt(request: dict[str, Any]) -> bool:
    """Tell whether the calls asked about may have happened already."""
    return any("attempt" in action for action in request["action_requests"])


def show_waiting(console: Console, request: dict[str, Any], thread_id: str) -> None:
    """Print a card for each waiting call, and the commands to answer."""
    for number in range(len(request["action_requests"])):
        _print(console, request, number)
    words, approvers = named(thread_id), request.get("approvers") or []
    whose = f"the yes or no of {plain(one_of(approvers))}" if approvers else "your yes or no"
    console.print(f"Waiting for {whose}:", style="bold")
    by = f" --user {named(approvers[0])}" if approvers else ""
    for command in (f"approve {words}{by}", f'reject {words}{by} --reason "…"'):
        console.print(f"  twobrain {command}", soft_wrap=True)


def named(thread_id: str) -> str:
    """Return how a command line names a thread."""
    return shlex.quote(plain(thread_id))


class ApprovalPrompt:
    """Asks a person about waiting calls, one by one."""

    def __init__(self, console: Console, prompt: LinePrompt, check: Check) -> None:
        self._console = console
        self._prompt = prompt
        self._check = check
        self._drafts: dict[str, str] = {}
        self.unsent: list[str] = []
        """What was typed meanwhile and is no answer: messages, for after the questions."""

    async def decide(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the person's decisions.

        Raises:
            LeftError: the person left without deciding; of `/exit`, it says so.
        """
        waiting = range(len(request["action_requests"]))
        return {"decisions": [await self._one(request, number) for number in waiting]}

    async def _one(self, request: dict[str, Any], number: int) -> Decision:
        action = request["action_requests"][number]
        allowed = [choice for choice in _CHOICES if choice in _allowed(request, action)]
        cut = _print(self._console, request, number)
        if early := self._prompt.typed_ahead():
            self._keep(early, "That was typed before this was asked, so it answers nothing.")
        while True:
            choice = await self._choice([*allowed, "show"] if cut else allowed)
            if choice in {"approve", _ALWAYS}:
                return _approval(action, choice)
            if choice == "reject":
                why = "" if is_in_doubt(request) else await self._line("Why not? ")
                return _decision(action, "reject", message=why)
            if choice == "show":
                self._console.print(_arguments(action, whole=True))
            elif choice == "whenever" and (approval := await self._whenever(action)):
                return approval
            elif choice == "edit" and (edit := await self._edited(action)):
                return edit

    async def _choice(self, choices: list[str]) -> str:
        shown = [choice if choice == _ALWAYS else f"{choice[0]}={choice}" for choice in choices]
        question = " · ".join(shown) + " > "
        while True:
            typed = await self._line(question)
            if found := [choice for choice in choices if typed.lower() in {choice, choice[0]}]:
                return found[0]
            if (is_yes := plain_answer(typed)) is not None:
                return "approve" if is_yes else "reject"
            self._keep(typed, f"Please type {', '.join(choices)}, or its first letter.")

    async def _line(self, question: str, prefilled: str = "") -> str:
        typed = await self._prompt.line(question, prefilled)
        if typed == EXIT:
            raise LeftError(EXIT)
        return typed

    def _keep(self, typed: str, why: str) -> None:
        """Say why something is no answer; words are a message for later."""
        if " " in typed.strip():
            self.unsent.append(" ".join(typed.split()))
            why = f"{why} What you wrote is not lost: it can be sent once this is answered."
        self._console.print(why, style="yellow")

    async def _edited(self, action: Decision) -> Decision | None:
        """Return a valid edit; None where the person emptied the line."""

        def edit(args: Any) -> Decision:
            return _decision(action, "edit", edited_action={"name": action["name"], "args": args})

        return await self._typed("Arguments", action, action["args"], edit)

    async def _whenever(self, action: Decision) -> Decision | None:
        """Return an approval of further calls; None for an emptied line."""
        self._console.print("Run it, and from now on such calls unasked; * stands for anything.", style="dim")
        texts = {name: value for name, value in action["args"].items() if isinstance(value, str)}
        short = {n: v for n, v in texts.items() if len(v) <= _LONGEST_PATTERN and "\n" not in v}
        patterns = {name: glob.escape(value) for name, value in short.items()}  # for the person to widen

        def approval(said: Any) -> Decision:
            remember = {"uses": _USES, **said} if isinstance(said, dict) else said
            return _decision(action, "approve", remember=remember)

        draft = {"where": patterns, "until": None, "uses": _USES}
        return await self._typed("Rule", action, draft, approval)

    async def _typed(
        self, what: str, action: Decision, first: Any, make: Callable[[Any], Decision]
    ) -> Decision | None:
        key = f"{what} {action['tool_call_id']}"
        draft = self._drafts.get(key) or json_line(first)
        while draft := await self._line(f"{what} (empty goes back): ", draft):
            self._drafts[key] = draft
            try:
                decision = make(read_json(draft))
            except ValueError as error:
                self._console.print(f"That is not JSON: {error}.", style="yellow")
                continue
            problem = read({"decisions": [decision]}, [action], self._check).problem
            if not problem:
                return decision
            self._console.print(plain(problem), style="yellow")
        return None


def _decision(action: dict[str, Any], kind: str, **more: Any) -> Decision:
    return {"type": kind, **more, "tool_call_id": action.get("tool_call_id")}


def _approval(action: dict[str, Any], choice: str) -> Decision:
    remember = {"remember": action["offer"]["remember"]} if choice == _ALWAYS else {}
    return _decision(action, "approve", **remember)


def _allowed(request: dict[str, Any], action: dict[str, Any]) -> list[str]:
    configs = {config["action_name"]: config for config in request.get("review_configs", ())}
    allowed = configs.get(action["name"], {}).get("allowed_decisions", ("approve", "edit", "reject"))
    rules = [*([_ALWAYS] if "offer" in action else []), *(["whenever"] if "edit" in allowed else [])]
    return [*allowed, *rules]


def _print(console: Console, request: dict[str, Any], number: int) -> bool:
    """Print one card; return whether some of the arguments were left out."""
    actions = request["action_requests"]
    action = actions[number]
    if number == 0 and (problem := request.get("problem")):
        console.print(plain(str(problem)), style="yellow")
    what = "Did it happen?" if is_in_doubt(request) else "Confirm"
    count = f" {number + 1} of {len(actions)}" if len(actions) > 1 else ""
    console.print(
        Panel(
            Group(*_parts(request, number)),
            title=Text.assemble(f"{what}{count} · ", (escaped(action["name"]), "bold")),
            title_align="left",
            border_style="yellow",
            padding=(0, 2),
            width=min(console.width, _WIDEST),
        )
    )
    return any(_cut(_exact(value)) for value in action["args"].values())


def _parts(request: dict[str, Any], number: int) -> Iterator[RenderableType]:
    action = request["action_requests"][number]
    message = request.get("message", "").removeprefix(request.get("problem") or "").strip()
    if number == 0 and message:
        yield Padding(Text(plain(message)), (0, 0, 1, 0))
    yield _arguments(action, whole=False)
    if effect := escaped(unfenced(own_description(action))).strip():
        styles = {"+": "green", "-": "red"}  # of what is added, and what is taken away
        lines = [Text(line, styles.get(line[:1], "dim")) for line in effect.split("\n")]
        yield Padding(Text("\n").join(lines), (1, 0, 0, 0))
    if offer := action.get("offer"):
        yield Padding(Text(f"always: {escaped(offer['text'])}", "cyan"), (1, 0, 0, 0))


def _arguments(action: dict[str, Any], *, whole: bool) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in action["args"].items():
        shown = Text(text := _exact(value))
        if not whole and _cut(text):
            start = "\n".join(text.split("\n")[:_LINES])[: _LINES * 80]
            shown = Text.assemble(start, (f"\n… {len(text):,} characters in all", "yellow"))
        grid.add_row(Text(escaped(name)), shown)
    return grid


def _exact(value: Any) -> str:
    return escaped(value if isinstance(value, str) else json_line(value))


def _cut(text: str) -> bool:
    return text.count("\n") >= _LINES or len(text) > _LINES * 80
