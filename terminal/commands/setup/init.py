"""`twobrain init`: asks for keys and programs, and tries each."""

import asyncio
import getpass
import logging
import os
import re
import signal
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.padding import Padding
from rich.text import Text

from base.environment import config_dir, config_path, is_file, variables_of
from base.errors import Cause, ConfigurationError
from base.settings import LOCAL, ModelCard, Settings, load_settings
from doctor.machine import how_to_call, how_to_reach
from doctor.model_calls import try_model
from models.catalog import ModelRegistry
from models.providers import MODULES, Provider, provider
from storage.configuration import check_writable, write_answers
from terminal.interrupt import LeftError
from terminal.prompt import LinePrompt
from terminal.screen import Screen, open_screen
from terminal.text import plain

_NOBODY_TO_ASK = (
    "twobrain init asks a person, and nobody is here to answer. In a script, write NAME=KEY lines into {}, "
    "readable by you alone, or set the variables themselves; `twobrain models` says which."
)
_BEGIN = (
    "Each key is tried with one small call, then goes into {}, which you alone can read. It is not shown as "
    "you type or paste it. Enter leaves a thing as it is; Ctrl-C ends this, and nothing is written."
)
_KEY = re.compile(r"[!-~]+")
"""What a header can hold."""
_PASTED = re.compile(r"""^(?:export\s+)?[A-Z0-9_]*(?:KEY|TOKEN)\s*=\s*""")
"""A variable's name that came along with its key."""
_AROUND = "\"'`;, \t\r\n\xa0\u200b\u200c\u200d\u2060\ufeff\u201c\u201d\u2018\u2019"
"""What may come along around it."""
_REFUSED = {"bad_key", "missing_key"}


def init() -> int:
    """Ask, try, and write what was answered; 130 where the person left.

    Raises:
        ConfigurationError: nobody is there to ask, or what there is cannot be read or written.
    """
    screen, folder = open_screen(), config_dir()
    if not screen.interactive:
        raise ConfigurationError(_NOBODY_TO_ASK.format(folder / ".env"))
    check_writable(folder)
    logging.getLogger().addHandler(logging.NullHandler())  # each failure is a line of ours
    screen.side.print(_BEGIN.format(folder / ".env"))
    interview = _Interview(screen, folder)
    try:
        interview.ask_all()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # both files or neither
    except (LeftError, KeyboardInterrupt):
        screen.note("\nNothing was written.", "yellow")
        return 130
    written = write_answers(folder, interview.keys, interview.tables())
    _tell(screen, folder, interview, written)
    return 0


@dataclass
class _Interview:
    """The questions, and what was answered so far."""

    screen: Screen
    folder: Path
    keys: dict[str, str] = field(default_factory=dict)
    """Variables for `.env`."""
    cards: dict[str, ModelCard] = field(default_factory=dict)
    """Models for twobrain.toml, by name."""

    def __post_init__(self) -> None:
        own, dotenv = self.folder / "twobrain.toml", self.folder / ".env"
        self._sources = {  # the first that names a variable wins
            "the environment": dict(os.environ),
            "./.env": variables_of(Path(".env")),
            str(dotenv): variables_of(dotenv),
        }
        self._environ = {
            name: value for found in reversed(self._sources.values()) for name, value in found.items()
        }
        if is_file(own):
            self._environ["TWOBRAIN_CONFIG"] = str(own)
        self._configured = self._settings({}).models if is_file(own) else {}

    def ask_all(self) -> None:
        """Ask for each provider in turn, services first."""
        for kind in sorted(MODULES, key=lambda kind: bool(provider(kind).program)):
            if (each := provider(kind)).title:
                self._say(f"\n{each.title}", "bold", indent=0)
                (self._ask_program if each.program else self._ask_service)(kind, each)

    def tables(self) -> Mapping[str, ModelCard]:
        """Return the models for twobrain.toml; none where what is present chooses better.

        Where no model takes tools, the offline planner gathers for it, as long as no table is there.
        """
        able = any(card.tools for card in (*self._configured.values(), *self.cards.values()))
        return self.cards if able else {}

    def overruled(self) -> list[tuple[str, str]]:
        """Return the variables that elsewhere have another value, which wins, and where."""
        elsewhere = list(self._sources.items())[:-1]
        return [(name, source) for name in self.keys for source, found in elsewhere if found.get(name)]

    def _settings(self, given: Mapping[str, str]) -> Settings:
        return load_settings({**self._environ, **given})

    def _ask_program(self, kind: str, each: Provider) -> None:
        settings = self._settings({})
        if lack := each.lacks(settings):
            self._say(f"{lack[0].upper()}{lack[1:]}.", "dim")
            return
        (name, card), *_ = each.detect(settings).items()
        there = any(card.provider == kind for card in self._configured.values())
        told = f"The program `{each.program}` is on this machine"
        if there:
            self._say(f"{told}, and used.")
        while not there and self._agrees(f"  {told}. Use it?"):
            if self._fails(name, card, {}) is None or not self._agrees("  Try it again?"):
                return

    def _ask_service(self, kind: str, each: Provider) -> None:
        have = next(((n, c) for n, c in self._configured.items() if c.provider == kind), None)
        have = have or next(iter(each.detect(self._settings({})).items()), None)
        variable = self._variable(each, have[1] if have else None)
        self._show(each, variable, have)
        given: dict[str, str] = {}
        while True:
            given = self._answers(each, variable, have[1] if have else None, given)
            if not given and (have is None or have[0] in self._configured):
                return
            name, card = self._made(each, variable, have, given)
            keys = {variable: given[variable]} if variable in given else {}
            if (cause := self._fails(name, card, keys)) is None or not self._agrees("  Try again?"):
                return
            if cause in _REFUSED:
                given.pop(variable, None)

    def _variable(self, each: Provider, card: ModelCard | None) -> str:
        present = [name for name in each.key_variables if self._environ.get(name)]
        return (card and card.api_key_env) or (*present, *each.key_variables)[0]

    def _show(self, each: Provider, variable: str, have: tuple[str, ModelCard] | None) -> None:
        """Say what is set, and where."""
        if source := next((one for one, found in self._sources.items() if found.get(variable)), None):
            self._say(f"{variable} is set in {source}.")
        else:
            self._say(f"{variable} is not set. A key: {each.key_page}", "dim")
        if have and have[0] in self._configured:
            at = f" at {have[1].base_url}" if have[1].base_url else ""
            self._say(f"twobrain.toml has {plain(f'{have[0]}: {have[1].model}{at}')}")

    def _answers(
        self, each: Provider, variable: str, card: ModelCard | None, before: Mapping[str, str]
    ) -> dict[str, str]:
        """Return what was answered, by variable.

        Of a protocol, the address and model are asked too.
        """
        given: dict[str, str] = {}
        if each.is_protocol:
            shown = before.get(each.address_variable) or (card and card.base_url) or ""
            typed = self._line("  Address (empty: OpenAI's own): ", shown)
            if typed != ((card and card.base_url) or ""):
                given[each.address_variable] = typed
        at = given.get(each.address_variable) or (card and card.base_url) or ""
        if key := self._key(each, variable, elsewhere=each.is_protocol and bool(at)) or before.get(variable):
            given[variable] = key
        if each.is_protocol and (given or card):
            usual = card or next(iter(each.detect(self._settings({variable: "any"})).values()))
            shown = before.get(each.model_variable) or ("" if at and not card else usual.model)
            while not (typed := self._line("  Model: ", shown)):
                pass
            if typed != (card and card.model):
                given[each.model_variable] = typed
        return given

    def _key(self, each: Provider, variable: str, *, elsewhere: bool) -> str:
        """Return a key that may be sent there; empty: none was given."""
        while typed := _secret(self.screen, f"  {variable}: "):
            key = _PASTED.sub("", typed.strip(_AROUND)).strip(_AROUND)
            if not _KEY.fullmatch(key):
                self._say("A key is one word of plain letters, digits and signs. Again:", "yellow")
            elif not elsewhere and not each.is_own_key(key):
                self._say("That is a key of another provider, and was not sent. Again:", "yellow")
            else:
                return key
        return ""

    def _made(
        self, each: Provider, variable: str, have: tuple[str, ModelCard] | None, given: Mapping[str, str]
    ) -> tuple[str, ModelCard]:
        """Return the model that the answers make."""
        if have is None or have[0] not in self._configured:
            return next(iter(each.detect(self._settings(given)).items()))
        name, card = have
        change: dict[str, object] = {}
        if each.address_variable in given:
            change["base_url"] = given[each.address_variable] or None
        if each.model_variable in given:
            change["model"] = given[each.model_variable]
        if each.is_protocol and variable in given:
            change["api_key_env"] = variable
        return name, card.model_copy(update=change)

    def _fails(self, name: str, card: ModelCard, keys: Mapping[str, str]) -> Cause | None:
        """Call a model; keep it where it answers, or is wanted nonetheless."""
        self._say(f"Trying {plain(card.model or name)} …", "dim")
        settings = self._settings(keys)
        models = {**settings.models, **self.cards, name: card}
        heard = asyncio.run(try_model(settings.model_copy(update={"models": models}), name))
        card = card.model_copy(update=dict(heard.needed))
        good = heard.state != "bad" or bool(heard.needed)
        self._say(f"{'✓' if good else '✗'} {plain(heard.text)}", "green" if good else "red")
        refused = heard.cause in _REFUSED
        if not good and (refused or not self._agrees("  Keep it all the same?", default=False)):
            return heard.cause or "bad_request"
        self.keys |= keys
        self.cards[name] = card
        return None

    def _say(self, text: str, style: str = "", *, indent: int = 2) -> None:
        """Print a paragraph, broken between words, all of it indented."""
        self.screen.side.print(Padding(Text(text, style), (0, 0, 0, indent)))

    def _line(self, question: str, shown: str) -> str:
        return asyncio.run(LinePrompt(self.screen).line(question, shown))

    def _agrees(self, question: str, *, default: bool = True) -> bool:
        """Ask for yes or no; Enter is the default."""
        while True:
            said = self._line(f"{question} [{'Y/n' if default else 'y/N'}] ", "").lower()
            if said in {"", "y", "yes", "n", "no"}:
                return said.startswith("y") if said else default


def _secret(screen: Screen, question: str) -> str:
    """Return what was typed, unseen; prompt_toolkit shows it where TERM is dumb."""
    while True:
        try:
            with warnings.catch_warnings(action="error"):
                return getpass.getpass(question)
        except UnicodeDecodeError:
            screen.note("  That was no text. Again:", "yellow")
        except getpass.GetPassWarning:
            raise ConfigurationError(
                "This terminal cannot hide what is typed, so no key is asked for."
            ) from None
        except EOFError:
            raise LeftError from None


def _tell(screen: Screen, folder: Path, interview: _Interview, written: list[Path]) -> None:
    """Say what was written, what serves, and what comes next."""
    screen.note("")
    for path in written:
        screen.note(f"Wrote {path}")
    if not written:
        screen.note("Nothing was changed.")
    for name, place in interview.overruled():
        screen.side.print(
            f"{name} in {place} wins over what was written: take it away there.", style="yellow"
        )
    settings = load_settings()
    own, used = folder / "twobrain.toml", config_path(settings.secret("TWOBRAIN_CONFIG"))
    if used and used.absolute() != own:
        screen.side.print(f"Here {used} is read, and {own} is not.", style="yellow")
    registry = ModelRegistry(settings)
    in_use = {name for names in registry.roles.values() for name in names}
    unused = [name for name in interview.cards if name not in in_use]
    if unused and used == own:
        screen.side.print(
            f"[roles] in {own} names {', '.join(unused)} nowhere, so it is not used.", style="yellow"
        )
    screen.side.print(_serving(registry), style="bold")
    if commands := how_to_reach():
        screen.note("\nSo that `twobrain` is found everywhere:")
        for command in commands:
            screen.note(f"  {command}")
    screen.note("\nTry it:")
    screen.note(f"""  {how_to_call()} ask 'write "buy milk" to notes.txt'""")


def _serving(registry: ModelRegistry) -> str:
    plans, writes = (registry.first_name(role, LOCAL) for role in ("orchestrator", "chat"))
    if registry.is_offline:
        return "Without keys two offline brains serve: rules, not language models."
    if not registry.is_two_brain("orchestrator", LOCAL) or plans == writes:
        return f"{plans} plans, works with tools and answers."
    return f"{plans} plans and works with tools, {writes} writes the answers."
