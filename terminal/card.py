"""The approval card in the terminal, and the keys that answer it."""

import shlex
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import partial
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from base.settings import LOCAL, Settings
from base.texts import count, escaped
from nodes.gate.answers import Check, plain_answer, read
from nodes.gate.request import one_of, own_description, unfenced
from terminal.forms import ArgumentForm, BackError, RuleForm, answered
from terminal.interrupt import EXIT, LeftError
from terminal.prompt import LinePrompt
from terminal.screen import Screen
from terminal.text import json_line, plain
from tools.declaration import ArgumentsError, Tool, ToolFailure
from tools.registry import Registry

_WIDEST_CARD = 100
_ARGUMENT_LINES = 12
"""Lines of one argument that a card shows before all else is shown."""
_MESSAGE_LINES = 4
"""Of what a model says, which is not to push the call itself from the screen."""
_LINE_LENGTH = 80
_PROMPT_LINES = 4
"""What a question below a card may take of the screen."""
_LEAST_LINES = 8
_FILE_PLACE = "The file is {place}"


@dataclass(frozen=True, slots=True)
class _Choice:
    shown: str
    words: tuple[str, ...]


_CONSENT_KEYS = {
    "approve": _Choice("y=approve", ("y", "a", "approve")),
    "edit": _Choice("e=edit", ("e", "edit")),
    "always": _Choice("always", ("always",)),  # a whole word, for a letter is typed too soon
    "more": _Choice("m=more", ("m", "more")),
    "reject": _Choice("n=reject", ("n", "r", "reject")),
}
_DOUBT_KEYS = {
    "approve": _Choice("again=run it again", ("again", "run it again", "approve")),
    "more": _CONSENT_KEYS["more"],
    "reject": _Choice("done=count it as done", ("done", "count it as done", "reject")),
}
"""Of what may have happened: neither a yes nor a no says whether it did."""
Decision = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a question comes from, as far as that is known here."""

    words: str = ""
    """Whose turn it is, and of which conversation."""
    tools: Registry | None = None
    settings: Settings | None = None
    user: str = LOCAL
    """Whose turn it is."""

    @property
    def zone(self) -> tzinfo:
        """The time zone of the person who asks."""
        return self.settings.zone(self.user) if self.settings else UTC

    def tool(self, action: Mapping[str, Any]) -> Tool | None:
        """Return the tool of a call; None: it is not known here."""
        return self.tools.find(action["name"]) if self.tools else None

    def name(self, action: Mapping[str, Any]) -> str:
        """Return what a person calls a call's tool, and its name."""
        tool, name = self.tool(action), escaped(action["name"])
        return f"{escaped(tool.label)} ({name})" if tool and tool.label else name

    def place(self, action: Mapping[str, Any]) -> str:
        """Return where on this machine a call acts; empty: nowhere."""
        tool = self.tool(action)
        if tool is None or self.settings is None:
            return ""
        try:
            found = tool.location(self.settings, self.user, tool.check(action["args"]))
        except (ToolFailure, ArgumentsError):
            return ""
        return escaped(str(found)) if found else ""


def answer_all(request: dict[str, Any], *, yes: bool, reason: str = "") -> dict[str, Any]:
    """Return the answer that approves or rejects every waiting call."""
    actions = request["action_requests"]
    said: Decision = {} if yes else {"message": reason}
    return {"decisions": [_decision(action, "approve" if yes else "reject", **said) for action in actions]}


def is_in_doubt(request: dict[str, Any]) -> bool:
    """Tell whether the calls asked about may have happened already."""
    return any("attempt" in action for action in request["action_requests"])


def show_waiting(console: Console, request: dict[str, Any], thread_id: str, origin: Origin) -> None:
    """Print a card for each waiting call, and the commands to answer."""
    for number in range(len(request["action_requests"])):
        console.print(_card(request, number, origin), width=min(console.width, _WIDEST_CARD))
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

    def __init__(self, screen: Screen, check: Check, origin: Origin) -> None:
        self._screen = screen
        self._console = screen.side
        self._prompt = LinePrompt(screen)
        self._values = LinePrompt(screen, several_lines=True, is_exact=True)
        self._check = check
        self._origin = origin
        self._drafts: dict[str, dict[str, Any]] = {}
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
        window = _Window(self._console, [_card(request, number, self._origin), *_left_out(request, number)])
        if early := self._prompt.typed_ahead():
            self._keep(early, "That was typed before this was asked, so it answers nothing.")
        while True:
            choice = await self._choice(_choices(request, action), goes_on=window.goes_on)
            if choice == "more":
                window.show()
            elif decision := await self._decision(choice, action):
                return decision

    async def _decision(self, choice: str, action: Decision) -> Decision | None:
        """Return what a choice comes to; None: the person went back."""
        with suppress(BackError):
            match choice:
                case "reject":
                    why = "" if "attempt" in action else await self._line("Why not? ")
                    return _decision(action, "reject", message=why)
                case "edit":
                    return await self._edited(action)
                case "always":
                    form = RuleForm(self._screen, self._line, self._origin.zone)
                    remember = await form.fill(action, self._origin.tool(action))
                    return self._checked(action, _decision(action, "approve", remember=remember))
                case _:
                    return _decision(action, "approve")
        return None

    async def _edited(self, action: Decision) -> Decision | None:
        """Return an edit that fits, once the person has seen it whole."""
        call_id = action["tool_call_id"]
        form = ArgumentForm(self._screen, self._value, self._origin.tool(action))
        while True:
            draft: dict[str, Any] = self._drafts.get(call_id) or action["args"]
            args = await form.fill(draft)
            self._drafts[call_id] = args
            changed = {"name": action["name"], "args": args}
            if decision := self._checked(action, _decision(action, "edit", edited_action=changed)):
                break
        place = self._origin.place(changed)
        told = [Text(_FILE_PLACE.format(place=place), "dim")] if place else []
        window = _Window(self._console, [_arguments(args, whole=True), *told])
        while True:
            more, known = ("m=more · ", "y, m, e or b") if window.goes_on else ("", "y, e or b")
            question = f"Run it so? y=run it so · {more}e=edit on · b=back > "
            words = {"y": "run", "e": "edit", "m": "more"}
            chosen = await answered(self._line, self._say, question, words.get, known)
            if chosen != "more":
                return decision if chosen == "run" else await self._edited(action)
            window.show()

    def _checked(self, action: Decision, decision: Decision) -> Decision | None:
        """Return a decision that will be understood, else say why not."""
        problem = read({"decisions": [decision]}, [action], self._check).problem
        if problem:
            self._say(problem)
        return None if problem else decision

    async def _choice(self, choices: Mapping[str, _Choice], *, goes_on: bool) -> str:
        offered = [choices[name].shown for name in choices if goes_on or name != "more"]
        question = " · ".join(offered) + " > "
        words = {word: name for name, choice in choices.items() for word in choice.words}
        while True:
            typed = await self._line(question)
            if name := words.get(" ".join(typed.lower().split())):
                return name
            if words.keys() >= {"y", "n"} and (is_yes := plain_answer(typed)) is not None:
                return "approve" if is_yes else "reject"
            known = ", ".join(shown.partition("=")[0] for shown in offered)
            self._keep(typed, f"Please type {known}.")

    async def _line(self, question: str, prefilled: str = "") -> str:
        return (await self._left(self._prompt.text(question, prefilled))).strip()

    async def _value(self, question: str, prefilled: str) -> str:
        return await self._left(self._values.text(question, prefilled))

    async def _left(self, typed: Awaitable[str]) -> str:
        if (text := await typed).strip() == EXIT:
            raise LeftError(EXIT)
        return text

    def _say(self, words: str) -> None:
        self._console.print(plain(words), style="yellow")

    def _keep(self, typed: str, why: str) -> None:
        """Say why something is no answer; words are a message for later."""
        if " " in typed.strip():
            self.unsent.append(" ".join(typed.split()))
            why = f"{why} What you wrote is not lost: it can be sent once this is answered."
        self._say(why)


class _Window:
    """What is longer than a screen, shown a screenful at a time."""

    def __init__(self, console: Console, parts: Sequence[RenderableType]) -> None:
        self._console = console
        self._parts = parts
        self._width = 0
        self._rest: list[Segments] = []
        self.show()

    @property
    def goes_on(self) -> bool:
        """Tell whether there is more to be seen."""
        return bool(self._rest)

    def show(self) -> None:
        """Show what comes next, or from the top again."""
        if not self._rest or self._width != min(self._console.width, _WIDEST_CARD):
            self._width = min(self._console.width, _WIDEST_CARD)
            options = self._console.options.update(width=self._width)
            draw = partial(self._console.render_lines, options=options, pad=False, new_lines=True)
            self._rest = [Segments(line) for part in self._parts for line in draw(part)]
        room = max(self._console.height - _PROMPT_LINES, _LEAST_LINES)
        room = len(self._rest) if len(self._rest) <= room + 1 else room
        for line in self._rest[:room]:
            self._console.print(line)
        self._rest = self._rest[room:]
        if self._rest:
            self._console.print(f"… {count(len(self._rest), 'more line')}: m shows them", style="yellow")


def _decision(action: dict[str, Any], kind: str, **more: Any) -> Decision:
    return {"type": kind, **more, "tool_call_id": action.get("tool_call_id")}


def _choices(request: dict[str, Any], action: dict[str, Any]) -> dict[str, _Choice]:
    """Return what can be chosen for a call."""
    configs = {config["action_name"]: config for config in request.get("review_configs", ())}
    allowed = configs.get(action["name"], {}).get("allowed_decisions", ("approve", "edit", "reject"))
    left_out = {"always", "edit"} if "edit" not in allowed else set()
    left_out |= {"always"} if action.get("always_asks") else set()
    known = _DOUBT_KEYS if "attempt" in action else _CONSENT_KEYS
    return {name: choice for name, choice in known.items() if name not in left_out}


def _card(request: dict[str, Any], number: int, origin: Origin) -> RenderableType:
    actions = request["action_requests"]
    action = actions[number]
    what = "Did it happen?" if is_in_doubt(request) else "Confirm"
    place = f" {number + 1} of {len(actions)}" if len(actions) > 1 else ""
    return Panel(
        Group(*_parts(request, number, origin)),
        title=Text.assemble(f"{what}{place} · ", (origin.name(action), "bold")),
        title_align="left",
        border_style="yellow",
        padding=(0, 2),
    )


def _parts(request: dict[str, Any], number: int, origin: Origin) -> Iterator[RenderableType]:
    action, problem = request["action_requests"][number], request.get("problem") or ""
    if number == 0 and problem:
        yield Padding(Text(plain(problem), "yellow"), (0, 0, 1, 0))
    if origin.words:
        yield Padding(Text(origin.words, "dim"), (0, 0, 1, 0))
    if message := _message(request, number):
        yield Padding(Text(_start(message, _MESSAGE_LINES) or message), (0, 0, 1, 0))
    yield _arguments(action["args"], whole=False)
    if place := origin.place(action):
        yield Padding(Text(_FILE_PLACE.format(place=place), "dim"), (1, 0, 0, 0))
    if effect := escaped(unfenced(own_description(action))).strip():
        styles = {"+": "green", "-": "red"}  # of what is added, and what is taken away
        lines = [Text(line, styles.get(line[:1], "dim")) for line in effect.split("\n")]
        yield Padding(Text("\n").join(lines), (1, 0, 0, 0))
    if offer := action.get("offer"):
        yield Padding(Text(f"always: {escaped(offer['text'])}", "cyan"), (1, 0, 0, 0))


def _left_out(request: dict[str, Any], number: int) -> list[RenderableType]:
    """Return whole what a card shows the beginning of."""
    message, args = _message(request, number), request["action_requests"][number]["args"]
    long = {name: value for name, value in args.items() if _start(_exact(value), _ARGUMENT_LINES)}
    said = [Padding(Text(message), (1, 0))] if _start(message, _MESSAGE_LINES) else []
    return [*([_arguments(long, whole=True)] if long else []), *said]


def _message(request: dict[str, Any], number: int) -> str:
    """Return what is said first; it may be a model's."""
    said = request.get("message", "").removeprefix(request.get("problem") or "")
    return plain(said).strip() if number == 0 else ""


def _arguments(args: Mapping[str, Any], *, whole: bool) -> Table:
    """Return arguments by name; what is long comes last."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    texts = {name: _exact(value) for name, value in args.items()}
    for name in sorted(texts, key=lambda name: bool(_start(texts[name], _ARGUMENT_LINES))):
        shown = Text(text := texts[name])
        if not whole and (start := _start(text, _ARGUMENT_LINES)):
            shown = Text.assemble(start, (f"\n… {len(text):,} characters in all", "yellow"))
        grid.add_row(Text(escaped(name)), shown)
    return grid


def _exact(value: Any) -> str:
    return escaped(value if isinstance(value, str) else json_line(value))


def _start(text: str, most: int) -> str:
    """Return the beginning of a long text; empty: it is short."""
    is_long = text.count("\n") >= most or len(text) > most * _LINE_LENGTH
    return "\n".join(text.split("\n")[:most])[: most * _LINE_LENGTH].rstrip() + " …" if is_long else ""
