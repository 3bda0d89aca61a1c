"""A call of one token to a model, and what that shows."""

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from langchain_core.messages import AIMessage, HumanMessage

from base.data_dir import LEDGER
from base.errors import Cause, ModelError, NoModelAnsweredError, StorageError
from base.settings import LOCAL, ModelCard, Settings
from base.tasks import within
from ledger.ledger import Ledger
from ledger.usage import DOCTOR
from models.call import Ask, Attempt, Caller
from models.catalog import ModelRegistry
from models.failures import USED_UP
from nodes.turn.meter import use_of

_TOKENS, _MORE_TOKENS = 1, 16
"""Most that it may say; some take no limit as low as the first."""
_TIMEOUT_S = 30.0
_LONGEST_S = 90.0
"""Of all calls to a model; each has a limit of its own."""
_MENDED: frozenset[Cause] = frozenset({"bad_request", "unsupported", "malformed"})
_TOOL = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Tell the time in a time zone.",
        "parameters": {
            "type": "object",
            "properties": {"timezone": {"type": "string", "description": "such as Europe/Paris"}},
            "required": ["timezone"],
        },
    },
}


@dataclass(frozen=True, slots=True)
class _Flag:
    """What to change on a card where an error speaks of it."""

    line: str
    """As it stands in the model's table; empty: only this trial needs it."""
    told: re.Pattern[str]
    change: Mapping[str, Any]


_REFUSAL_WORDS = "(?=.*(not supported|unsupported|unknown|unrecogni[sz]ed|not permitted|not allowed|instead))"
_LIMIT_FLAGS = tuple(
    _Flag(
        f'output_limit_parameter = "{name}"',
        re.compile(rf"{_REFUSAL_WORDS}.*\b{other}\b", re.IGNORECASE | re.DOTALL),
        {"output_limit_parameter": name},
    )
    for other, name in (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens"))
)
"""What only a card that limits its output needs."""
_FLAGS = (
    _Flag("tools = false", re.compile("takes no .*tools"), {"tools": False}),
    _Flag("no temperature", re.compile("temperature", re.IGNORECASE), {"temperature": None}),
    _Flag("streaming = false", re.compile(r"\bstream", re.IGNORECASE), {"streaming": False}),
    *_LIMIT_FLAGS,
    _Flag("", re.compile(r"max_(\w+_)?tokens", re.IGNORECASE), {"max_output_tokens": _MORE_TOKENS}),
)


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of the calls to one model."""

    state: Literal["good", "note", "bad"]
    text: str
    cause: Cause | None = None
    """Why it cannot be used as its card has it; None: it answered."""
    needed: Mapping[str, Any] = field(default_factory=dict)
    """What its card needs to say for it to answer."""


async def call_model(settings: Settings, name: str, user: str, ledger: Ledger | None) -> Heard:
    """Call a model as a turn of this user would.

    What an error says that it does not take is left out of one more call. Each call is recorded, where there
    is a ledger, under the role `doctor`.
    """
    cards = dict(ModelRegistry(settings).cards())
    card = cards[name]
    limits = {"max_output_tokens": _TOKENS, "max_retries": 0, "timeout_s": min(card.timeout_s, _TIMEOUT_S)}
    tried, flags, first = card.model_copy(update=limits), list[_Flag](), ""
    while True:
        trial = _Trial(settings.model_copy(update={"models": {**cards, name: tried}}), name, user, ledger)
        error = await trial.run()
        if error is None:
            return _answered(card, trial, flags, first)
        first = first or str(error)
        further = (each for each in _FLAGS if each not in flags and _helps(each, tried, error))
        flag = next(further, None)
        if flag is None:
            return Heard("bad", first, error.cause)
        tried = tried.model_copy(update=dict(flag.change))
        flags.append(flag)


async def try_model(settings: Settings, name: str) -> Heard:
    """Call a model, whatever comes of it; recorded where that works."""
    ledger = None
    with suppress(StorageError):  # a key can be tried all the same
        ledger = await Ledger.open(settings.database_url or settings.data_dir / LEDGER, settings.redact)
    try:
        heard = await within(
            _LONGEST_S, call_model(settings, name, LOCAL, ledger), cancellations=2, wait_s=1.0
        )
    except Exception as error:  # of any client, such as of an address that is none
        heard = Heard("bad", f"It cannot be used: {str(error) or type(error).__name__}", "bad_request")
    finally:
        if ledger:
            await ledger.close()
    return replace(heard, text=settings.redact(heard.text))


class _Trial:
    """One call, and what was seen of it."""

    def __init__(self, settings: Settings, name: str, user: str, ledger: Ledger | None) -> None:
        self._settings = settings
        self._name = name
        self._user = user
        self._ledger = ledger
        self.message: AIMessage | None = None
        self.attempt: Attempt | None = None
        self.seconds = 0.0

    async def run(self) -> ModelError | None:
        """Return why the model cannot be used so; None: it answered."""
        caller = Caller(self._settings)
        ask = Ask(self._name, [HumanMessage("Say yes.")], self._user, tools=[_TOOL], hidden=True)
        begun = time.monotonic()
        try:
            self.message = (await caller.call(ask, self._record)).message
        except NoModelAnsweredError as error:
            failure = error.failures[self._name]
            return None if USED_UP in str(failure) else failure  # it thinks before it speaks
        finally:
            self.seconds = time.monotonic() - begun
            await caller.close()
        return None

    async def _record(self, attempt: Attempt) -> None:
        self.attempt = attempt
        if self._ledger:
            now = self._ledger.now()
            use = use_of(attempt, DOCTOR, DOCTOR, self._user, path="direct", role=DOCTOR, at=now)
            self._ledger.record_usage(use)


def _helps(flag: _Flag, card: ModelCard, error: ModelError) -> bool:
    """Tell whether an error speaks of what a flag would change."""
    is_new = any(getattr(card, name) != value for name, value in flag.change.items())
    return error.cause in _MENDED and is_new and bool(flag.told.search(str(error)))


def _answered(card: ModelCard, trial: _Trial, flags: list[_Flag], first: str) -> Heard:
    told = [f"answered in {trial.seconds:.1f} s"]
    metadata = trial.message.response_metadata if trial.message else {}
    answering = metadata.get("model_name") or metadata.get("model") or card.model
    if answering != card.model:
        told.append(f"by {answering}")
    if trial.attempt and trial.attempt.usage is None:
        told.append("it reports no usage: tokens are estimated")
    elif trial.attempt and trial.attempt.cost_usd is None:
        told.append("its price is not known: price = { input = …, output = … } counts its cost")
    needed = [flag for flag in flags if flag.line and (card.max_output_tokens or flag not in _LIMIT_FLAGS)]
    if needed:
        lines = " and ".join(flag.line for flag in needed)
        change = {name: value for flag in needed for name, value in flag.change.items()}
        return Heard("bad", f"{first} It {'; '.join(told)} with {lines} on its card.", needed=change)
    if advised := [flag.line for flag in flags if flag.line]:
        told.append(f"with max_output_tokens its card needs {advised[0]}")
    return Heard("note" if advised else "good", "; ".join(told))
