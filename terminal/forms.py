"""Forms at a card: arguments, and a rule asked in words."""

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime, timedelta, tzinfo
from glob import escape
from typing import Any, TypeVar

from base.texts import escaped, unseen_in
from nodes.gate.answers import plain_answer, read_json
from nodes.gate.offers import USES, Candidate, choices_for, end_of_day, end_of_week, in_words
from terminal.prompt import edited
from terminal.screen import Screen
from terminal.text import json_line, plain
from tools.declaration import Tool

T = TypeVar("T")
Ask = Callable[[str, str], Awaitable[str]]
"""Asks a question with a text to change, and returns what was typed."""
BACK = "b"
_LONGEST_TYPED = 4_000
"""Characters of a value that is changed where it is asked for, and not in an editor."""
_LONGEST_PATTERN = 80
_MONTH_DAYS = 30
_BACK = f"{BACK}=back > "
_STILL_ASKS = (
    "Asked about even so: what goes by text that strangers wrote, and a text with a comma, a semicolon or a "
    "line break that this does not name."
)


class BackError(Exception):
    """The person goes back to the card."""


async def answered(
    ask: Ask, tell: Callable[[str], None], question: str, read: Callable[[str], T | None], known: str
) -> T:
    """Ask until an answer is understood; an empty line is none.

    `known` says what would be.

    Raises:
        BackError: the person went back.
    """
    while True:
        typed = (await ask(question, "")).strip()
        if typed.lower() in {BACK, "back"}:
            raise BackError
        if (found := read(typed)) is not None:
            return found
        tell(f"Please type {known}.")


class ArgumentForm:
    """Asks for one argument after another, each with its present value."""

    def __init__(self, screen: Screen, ask: Ask, tool: Tool | None) -> None:
        self._screen = screen
        self._ask = ask
        self._schemas = tool.own_args(dict(tool.parameters.get("properties", {}))) if tool else {}

    async def fill(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments as the person leaves them.

        What they leave as it is stays exactly that.
        """
        self._screen.side.print(
            "Enter takes a value as it stands, Alt-Enter begins a line, Ctrl-X Ctrl-E opens your editor.",
            style="dim",
        )
        filled: dict[str, Any] = {}
        for name in dict.fromkeys([*args, *self._schemas]):
            given = {name: args[name]} if name in args else {}
            filled |= await self._field(name, given)
        return filled

    async def _field(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        value, schema = given.get(name), self._schemas.get(name, {})
        shown = value if isinstance(value, str) else json_line(value) if given else ""
        kept = isinstance(value, str)  # what is emptied is an empty text, else it is left out
        draft = shown
        while True:
            typed = await self._typed(escaped(name) + ("" if given else " (not given)"), draft)
            if typed in {shown, shown.strip()}:
                return given
            if not typed.strip() and not kept:
                return {}
            try:
                return {name: typed if kept else read_json(typed)}
            except ValueError as error:
                if schema.get("type") in {None, "string"}:
                    return {name: typed}
                self._screen.side.print(f"That is no {schema['type']} in JSON: {error}.", style="yellow")
                draft = typed

    async def _typed(self, name: str, draft: str) -> str:
        if len(draft) <= _LONGEST_TYPED:
            return await self._ask(f"{name} > ", draft)
        self._screen.side.print(f"{name} has {len(draft):,} characters.", style="dim")
        opens = await answered(
            self._ask,
            self._complain,
            f"k=keep it · o=open it in your editor · {_BACK}",
            {"k": False, "o": True}.get,
            "k, o or b",
        )
        return await edited(self._screen, draft) if opens else draft

    def _complain(self, words: str) -> None:
        self._screen.side.print(words, style="yellow")


class RuleForm:
    """Asks in words which calls are to run unasked."""

    def __init__(self, screen: Screen, ask: Ask, zone: tzinfo) -> None:
        self._screen = screen
        self._ask = ask
        self._zone = zone
        self._now = datetime.now(zone)

    async def fill(self, action: Mapping[str, Any], tool: Tool | None) -> dict[str, Any]:
        """Return the rule that a person agrees to.

        Raises:
            BackError: they agree to none.
        """
        offer = action.get("offer")
        found: list[Candidate] = choices_for(tool, action["args"]) if tool else []
        lines = [*([offer["text"]] if offer else []), *(each.words for each in found)]
        lines.append(f"Other calls of {action['name']}: I say what each text may be")
        self._screen.side.print("What may run from now on, without asking?", style="bold")
        for number, line in enumerate(lines, 1):
            self._screen.side.print(f"{number:>3}  {escaped(line)}")
        number = await self._answered(
            f"1 to {len(lines)} · {_BACK}", _number_to(len(lines)), "a number, or b"
        )
        if offer and number == 1:
            return await self._agreed(offer["text"], offer["remember"])
        at = number - 1 - bool(offer)
        chosen = found[at] if at < len(found) else await self._patterns(action)
        until, uses = await self._until(), await self._uses()
        said = in_words(chosen.words, uses, until, year=True)
        ends = until.isoformat() if until else None
        return await self._agreed(said, {"where": chosen.where, "until": ends, "uses": uses})

    async def _agreed(self, said: str, remember: dict[str, Any]) -> dict[str, Any]:
        self._screen.side.print(f"{escaped(said)}.", style="cyan")
        self._screen.side.print(_STILL_ASKS, style="dim")
        if not await self._answered("Run this call, and agree to that? y/n > ", plain_answer, "y or n"):
            raise BackError
        return remember

    async def _patterns(self, action: Mapping[str, Any]) -> Candidate:
        """Return a rule by what each text of a call may be."""
        self._screen.side.print("* stands for anything, ? for one character.", style="dim")
        where: dict[str, str] = {}
        for name, value in action["args"].items():
            if isinstance(value, str):
                is_short = len(value) <= _LONGEST_PATTERN and not unseen_in(value) and "\n" not in value
                pattern = (await self._ask(f"{escaped(name)} > ", escape(value) if is_short else "*")).strip()
                where |= {name: pattern} if pattern != "*" else {}
        if not where:
            self._screen.side.print(
                "That leaves all open: say of at least one what it may be.", style="yellow"
            )
            raise BackError
        told = " and ".join(f"{name} matches {pattern}" for name, pattern in where.items())
        return Candidate(where, f"Calls of {action['name']} where {told}")

    async def _until(self) -> datetime | None:
        sunday = end_of_week(self._now.timestamp(), self._zone)
        last = end_of_day((self._now + timedelta(days=_MONTH_DAYS)).date(), self._zone)
        ends = {"t": end_of_day(self._now.date(), self._zone), "w": sunday, "m": last, "g": None}

        def read(typed: str) -> tuple[datetime | None] | None:
            if typed.lower() in ends:
                return (ends[typed.lower()],)
            try:
                end = end_of_day(date.fromisoformat(typed), self._zone)
            except ValueError:
                return None
            return (end,) if end > self._now else None

        week = f"{sunday:%A} {sunday.day} {sunday:%B}"
        question = f"Until when? t=today · w={week} · m={_MONTH_DAYS} days · g=for good · {_BACK}"
        known = f"t, w, m, g, or a day to come such as {last.date()}"
        return (await self._answered(question, read, known))[0]

    async def _uses(self) -> int | None:
        def read(typed: str) -> tuple[int | None] | None:
            if typed.lower() in {"any", "a"}:
                return (None,)
            return (int(typed),) if re.fullmatch("[1-9][0-9]{0,5}", typed) else None

        question = f"How often? a number such as {USES} · a=any number of times · {_BACK}"
        return (await self._answered(question, read, "a number, a or b"))[0]

    async def _answered(self, question: str, read: Callable[[str], T | None], known: str) -> T:
        def tell(words: str) -> None:
            self._screen.side.print(plain(words), style="yellow")

        return await answered(self._ask, tell, question, read, known)


def _number_to(most: int) -> Callable[[str], int | None]:
    return lambda typed: (
        int(typed) if typed.isascii() and typed.isdigit() and 1 <= int(typed) <= most else None
    )
