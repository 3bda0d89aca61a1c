"""Every error a caller may catch.

TwobrainError                    exit code 1
├── ConfigurationError           exit code 2: twobrain.toml, the environment, a context field
│   ├── UnknownModelError        a model or role name that the registry does not have
│   ├── UnknownToolError         a tool name that no declaration has
│   ├── UnknownUserError         a user of whom twobrain.toml, which names users, says nothing
│   ├── MissingKeyError          a model's API key variable is not set
│   └── ShadowedPackageError     another distribution's package hides one of ours
├── RequestError                 exit code 2: what was asked cannot be done as asked
│   ├── BadMessageError          a message that is empty, too long or not text
│   ├── BadThreadError           a thread's id that is empty, too long or not text
│   ├── UnknownThreadError       a thread that does not exist
│   ├── ApproverError            more on another's thread than an answer, which an approver may give
│   ├── BusyThreadError          a thread that another process is at work on
│   ├── UnknownRuleError         a remembered rule that does not exist
│   ├── NothingPendingError      an answer where no confirmation waits
│   └── UndoError                a call that cannot be undone
├── ModelError                   exit code 1: a model gave no usable answer (its cause is typed)
│   └── NoModelAnsweredError     a role's model and all its fallbacks failed
├── ServerError                  exit code 1: a server that one talks to is away, or is none of ours
└── StorageError                 exit code 1: the data directory or database cannot be used
    ├── StorageAwayError         the database cannot be reached just now
    └── DamagedThreadError       one thread cannot be read; the others can

A message names the thing, what was wrong with it, what is known, and what to do.
A refusal by policy or by a person is not an error: it is a result.
"""

from collections.abc import Mapping
from typing import Literal

Cause = Literal[
    "rate_limit",
    "overload",
    "timeout",
    "connection",
    "refusal",
    "bad_request",
    "unsupported",
    "bad_key",
    "no_credit",
    "context_overflow",
    "malformed",
    "missing_key",
    "cancelled",
]


class TwobrainError(RuntimeError):
    """Base of everything that this project raises on purpose.

    LangGraph's server tells a client the words of a RuntimeError; of errors it does not know it keeps them.
    """

    exit_code = 1


class ConfigurationError(TwobrainError):
    """The configuration asks for something that does not exist or cannot be."""

    exit_code = 2


class UnknownModelError(ConfigurationError):
    """No model or role has that name."""


class UnknownToolError(ConfigurationError):
    """No tool has that name."""


class UnknownUserError(ConfigurationError):
    """There are users, and none has that name."""


class MissingKeyError(ConfigurationError):
    """The environment variable that holds a model's key is not set."""


class ShadowedPackageError(ConfigurationError):
    """A package of ours resolves to another distribution's files."""


class RequestError(TwobrainError):
    """The request cannot be carried out as it stands."""

    exit_code = 2


class BadMessageError(RequestError):
    """The message is empty, too long, or not text."""


class BadThreadError(RequestError):
    """No thread can have that id."""


class UnknownThreadError(RequestError):
    """No thread has that id."""


class ApproverError(RequestError):
    """An approver wants more of another's thread than to answer it."""


class AllowanceError(RequestError):
    """A user's day has no tokens or dollars left."""


class BusyThreadError(RequestError):
    """Another process is at work on that thread."""


class UnknownRuleError(RequestError):
    """No remembered rule has that id."""


class NothingPendingError(RequestError):
    """An answer came for a thread that waits for none."""


class UndoError(RequestError):
    """The call cannot be undone, or not any more."""


class ModelError(TwobrainError):
    """A model gave no usable answer.

    Attributes:
        cause: why, in the closed vocabulary of `Cause`.
        retry_after: seconds the provider asked to wait; None where it named none.
    """

    def __init__(self, message: str, cause: Cause, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_after = retry_after


class NoModelAnsweredError(ModelError):
    """A role's model and all of its fallbacks failed.

    Attributes:
        failures: why each did, by its name in the registry, in the order they were asked.
    """

    def __init__(self, message: str, cause: Cause, failures: Mapping[str, ModelError]) -> None:
        super().__init__(message, cause)
        self.failures = failures


class ServerError(TwobrainError):
    """The server cannot be reached, or cannot do what it is asked."""


class StorageError(TwobrainError):
    """The data directory or database cannot be read or written."""


class StorageAwayError(StorageError):
    """The database cannot be reached just now."""


class DamagedThreadError(StorageError):
    """What is stored of a thread cannot be read."""
