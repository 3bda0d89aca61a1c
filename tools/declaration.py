"""Tool, and the decorator that makes one from a function.

    @tool(effect="write")
    def shout(here: Here, words: Annotated[str, "what to shout"]) -> str:
        '''Shout words in the workspace.'''

The docstring is what the model reads. `here` may be left out; the other parameters are the
model's arguments. A plain `def` runs in a thread, so it may block; an `async def` may not.
"""

import copy
import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypedDict,
    Unpack,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from base.settings import ROLES, Settings
from base.tasks import within
from base.users import Role
from base.worker_threads import in_thread
from ledger.records import fingerprint
from schedules.schedules import Schedules
from storage.long_results import LongResults
from tools.schema import ArgumentsError, shown_schema, unstorable

__all__ = [
    "ArgumentsError",
    "Effect",
    "Here",
    "Kind",
    "OutcomeUnknown",
    "Tool",
    "ToolFailure",
    "Undo",
    "Untrusted",
    "tool",
]

Effect = Literal["read", "write", "send", "execute"]
Likeness = Literal["same", "folder", "any"]
"""How far an argument of calls of one kind may differ: not at all; by the name of a file in one folder, with
one ending; however it likes."""

LARGEST_UNDO = 1_000_000
"""Bytes of what a call changes that are stored, so that it can be undone."""
WHY_NOT = "why_not"
"""Key in the record of a call that cannot be undone: why, in a sentence."""
PREVIEW_TIMEOUT_S = 5
VERIFY_TIMEOUT_S = 20


class Untrusted(str):
    """Untrusted content from a tool that is not declared so."""

    __slots__ = ()


class ToolFailure(Exception):  # noqa: N818 (a result for the model, not an error of ours)
    """A tool cannot do what was asked; its text becomes the result."""

    def told(self, what: str) -> str:
        """Return the result, untrusted where the failure's text is."""
        kind = Untrusted if any(isinstance(each, Untrusted) for each in self.args) else str
        return kind(f"{what}: {self}")


class OutcomeUnknown(ToolFailure):
    """Nobody can tell whether what was asked was done."""


class Passage(NamedTuple):
    """What was said in a past conversation, around what is looked for."""

    by_person: bool
    text: str
    untrusted: bool
    """It was written after untrusted content, or nobody can tell."""


class PastConversation(NamedTuple):
    """One of the person's conversations that was found."""

    thread: str
    title: str
    """Empty where it is not the person's words."""
    at: float
    """When it was last used, in Unix seconds."""
    passages: Sequence[Passage]


class FoundConversations(NamedTuple):
    """What a search found, the best first."""

    found: Sequence[PastConversation]
    others: int
    """That were found, too, and are not shown."""
    unread: int
    """The oldest, for which the time did not last."""


class PastConversations(Protocol):
    """The conversations that are kept; of each user only theirs."""

    async def search(self, user: str, query: str, *, besides: str = "") -> FoundConversations:
        """Find a user's conversations, one left out; raises StorageError."""


class LogUndo(Protocol):
    """Puts the record that undoes a call on disk; blocks."""

    def __call__(self, record: dict[str, Any], *, first: bool = False) -> None:
        """Store plain data; `first`: unless an earlier run of the call did."""


def _log_nothing(record: dict[str, Any], *, first: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Here:
    """The call context: who calls a tool, and from where."""

    settings: Settings
    user: str
    user_role: Role
    thread_id: str
    call_id: str
    idempotency_key: str
    """The same when a call is run again after a crash."""
    store: Any = None
    """LangGraph's store; None where the graph has none."""
    offered: "Callable[[], Sequence[Tool]]" = tuple
    """Returns the tools that may be called for this user."""
    sources: frozenset[str] = frozenset()
    """The untrusted content that the call was made after; empty: there is none."""
    long_results: LongResults | None = None
    """Where results are that were too long to be shown; None: nowhere."""
    log_undo: LogUndo = _log_nothing
    """Called before a call takes effect, with all that its undo needs: how it was, and how it is left."""
    schedules: Schedules | None = None
    """What is planned; None: nothing can be."""
    conversations: PastConversations | None = None
    """The person's other conversations; None: none are kept."""

    @property
    def tainted(self) -> bool:
        """The call was made after untrusted content."""
        return bool(self.sources)


Run = Callable[[Here, dict[str, Any]], Coroutine[Any, Any, Any]]
Check = Callable[[dict[str, Any]], dict[str, Any]]
Canonical = Callable[[dict[str, Any]], dict[str, Any]]
Preview = Callable[[Here, dict[str, Any]], Awaitable[str | None]]
Verify = Callable[[Here, dict[str, Any]], Awaitable[bool | None]]
Missing = Callable[[Settings], str | None]
Location = Callable[[Settings, str, dict[str, Any]], Path | None]


async def _nothing_said(_here: Here, _args: dict[str, Any]) -> None: ...


def _nothing_missing(_settings: Settings) -> None: ...


def _nowhere(_settings: Settings, _user: str, _args: dict[str, Any]) -> None: ...


def _as_they_are(args: dict[str, Any]) -> dict[str, Any]:
    return args


@dataclass(frozen=True, slots=True)
class Undo:
    """How a call is undone: functions of `here` and its record."""

    preview: Callable[[Here, dict[str, Any]], Any]
    """Says exactly what it would do; raises ToolFailure where the world is not as the call left it."""
    run: Callable[[Here, dict[str, Any]], Any]
    """Does it, and raises likewise."""
    verify: Callable[[Here, dict[str, Any]], Any]
    """Tells whether an earlier run took effect, as that of `Tool` does."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Which calls of a tool one rule may cover."""

    words: str
    """What they are in plain words, such as `Mails to {to}`."""
    alike: Mapping[str, Likeness]
    """The arguments that make the kind; whatever the others are, a call is of it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tool:
    """Something a model may do; no two are equal."""

    name: str
    description: str
    """For the model."""
    parameters: dict[str, Any]
    """JSON schema of the arguments; unknown names are refused."""
    run: Run
    """Does it. Whatever it returns besides text is shown as JSON."""
    check: Check
    """Returns validated, coerced arguments; raises ArgumentsError."""
    effect: Effect
    label: str = ""
    """What people read in a terminal; empty: its name. Never its maker's words where that is a stranger."""
    canonical: Canonical = _as_they_are
    """Returns checked arguments in the one form of all that mean the same, such as `a.txt` and `./a.txt`;
    raises ToolFailure or ValueError where they have none."""
    original: Canonical = _as_they_are
    """Returns arguments by their own names, where models know them by others; raises ValueError."""
    role: Role = "user"
    """The least trusted role that may use it."""
    confirm: bool = True
    """True: a person must agree to each call."""
    idempotent: bool = False
    """True: after a crash a call may be run again unasked."""
    timeout_s: float | None = None
    """Seconds a call may take; None: the general limit."""
    at_once: int | None = None
    """Calls of this tool at work at once in this process, at least 1; None: no limit of its own."""
    verify: Verify | None = None
    """Asks the world whether an earlier call with these checked arguments and this idempotency key took
    effect: True, it did; False, it did not, and never will; None, nobody can tell. Never raises.
    None for a tool that cannot ask."""
    untrusted: bool = False
    """True: results hold text that others wrote, never instructions. False: those that are `Untrusted` do."""
    untrusted_definition: bool = False
    """True: others wrote its name, description and parameters, and nobody has agreed to them."""
    outbound: bool = False
    """True: a call's arguments, a URL for one, reach whoever they name, so that a read can carry data out."""
    objection: Preview = _nothing_said
    """Says why a call with these checked arguments cannot run, so that nobody is asked about it; None: it may
    run. Asks only what is near at hand, and never raises."""
    preview: Preview = _nothing_said
    """The exact effect in words, for the person who confirms; None where there is no more to say than the
    call. The same until the effect is another: a yes is to what it said. Never raises."""
    undo: Undo | None = None
    """How a call is undone, by what it gave to `here.log_undo`; None: it cannot be."""
    missing: Missing = _nothing_missing
    """Which configuration the tool lacks, in words; None: it is available."""
    location: Location = _nowhere
    """Where on this machine a user's call with these arguments acts, told to whoever sits at it alone; None:
    nowhere. Raises ToolFailure where it cannot act."""
    kind: Kind | None = None
    """None: calls with the very same arguments, all of them short texts."""
    caution: str | None = None
    """Why it asks whatever was agreed beforehand, such as that its definition changed; None: no reason to."""
    always_asks: str | None = None
    """Why no rule may ever cover it, and each call asks; None: one may."""

    def spec(self) -> dict[str, Any]:
        """Return the tool in OpenAI's format, the caller's to change."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": copy.deepcopy(function)}

    @property
    def definition(self) -> str:
        """The SHA-256, in hex, of what it says of itself."""
        said = json.dumps([self.spec(), self.effect], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def own_args(self, args: dict[str, Any]) -> dict[str, Any]:
        """Return arguments by their own names, for people and records."""
        with suppress(ValueError):  # such as one that is given twice, which the check tells
            return self.original(args)
        return args

    def canonical_args(self, args: Any) -> dict[str, Any]:
        """Return arguments in the one form by which calls are compared.

        They are checked, and complete.

        Raises:
            ArgumentsError: they do not fit.
        """
        described = self.parameters.get("properties", {})
        defaults = {name: each["default"] for name, each in described.items() if "default" in each}
        whole = {**defaults, **self.check(args)}
        with suppress(ToolFailure, ValueError):
            whole = self.canonical(whole)
        return whole

    def fingerprint(self, args: Mapping[str, Any]) -> str:
        """Return what is the same for calls that it takes alike.

        By it a denial, a repetition and an approval are known, and by it the ledger knows a call again.
        """
        with suppress(TypeError, ValueError):  # of what it does not take, the arguments as they are
            args = self.canonical_args(args)
        return fingerprint(self.name, args)

    def declared(self) -> frozenset[str]:
        """Return its arguments' own names; none where nobody can tell."""
        shown: dict[str, Any] = {name: {} for name in self.parameters.get("properties", {})}
        return frozenset(self.own_args(shown))

    def open_to(self, role: str) -> bool:
        """Tell whether a role may use it; an unknown one may not."""
        return role in ROLES[ROLES.index(self.role) :]


class Properties(TypedDict, total=False):
    """Fields of `Tool` that a declaration gives as they are."""

    label: str
    role: Role
    timeout_s: float | None
    at_once: int | None
    untrusted: bool
    outbound: bool
    undo: Undo | None
    missing: Missing
    canonical: Canonical
    kind: Kind | None
    always_asks: str | None


def tool(  # noqa: PLR0913 (what is made of a function, each)
    *,
    effect: Effect,
    confirm: bool | None = None,
    idempotent: bool | None = None,
    objection: Callable[..., Any] | None = None,
    preview: Callable[..., Any] | None = None,
    verify: Callable[..., Any] | None = None,
    **properties: Unpack[Properties],
) -> Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function.

    The options are the fields of `Tool`, but for these:
        confirm: None: everything but a read asks first.
        idempotent: None: a read is.
        objection: a function of the same parameters that raises ToolFailure where the call cannot run.
        preview: a function of the same parameters that returns the exact effect in words, or None.
        verify: a function of the same parameters that asks the world whether an earlier call of the same
            `here.idempotency_key` took effect: True, False (it did not, and never will), or None.
    """

    def declare(function: Callable[..., Any]) -> Tool:
        model = _model_of(function)
        parameters = {**shown_schema(model.model_json_schema()).parameters, "additionalProperties": False}
        return Tool(
            name=model.__name__,
            description=inspect.getdoc(function) or "",
            parameters=parameters,
            run=_call_of(function),
            check=_checker(model, parameters),
            effect=effect,
            confirm=effect != "read" if confirm is None else confirm,
            idempotent=effect == "read" if idempotent is None else idempotent,
            objection=_objected(objection) if objection else _nothing_said,
            preview=_shown(preview) if preview else _nothing_said,
            verify=_verified(verify) if verify else None,
            **properties,
        )

    return declare


def _wants_here(function: Callable[..., Any]) -> bool:
    """Tell whether the first parameter is `here`, which no model sees."""
    return next(iter(inspect.signature(function).parameters), "") == "here"


def _model_of(function: Callable[..., Any]) -> type[BaseModel]:
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[_wants_here(function) :]
    fields: dict[str, Any] = {
        each.name: (_described(hints[each.name]), ... if each.default is each.empty else each.default)
        for each in parameters
    }
    config = ConfigDict(extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)
    return create_model(getattr(function, "__name__", "arguments"), __config__=config, **fields)


def _described(hint: Any) -> Any:
    """Make the words of `Annotated[str, "words"]` a field's description."""
    if get_origin(hint) is not Annotated:
        return hint
    kind, *notes = get_args(hint)
    for note in notes:
        kind = Annotated[kind, Field(description=note) if isinstance(note, str) else note]
    return kind


def _checker(model: type[BaseModel], parameters: dict[str, Any]) -> Check:
    """Return a check that coerces arguments; those left out stay out.

    So does null where it says the same.
    """
    void = {name for name, field in model.model_fields.items() if field.default is None}

    def check(args: dict[str, Any]) -> dict[str, Any]:
        try:
            given = model.model_validate(args).model_dump(mode="json", exclude_unset=True)
            checked = {name: value for name, value in given.items() if value is not None or name not in void}
            problems = unstorable(checked)
        except ValidationError as error:
            problems = [_problem(each) for each in error.errors()]
        if problems:
            raise ArgumentsError(model.__name__, problems, parameters)
        return checked

    return check


def _problem(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{place!r} is missing"
    if error["type"] == "extra_forbidden":
        return f"there is no argument {place!r}"
    return f"{place!r}: {error['msg']}" if place else "expected an object of arguments by name"


def _call_of(function: Callable[..., Any]) -> Run:
    takes_here = _wants_here(function)

    async def run(here: Here, args: dict[str, Any]) -> Any:
        call = partial(function, here, **args) if takes_here else partial(function, **args)
        return await call() if inspect.iscoroutinefunction(function) else await in_thread(call)

    return run


async def _soon(seconds: float, coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await within(seconds, coroutine, cancellations=1, wait_s=0.1)


def _shown(preview: Callable[..., Any]) -> Preview:
    show = _call_of(preview)

    async def shown(here: Here, args: dict[str, Any]) -> str | None:
        try:
            text = await _soon(PREVIEW_TIMEOUT_S, show(here, args))
        except ToolFailure as failure:
            text = f"This will fail: {failure}"
        except Exception:  # the person can still decide on the bare call
            return None
        return here.settings.redact(text) if text else None

    return shown


def _objected(objection: Callable[..., Any]) -> Preview:
    look = _call_of(objection)

    async def objected(here: Here, args: dict[str, Any]) -> str | None:
        try:
            await _soon(PREVIEW_TIMEOUT_S, look(here, args))
        except ToolFailure as failure:
            return str(failure)
        except Exception:  # the call itself will tell
            return None
        return None

    return objected


def _verified(verify: Callable[..., Any]) -> Verify:
    ask = _call_of(verify)

    async def verified(here: Here, args: dict[str, Any]) -> bool | None:
        try:
            found = await _soon(VERIFY_TIMEOUT_S, ask(here, args))
        except Exception:  # whatever went wrong, nothing is known
            return None
        return found if isinstance(found, bool) else None

    return verified
