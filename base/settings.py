"""The environment and the tables of twobrain.toml: models, users, limits, server.

Nothing here holds a key: a card names the environment variable, `Settings.secret` reads it
where a model is opened, and `Settings.redact` strips every such value from any text.
"""

import itertools
import logging
import os
from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from base.environment import (
    TimeZone,
    at_home,
    checked_url,
    config_path,
    explained,
    machine_zone,
    read_dotenv,
    read_toml,
    time_zone,
    variables_in,
    where,
)
from base.errors import ConfigurationError, UnknownUserError
from base.redaction import redacted, secrets_of
from base.run_context import PathChoice
from base.users import Added, AddedUsers, Digest, Role, Stamp, Users, UsersFile, stamp
from base.webhooks import Webhook

LOCAL = "local"
"""Whoever asks where nobody is authenticated."""
OWN_HOST = "TWOBRAIN_SERVER_HOST"
"""Variable by which `twobrain serve` tells the server what `--host` named."""
ROLES: tuple[Role, ...] = ("guest", "user", "admin")
"""Least to most trusted."""

Table = TypeVar("Table", bound=BaseModel)

_log = logging.getLogger(__name__)


class Card(BaseModel):
    """A table of twobrain.toml, frozen; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class LoginCard(Card):
    """The table of a server that may ask for a login."""

    user: str | None = None
    """None: the server asks for no login."""
    password_env: str | None = None
    """Name of the environment variable that holds the password."""

    @model_validator(mode="after")
    def _logs_in_with_both(self) -> Self:
        if (self.user is None) != (self.password_env is None):
            raise ValueError("user and password_env are needed both or neither")
        return self

    def missing(self, settings: "Settings", server: str) -> str | None:
        """Say how to set the missing password; None: nothing is missing."""
        if self.password_env and not settings.secret(self.password_env):
            return f"set the variable {self.password_env} to the {server}'s password"
        return None

    def login(self, settings: "Settings") -> tuple[str, str] | None:
        """Return user and password; None: the server asks for no login."""
        password = settings.secret(self.password_env) if self.password_env else None
        return (self.user, password) if self.user and password else None


class Price(Card):
    """US dollars per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    """For input tokens read from the provider's cache; None means the price of `input`."""


class ModelCard(Card):
    """One `[models.NAME]` table: which model, where, and its limits."""

    provider: str
    """google, openai (and all that speaks its chat completions), anthropic, claude-code or offline."""
    model: str = ""
    """The provider's own name of the model; `planner` or `writer` where the provider is offline."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key, never the key; None: the SDK's usual name."""
    base_url: str | None = None
    """None: the provider's public endpoint."""
    host: Literal["openai", "openwebui"] = "openai"
    """`openwebui`: `/api` is appended to base_url; `openai`: base_url as it is."""
    context_window: int | None = Field(default=None, ge=1_000)
    """Tokens; None where unknown, counted as 32,000."""
    max_rounds: int | None = Field(default=None, ge=1, le=1_000)
    """Most planner calls in a turn; None leaves it to the other limits."""
    tools: bool = True
    """False: the model is never offered tools."""
    streaming: bool = True
    """False: the endpoint is asked for whole answers."""
    thinks_first: bool = False
    """True: replies begin within thoughts, whose first tag (`<think>`) the chat template puts into prompts.
    Else the first such reply tells, of which the thoughts are heard until they end."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """None: the provider's default."""
    max_output_tokens: int | None = Field(default=None, ge=1)
    """Longest answer in tokens; None: the provider's default."""
    output_limit_parameter: Literal["max_tokens", "max_completion_tokens"] | None = None
    """Its name in chat completions; None: max_completion_tokens at OpenAI itself, max_tokens elsewhere."""
    timeout_s: float = Field(default=120, gt=0, le=3_600)
    """Seconds one call may take, its retries included."""
    max_retries: int = Field(default=2, ge=0, le=10)
    """Repeats of a call after a rate limit, an overload or a broken connection."""
    label: str = ""
    """What a person sees; empty: the model's name."""
    price: Price | None = None
    """None: looked up by model name, unknown where it is not listed."""


class RuleCard(Card):
    """One `[[users.NAME.rules]]` table: calls that run unasked for this user."""

    tool: str
    """The tool's name."""
    where: Mapping[str, str] = Field(min_length=1)
    """Argument to a pattern (`*`, `?`, `[…]`) that its text must match; each must be there."""


_HOURS = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"
Place = Annotated[str, Field(pattern=r"^(page|telegram|matrix|[A-Z][A-Z0-9_]*)$")]
"""Where somebody is told."""


class UserCard(Card):
    """One `[users.NAME]` table."""

    role: Role = "user"
    """guest, user or admin."""
    token_sha256: Digest | None = None
    """SHA-256, in hex, of this user's token on the server; once a user has one, nobody is let in without."""
    keys: Mapping[str, str] = {}
    """Model name to the environment variable that holds this user's own key for it."""
    tools: tuple[str, ...] | None = None
    """The only tools for this user, as far as the role allows them; None: all of the role."""
    roles: Mapping[str, tuple[str, ...]] = {}
    """Role to this user's models, instead of what [roles] says; then no other model can be chosen."""
    path: PathChoice | None = None
    """The path of turns that name none, as of the next two; None: auto."""
    model: str | None = Field(default=None, min_length=1)
    """Role or model that reasons and calls tools; None: the role orchestrator."""
    writer: str | None = Field(default=None, min_length=1)
    """Role or model that writes the answer; None: the role chat."""
    persona: str = Field(default="", max_length=50_000)
    """For the model that writes this user's answers, before what a context says; empty: the usual one."""
    language: str = Field(default="", max_length=100)
    """What answers are written in, unless the person writes in another; empty: the person's."""
    confirm_allow: tuple[str, ...] = ()
    """Tools that run unasked for this user."""
    confirm_deny: tuple[str, ...] = ()
    """Tools that always ask this user; wins over confirm_allow."""
    rules: tuple[RuleCard, ...] = ()
    """Calls that run unasked for this user, by their arguments."""
    approvers: tuple[str, ...] = ()
    """Users who alone may agree to what this user's calls ask; empty: this user does. With them, no context
    raises the role, or lets run unasked what this table does not."""
    telegram: int | None = Field(default=None, gt=0)
    """This user's id on Telegram, which is that of their chat with the bot; None: they do not use it."""
    matrix: str | None = Field(default=None, pattern=r"^@[^:\s]+:\S+$")
    """This user's id on Matrix, such as @anna:example.org; None: they do not use it."""
    notify: tuple[Place, ...] = ()
    """Where this user is told of a question that waits, and of a turn that failed or took over a minute:
    `page`, a messenger's name, or the name of a variable with an apprise URL."""
    quiet_hours: str | None = Field(default=None, pattern=_HOURS)
    """When nobody is told, such as 22:00-07:00, in this user's time zone; None: never."""
    remind_after: float | None = Field(default=None, gt=0)
    """Minutes after which they are told once more of a question that waits still; None: they are not."""
    timezone: TimeZone | None = None
    """Where this user's day is, such as Europe/Paris; None: as [tools.calendar] or the machine says."""
    max_rounds: int | None = Field(default=None, ge=1, le=1_000)
    """Planner calls in a turn, where [limits] has no smaller one, as of the next four; None: as there."""
    max_tool_calls: int | None = Field(default=None, ge=1)
    """Tool calls in a turn."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Input and output tokens in a turn, both brains together."""
    max_cost_usd: float | None = Field(default=None, gt=0)
    """US dollars in a turn, where prices are known."""
    deadline_s: float | None = Field(default=None, gt=0)
    """Seconds a turn may work; a person's thinking time is not counted."""
    max_tokens_per_day: int | None = Field(default=None, ge=1)
    """Input and output tokens in a day (UTC), instead of what [limits] says for everybody; None: as there."""
    max_cost_usd_per_day: float | None = Field(default=None, gt=0)
    """US dollars in a day (UTC), instead of what [limits] says for everybody; None: as there."""


EVERYBODY_ELSE = "*"
"""Table of users who have none."""
_LOCAL, _STRANGER = UserCard(), UserCard(role="guest")
"""Cards of users without a table."""


class Limits(Card):
    """The `[limits]` table: ceilings that no context can raise. None: no ceiling."""

    max_rounds: int = Field(default=15, ge=1, le=1_000)
    """Planner calls in a turn."""
    max_tool_calls: int | None = Field(default=None, ge=1)
    """Tool calls in a turn."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Input and output tokens in a turn, both brains together."""
    max_cost_usd: float | None = Field(default=None, gt=0)
    """US dollars in a turn, where prices are known."""
    deadline_s: float | None = Field(default=None, gt=0)
    """Seconds a turn may work; a person's thinking time is not counted."""
    max_tokens_per_day: int | None = Field(default=None, ge=1)
    """Input and output tokens that each user may use in a day (UTC), all processes together."""
    max_cost_usd_per_day: float | None = Field(default=None, gt=0)
    """US dollars that each user may spend in a day (UTC), where prices are known."""
    max_message_chars: int = Field(default=200_000, ge=1)
    """Longest message a person may send, in characters."""
    max_attachment_mb: float = Field(default=10, gt=0)
    """Largest picture, sound, film or PDF that a message may bring; attached text counts as the message's."""
    tool_timeout_s: float = Field(default=60, gt=0)
    """Seconds a tool may take where its declaration names no limit."""
    tools_at_once: int | None = Field(default=None, ge=1)
    """Calls of all tools that are at work at once in a process; one more waits, its own time not running."""


_OF_A_TURN = ("max_rounds", "max_tool_calls", "max_tokens", "max_cost_usd", "deadline_s")
"""Limits that a user may have lower ones of."""
_OF_A_DAY = ("max_tokens_per_day", "max_cost_usd_per_day")
"""Limits that a user may have others of."""


class AccessCard(Card):
    """The `[server]` table: who else may use the server."""

    origins: tuple[str, ...] = ()
    """Websites whose pages may use it, such as `https://chat.example.com`."""
    hosts: tuple[str, ...] = ()
    """Names under which it is reached, such as `assistant.example.com`."""
    webhooks: tuple[Webhook, ...] = ()
    """Addresses that a run may name to be called when it ends, and those below them, such as
    `https://hooks.example.com/done/`; https, or on this machine. None: it calls nobody."""
    metrics_token_env: str | None = None
    """Name of the variable with the token by which a monitor reads /metrics; None: an admin's token does."""


_USERS = TypeAdapter(Mapping[str, UserCard])


class Settings(BaseModel):
    """Everything that is fixed while the process runs, and the users."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Mapping[str, ModelCard] = {}
    roles: Mapping[str, tuple[str, ...]] = {}
    written_users: Mapping[str, UserCard] = Field(default={}, alias="users")
    """Those of twobrain.toml when it was first read."""
    limits: Limits = Limits()
    server: AccessCard = AccessCard()
    tools: Mapping[str, Mapping[str, Any]] = {}
    """`[tools.NAME]` tables; each is read by the tool family of that name."""
    mcp: Mapping[str, Mapping[str, Any]] = {}
    """`[mcp.servers.NAME]` tables, under `servers`."""
    channels: Mapping[str, Mapping[str, Any]] = {}
    """`[channels.NAME]` tables; each is read by the messenger of that name."""
    hooks: Mapping[str, Mapping[str, Any]] = {}
    """`[hooks.NAME]` tables, by which other programs start tasks."""
    data_dir: Path
    workspace: Path
    """Root of the file tools."""
    database_url: str | None = Field(default=None, repr=False)
    """Of the Postgres database that processes share; None: SQLite's files in the data directory."""
    source: Path | None = None
    """The twobrain.toml that was read; None where there is none."""

    _environ: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _named: frozenset[str] = PrivateAttr(default=frozenset())
    _secrets: list[str] = PrivateAttr(default_factory=list)
    _zone: ZoneInfo = PrivateAttr(default_factory=partial(ZoneInfo, "UTC"))
    _added: AddedUsers | None = PrivateAttr(default=None)
    _read: tuple[tuple[Stamp, Hashable], Users, ConfigurationError | None] | None = PrivateAttr(default=None)
    """What the users' files were known by, who was in them, and why they cannot be read now."""

    def secret(self, variable: str) -> str | None:
        """Return an environment variable, None where unset or blank."""
        return self._environ.get(variable, "").strip() or None

    def read_table(self, place: tuple[str, ...], card: type[Table]) -> Table | None:
        """Return a table of twobrain.toml as its card, None without one.

        `place` is its name, such as `("tools", "send_email")`.

        Raises:
            ConfigurationError: it is not as the card expects; the message names file and line.
        """
        found: Any = {"tools": self.tools, "mcp": self.mcp, "channels": self.channels, "hooks": self.hooks}
        for part in place:
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is None:
            return None
        try:
            return card.model_validate(found)
        except ValidationError as error:
            raise ConfigurationError(explained(error, self.source, place)) from None

    def user(self, name: str) -> UserCard:
        """Return a user's card; `local` is known.

        Anybody else is a guest where no user has a table, else as the table `"*"` says.

        Raises:
            UnknownUserError: others have tables, and neither this user nor `"*"` does.
        """
        if card := self.users.get(name):
            return card
        if name == LOCAL:
            return _LOCAL
        if self.users and EVERYBODY_ELSE not in self.users:
            raise UnknownUserError(
                f"There is no user {name!r}. Correct the name, or add a [users.{name}] table to "
                f'{self.source or "the settings"}; [users."*"] is for everybody who has none.'
            )
        return self.users.get(EVERYBODY_ELSE, _STRANGER)

    def limits_of(self, user: str) -> Limits:
        """Return the ceilings of a user's turns and days.

        Of a turn, the lower of theirs and those of all hold; of a day, their own where they have any.
        """
        card, general = self.user(user), self.limits
        own = {name: each for name in _OF_A_TURN if (each := getattr(card, name)) is not None}
        lower = {
            name: each
            for name, each in own.items()
            if (most := getattr(general, name)) is None or each < most
        }
        lower |= {name: each for name in _OF_A_DAY if (each := getattr(card, name)) is not None}
        return general.model_copy(update=lower) if lower else general

    @property
    def users(self) -> Mapping[str, UserCard]:
        """The cards of all users, as they were last read."""
        return self.known_users.cards

    @property
    def known_users(self) -> Users:
        """The users, as they were last read."""
        return read[1] if (read := self._read) else Users(self.written_users)

    @property
    def added_users(self) -> AddedUsers | None:
        """Where the added users are; None: in an unopened database."""
        return self._added or (None if self.database_url else UsersFile(self.data_dir))

    def share_users(self, added: AddedUsers) -> None:
        """Read the added users from a database from now on."""
        self._added = added

    def read_users(self) -> Users:
        """Return the users as they are stored now; blocks.

        Raises:
            ConfigurationError: they cannot be read, which is logged once.
            StorageError: the database does not answer.
        """
        added, before = self.added_users, self._read
        stamps = (stamp(self.source), added and added.version())
        if before is None or before[0] != stamps:
            users, problem = self.known_users, None
            try:
                users = self._merged_users(added.read() if added else None, was_guarded=users.guarded)
            except ConfigurationError as error:
                problem = error
                if before:
                    _log.error("nobody is let in: %s", error)
            self._read = before = (stamps, users, problem)  # as one: several threads may read at once
        if before[2]:
            raise ConfigurationError(str(before[2]))
        return before[1]

    def _merged_users(self, added: Added | None, *, was_guarded: bool) -> Users:
        """Return the users of twobrain.toml and the added ones.

        Of one who is both, twobrain.toml has the card, and the other whether a token lets them in.
        """
        written = self.written_users
        try:
            if self.source:
                written = _USERS.validate_python(read_toml(self.source).get("users", {}))
        except ValidationError as error:
            raise ConfigurationError(explained(error, self.source, ("users",))) from None
        cards = dict(written)
        for name, entry in (added or {}).items():
            card = written.get(name) or UserCard(role=entry["role"])
            cards[name] = card.model_copy(update={"token_sha256": entry["token_sha256"]})
        for place, what in _mistakes_of_people(cards) if added is not None else ():
            raise ConfigurationError(f"{where(self.source, ('users', *place))}: {what}.")
        guarded = was_guarded or bool(added) or any(card.token_sha256 for card in written.values())
        return Users(cards, frozenset(added or ()), guarded)

    def zone(self, user: str) -> ZoneInfo:
        """Return a person's time zone: their own, the calendar's, or the machine's."""
        named = self.user(user).timezone or self.tools.get("calendar", {}).get("timezone")
        return time_zone(named) if named else self._zone

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables that its tables name."""
        return self._named

    def redact(self, text: str) -> str:
        """Replace the environment's secrets, and what looks like one, by `[redacted]`."""
        return redacted(text, self._secrets)

    def attach(self, environ: Mapping[str, str]) -> None:
        """Know the environment and its secrets, outside of what is printed."""
        named = {card.api_key_env for card in self.models.values()}
        named |= {variable for user in self.users.values() for variable in user.keys.values()}
        named |= {place for user in self.users.values() for place in user.notify if place.isupper()}
        tables = [self.tools, self.mcp, self.channels, self.hooks, self.server.model_dump()]
        named |= {variable for _, variable in variables_in(tables)}
        self._environ = dict(environ)
        self._named = frozenset(filter(None, named))
        self._secrets = secrets_of(environ, named)
        self._zone = machine_zone(environ.get("TZ", ""))


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read `.env`, the environment and twobrain.toml.

    `environ` stands for the process's environment and `.env`; for tests and embedding.

    Raises:
        ConfigurationError: a file or a value is not as expected; the message names file, line
            and what is expected.
    """
    if environ is None:
        environ = {**read_dotenv(), **os.environ}
    data_dir = Path(environ.get("TWOBRAIN_DATA_DIR") or platformdirs.user_data_path("twobrain"))
    path = config_path(environ.get("TWOBRAIN_CONFIG"))
    tables = read_toml(path) if path else {}
    known = {"models", "roles", "users", "limits", "server", "tools", "mcp", "channels", "hooks"}
    if path and (unknown := sorted(set(tables) - known)):
        raise ConfigurationError(
            f"{where(path, (unknown[0],))}: unknown table; expected {', '.join(sorted(known))}."
        )
    try:
        settings = Settings(
            **tables,
            data_dir=at_home(data_dir),
            workspace=at_home(Path(environ.get("TWOBRAIN_WORKSPACE") or data_dir / "workspace")),
            source=path,
            database_url=checked_url(environ.get("TWOBRAIN_DATABASE_URL", "").strip()),
        )
    except ValidationError as error:
        raise ConfigurationError(explained(error, path)) from None
    settings.attach(environ)
    settings.read_users()
    return settings


def _mistakes_of_people(users: Mapping[str, UserCard]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield where, below `users`, something is wrong, and what."""
    if users.get(EVERYBODY_ELSE, _STRANGER).token_sha256:
        yield (EVERYBODY_ELSE, "token_sha256"), "a token is one user's; give each a table"
    yield from _mistakes_about_messengers(users)
    for name, card in users.items():
        for approver in card.approvers:
            if approver == name:
                yield (name, "approvers"), f"{name!r} cannot be asked instead of {name!r}"
            if approver not in users or approver in {LOCAL, EVERYBODY_ELSE}:
                named = ", ".join(repr(each) for each in users if each not in {name, LOCAL, EVERYBODY_ELSE})
                what = f"{approver!r} is no user with a table of their own; there are: {named or 'none'}"
                yield (name, "approvers"), what


def _mistakes_about_messengers(users: Mapping[str, UserCard]) -> Iterator[tuple[tuple[str, str], str]]:
    known: dict[Any, str] = {}
    for name, place in itertools.product(users, ("telegram", "matrix")):
        who = getattr(users[name], place)
        if who is not None and (other := known.setdefault((place, who), name)) != name:
            yield (name, place), f"{who} is {other!r} already"
        elif who is None and place in users[name].notify:
            yield (name, "notify"), f"{place} is where the user's own id is to stand, as {place} = …"
