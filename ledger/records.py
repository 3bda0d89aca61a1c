"""What goes into the ledger and what comes out, as frozen values."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Status = Literal["executed", "failed", "denied", "expired", "superseded", "unknown"]
"""How a call ended; the first outcome on record stays."""

ThreadStatus = Literal["running", "interrupted", "waiting", "answered", "failed", "pruning"]
"""How a thread stands; a running one whose process is gone is read as `interrupted`. `pruning`: it is being
deleted."""


def fingerprint(tool: str, args: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hex, of a tool and its arguments.

    The order of keys does not count, and 1.0 is 1. `Tool.fingerprint` knows how else a call may be written.
    """
    canonical = json.dumps([tool, plain(dict(args))], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def plain(value: Any) -> Any:
    """Return JSON with whole floats as integers, as other languages write them."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: plain(each) for name, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
    return value


class CallKey(NamedTuple):
    """Which call of whose; to every other user it is absent."""

    user: str
    thread: str
    call_id: str


@dataclass(frozen=True, slots=True)
class Call:
    """What a model asks a tool to do, and for whom."""

    thread: str
    call_id: str
    turn: str
    user: str
    role: str
    """The user's role when the call was made."""
    model: str
    tool: str
    args: dict[str, Any]
    effect: str
    """What the tool does to the world, as its declaration says."""
    fingerprint: str = ""
    """The same for calls that the tool takes alike; left out: of the arguments as they are, unredacted."""

    @property
    def key(self) -> CallKey:
        """Which call it is."""
        return CallKey(self.user, self.thread, self.call_id)

    def __post_init__(self) -> None:
        """Complete the fingerprint."""
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", fingerprint(self.tool, self.args))


@dataclass(frozen=True, slots=True)
class Remembered:
    """A rule that a person made with an approval."""

    where: Mapping[str, str]
    """Argument to the pattern that its text must match."""
    definition: str
    """Of the tool that it is for."""
    until: float | None = None
    """Seconds since the epoch; None: for good."""
    uses: int | None = None
    """How many calls may run by it; None: any number."""


class Entered(NamedTuple):
    """What entering calls found of calls made before."""

    taken: set[str]
    """Ids that the thread's calls bear already; then none was entered."""
    doubted: set[str]
    """Ids of calls that may have happened already, begun by a call that the conversation does not hold."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The call is the caller's to run once, and to finish."""

    attempt: int
    """1 for the first run; more after an owner that was gone."""
    earlier: str | None = None
    """As in `Lost`."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The call has ended; this is its outcome, redacted."""

    status: Status
    text: str
    untrusted: bool = False
    """The text holds what others wrote."""


@dataclass(frozen=True, slots=True)
class NotApproved:
    """The call must not run: nobody agreed to exactly this."""

    reason: str


@dataclass(frozen=True, slots=True)
class Running:
    """A living owner is at it."""

    since: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Owner gone, outcome unknown: it may or may not have happened."""

    since: float | None
    """Seconds since the epoch, when it was claimed; None: the ledger was lost, or put back from an older
    copy, and has no record of it."""
    attempt: int
    """Which run of the call that was; 1 for the first."""
    earlier: str | None = None
    """Id of the call that a model made first, which the conversation does not hold; None: it is this one."""
    ended: str | None = None
    """The status of that earlier call, where this one itself was never begun; else None."""
    expires_at: float | None = None
    """Seconds since the epoch after which no yes to another run counts; None: never, or nobody was asked."""


@dataclass(frozen=True, slots=True)
class Changed:
    """It has changed since the person agreed: they are asked anew."""


Claim = Claimed | Recorded | NotApproved | Running | Lost | Changed


@dataclass(frozen=True, slots=True)
class Decision:
    """What is on record about a person's decision, whoever asks."""

    approved: bool
    won: bool = False
    """True: the decision just given is the one on record; False: an earlier one is, or none could be."""
    status: str | None = None
    """The call's status; None where there is no such call."""
    fingerprint: str | None = None
    """What was agreed to: of the edited arguments, where they were edited."""
    by: str | None = None
    at: float | None = None
    """Seconds since the epoch."""
    reason: str = ""
    """Why it is not approved, in words; empty where it is."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call without an outcome."""

    call_id: str
    tool: str
    state: Literal["waiting", "ready", "running", "lost"]
    """`lost` where nobody is running it any more, and it may or may not have happened."""


@dataclass(frozen=True, slots=True)
class Use:
    """One model call. None is unknown, not zero."""

    thread: str
    turn: str
    user: str
    path: str
    """`two-brain`, `single` or `direct`."""
    role: str
    """`orchestrator` or `chat`."""
    backend: str
    """The model's name in the registry."""
    model: str
    """The provider's name of the model."""
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    counted_tokens: int
    """Input and output as limits count them: estimated where the provider reports nothing."""
    cost_usd: float | None
    duration_ms: float | None
    error: str | None
    """The cause, where the call failed; None where it answered; `begun` where it has not ended."""
    at: float
    """Seconds since the epoch, when the call ended."""


class Used(NamedTuple):
    """What is on record for a user's day."""

    tokens: int
    usd: float
    unended: int
    """How many of its model calls count as they were booked: they go on, or their process died."""


class TurnUsed(NamedTuple):
    """What is on record for a turn; failed tries are no rounds."""

    rounds: int
    tokens: int
    usd: float
    model_s: float
    """Seconds that models took."""
    calls: int


def fields_of(record: Call | Use) -> dict[str, Any]:
    """Return a record's fields by name, not copied as `asdict` would."""
    return {name: getattr(record, name) for name in record.__slots__}
