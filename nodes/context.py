"""The choices of one run: path, limits, how long a question waits."""

import ast
import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Literal, TypeVar

from langgraph.runtime import Runtime
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from base.errors import ConfigurationError
from base.run_context import PathChoice
from base.settings import LOCAL, ROLES, Settings, UserCard
from base.users import Role
from tools.policy.decision import Person
from tools.policy.rules import Rule

Model = TypeVar("Model", bound=BaseModel)


def docstrings_of(model: type[BaseModel]) -> dict[str, str]:
    """Return what stands under each field of a class."""
    module = ast.parse(inspect.getsource(sys.modules[model.__module__]))
    return {
        field.target.id: inspect.cleandoc(str(words.value.value))
        for found in module.body
        if isinstance(found, ast.ClassDef) and found.name == model.__name__
        for field, words in pairwise(found.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant)
    }


def _described(model: type[Model]) -> type[Model]:
    """Describe an unbuilt class's fields by their docstrings.

    pydantic's own `use_attribute_docstrings` looks for the class in the files of all modules there are, which
    takes 40 ms of a process's start.
    """
    for name, words in docstrings_of(model).items():
        model.model_fields[name].description = words
    return model


@_described
class Context(BaseModel):
    """How one turn is to be run.

    A server stores it with every checkpoint, so it holds no secret.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    path: PathChoice = "auto"
    """auto: a Google or offline planner hands over to a responder, other models answer themselves.
    two-brain: one model gathers, another writes. single: one model does both. direct: chat, no tools."""
    orchestrator: str = Field(default="orchestrator", min_length=1)
    """Role or model that reasons and calls tools."""
    responder: str = Field(default="chat", min_length=1)
    """Role or model that writes the answer."""
    respond: bool = True
    """False: the planner's summary is the answer; for background work."""
    system_prompt: str = Field(default="", max_length=50_000)
    """Persona, given to the model that writes the answer."""
    user: str = Field(default=LOCAL, min_length=1, max_length=200)
    """Who asks, in library mode; on a server the authenticated user, or local where nobody is."""
    user_role: Role | None = None
    """guest, user or admin; None: what twobrain.toml says of the user. On a server it can only lower that."""
    tools: list[str] | None = None
    """Names of the only tools to offer; None: all that the role allows. It never widens a role."""
    confirm_allow: list[str] = []
    """Tools that run unasked for this user; a server's client can only narrow what twobrain.toml allows."""
    confirm_deny: list[str] = []
    """Tools that always ask first; wins over confirm_allow."""
    max_rounds: int | None = Field(default=None, ge=1, le=1_000)
    """Most planner calls in this turn; the smallest of this, the model's and the global limit holds."""
    max_tool_calls: int | None = Field(default=None, ge=1, le=1_000_000)
    """Most tool calls in this turn."""
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000_000_000)
    """Most input and output tokens in this turn."""
    max_cost_usd: float | None = Field(default=None, gt=0)
    """Most US dollars in this turn, where prices are known."""
    deadline_s: float | None = Field(default=None, gt=0)
    """Most seconds this turn may work, its tools too; a person's thinking time is not counted, and what they
    approve still runs."""
    confirmation: Literal["auto", "model", "template"] = "auto"
    """Who explains a confirmation: the planner in its own words (model), or a fixed template. auto: the
    planner, but on a server the template: people's programs show the planner's words nowhere."""
    confirm_ttl_s: float | None = Field(default=None, gt=0)
    """Seconds after which an approval is refused as expired; None: never."""

    @model_validator(mode="before")
    @classmethod
    def _has_no_others(cls, given: Any) -> Any:
        """Name the nearest field where a name is none."""
        fields = list(cls.model_fields)
        names = given if isinstance(given, Mapping) else ()
        if unknown := [_unknown(str(name), given[name], fields) for name in names if name not in fields]:
            raise ValidationError.from_exception_data(cls.__name__, unknown)
        return given


def _unknown(name: str, value: Any, fields: list[str]) -> InitErrorDetails:
    near = get_close_matches(name, fields, n=1)
    told = (f"Did you mean {near[0]!r}? " if near else "") + f"Fields there are: {', '.join(fields)}"
    words = PydanticCustomError(
        "unknown_field", "There is no field {name}. {told}", {"name": repr(name), "told": told}
    )
    return InitErrorDetails(type=words, loc=(name,), input=value)


def context_of(runtime: Runtime[Context], chosen: Mapping[str, Any]) -> Context:
    """Return the run's context, completed by the choices that began the turn.

    A resume seldom repeats the context. `chosen` are `choices_of` the turn's; empty for a new turn.
    """
    given: Any = runtime.context
    if isinstance(given, Context) and chosen.keys() <= given.model_fields_set:
        return given
    said = choices_of(given) if isinstance(given, Context) else dict(given or {})
    return Context.model_validate({**chosen, **said})


CHOSEN = ("path", "orchestrator", "responder", "system_prompt")
"""What of a context says who answers, and as whom."""


def may_choose(card: UserCard) -> bool:
    """Tell whether a client may choose a user's models and persona."""
    return card.role != "guest"


def with_defaults(context: Context, card: UserCard, *, served: bool) -> Context:
    """Complete a context by what its user's table says.

    What a client (`served`), or a user who has approvers, says for one who may choose nothing does not count.
    """
    own = {"path": card.path, "orchestrator": card.model, "responder": card.writer}
    defaults = {name: value for name, value in own.items() if value is not None}
    if (served or card.approvers) and not may_choose(card):
        usual = {name: Context.model_fields[name].default for name in CHOSEN}
        return context.model_copy(update={**usual, **defaults})
    unsaid = {name: value for name, value in defaults.items() if name not in context.model_fields_set}
    return context.model_copy(update=unsaid) if unsaid else context


def choices_of(context: Context) -> dict[str, Any]:
    """Return what was chosen explicitly, as plain data."""
    return context.model_dump(mode="json", exclude_unset=True)


@dataclass(frozen=True, slots=True)
class Answerer:
    """An approver who answers a user's turn, which stays that user's."""

    user: str
    by: str


ANSWERER = "__twobrain_answerer"
"""Key in a run's `configurable`: the `Answerer`, where it is not the user. No client can send one."""


def answerer_of(configurable: Mapping[str, Any]) -> Answerer | None:
    """Return who answers in place of a turn's user."""
    found = configurable.get(ANSWERER)
    return found if isinstance(found, Answerer) else None


def is_served(configurable: Mapping[str, Any]) -> bool:
    """Tell whether a server runs it, as LangGraph tells."""
    marks = ("langgraph_auth_user", "assistant_id", "graph_id")
    return any(configurable.get(mark) is not None for mark in marks)


def asks(configurable: Mapping[str, Any], context: Any, settings: Settings) -> str | None:
    """Return who begins a run, None where nobody says.

    Raises:
        ConfigurationError: users have tokens, and the server asked for none.
    """
    if is_served(configurable):
        return _authenticated(configurable.get("langgraph_auth_user"), settings)
    said = context if isinstance(context, Context) else Context.model_validate(context or {})
    return said.user if "user" in said.model_fields_set else None


def person_of(
    context: Context, runtime: Runtime[Context], settings: Settings, answerer: Answerer | None = None
) -> Person:
    """Return for whom a turn runs, on a server whom it authenticated.

    Raises:
        ConfigurationError: users have tokens, and the server asked for none.
        UnknownUserError: there are users, and this is none.
    """
    server = runtime.server_info
    name = context.user
    if server:
        name = _authenticated(server.user, settings)
    name = answerer.user if answerer else name
    card = settings.user(name)
    role = context.user_role or card.role
    if narrows := server or card.approvers:  # a client, or who must be asked about, lowers it at the most
        role = min(card.role, role, key=ROLES.index)
    allow = set(card.confirm_allow)
    if context.confirm_allow:
        asked = set(context.confirm_allow)
        allow = asked & allow if narrows else asked | allow
    return Person(
        user=name,
        role=role,
        tools=_common(card.tools, context.tools),
        confirm_allow=frozenset(allow),
        confirm_deny=frozenset(card.confirm_deny) | frozenset(context.confirm_deny),
        rules=tuple(Rule(rule.tool, rule.where) for rule in card.rules),
        approvers=card.approvers,
    )


def _common(*allowed: Iterable[str] | None) -> frozenset[str] | None:
    """Return what all allow-lists name; None: there is none."""
    given = [frozenset(names) for names in allowed if names is not None]
    return frozenset.intersection(*given) if given else None


def _authenticated(user: Any, settings: Settings) -> str:
    """Return whom the server authenticated, else `local`."""
    name = getattr(user, "identity", "")
    users = settings.known_users
    if users.guarded and not (name and getattr(user, "is_authenticated", True)):
        raise ConfigurationError(
            "Users have tokens, and this server did not ask for one. Name server/auth.py in its "
            "langgraph.json, as this project's does."
        )
    if not users.may_enter(name):
        raise ConfigurationError(
            f"{name!r} has no token, so nothing is done for them. `twobrain users add` gives them one."
        )
    return name or LOCAL
