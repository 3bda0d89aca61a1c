"""Who may do what, and what a person must agree to: a pure function with its reasons in words."""

from collections.abc import Collection
from dataclasses import dataclass

from settings import Role
from tools.declaration import Effect, Tool


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever a turn acts for, and what was agreed with them beforehand."""

    user: str
    role: Role
    tools: frozenset[str] | None = None
    """Allow-list; None allows all that the role does."""
    confirm_allow: frozenset[str] = frozenset()
    """Tools that run unasked."""
    confirm_deny: frozenset[str] = frozenset()
    """Tools that always ask; wins over confirm_allow."""


@dataclass(frozen=True, slots=True)
class Allow:
    """The call may run."""

    reason: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """The call may run once the person agrees."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deny:
    """The call may not run, whoever agrees."""

    reason: str


Decision = Allow | Confirm | Deny

_DOES: dict[Effect, str] = {
    "read": "reads something private",
    "write": "changes something",
    "send": "sends something out",
    "execute": "runs a program",
}


def decide(person: Person, tool: Tool | None, name: str, known: Collection[str] = ()) -> Decision:
    """Decide on a call of the tool `name`; what no rule allows is confirmed.

    Args:
        person: whoever the turn acts for.
        tool: the registry's tool of that name; None where it has none.
        name: the name the model called.
        known: the tools there are for this person, to name where the call is refused.
    """
    if tool is None:
        return Deny(f"There is no tool {name!r}.{_instead(known)}")
    if not tool.open_to(person.role):
        return Deny(
            f"{tool.name} needs the role {tool.role}; {person.user} is {person.role}.{_instead(known)}"
        )
    if person.tools is not None and tool.name not in person.tools:
        return Deny(f"{tool.name} is not among the tools allowed here.{_instead(known)}")
    return _consent(person, tool)


def _consent(person: Person, tool: Tool) -> Allow | Confirm:
    if tool.name in person.confirm_deny:
        return Confirm(f"{tool.name} always asks {person.user} first.")
    if tool.caution:
        return Confirm(f"{tool.name} asks first: {tool.caution}.")
    if tool.name in person.confirm_allow:
        return Allow(f"{person.user} lets {tool.name} run unasked.")
    if tool.confirm:
        return Confirm(f"{tool.name} {_DOES[tool.effect]}, so it asks first.")
    return Allow(f"{tool.name} needs no confirmation.")


def _instead(known: Collection[str]) -> str:
    return f" Tools there are: {', '.join(sorted(known))}." if known else ""
