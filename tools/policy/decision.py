"""Policy: allow, confirm or deny a call, with a reason in words."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from base.users import Role
from tools.declaration import Effect, Tool
from tools.policy.rules import Rule, covers
from tools.policy.taint import UNTAINTED, Taint, carries_data


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
    rules: tuple[Rule, ...] = ()
    """Calls that run unasked, as twobrain.toml has them."""
    approvers: tuple[str, ...] = ()
    """Who alone may agree to calls; empty: the person does."""


@dataclass(frozen=True, slots=True)
class Allow:
    """The call may run."""

    reason: str
    rule: str = ""
    """Id of the remembered rule that lets it; empty where none is needed."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """The call may run once the person agrees."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deny:
    """The call may not run, whoever agrees."""

    reason: str


Ruling = Allow | Confirm | Deny

_DOES: dict[Effect, str] = {
    "read": "reads something private",
    "write": "changes something",
    "send": "sends something out",
    "execute": "runs a program",
}
_NO_TOOL = "There is no tool {name!r}.{instead}"
_NEEDS_ROLE = "{tool.name} needs the role {tool.role}; {person.user} is {person.role}.{instead}"
_NOT_ALLOWED = "{tool.name} is not among the tools allowed here.{instead}"
_DENIED_BEFORE = "You denied a call of {tool.name} in this turn, so it asks first."
_ALWAYS_ASKS = "{tool.name} always asks {person.user} first."
_ASKS = "{tool.name} {does}, so it asks first."
_ASKS_AFTER_UNTRUSTED = (
    "{tool.name} {danger}, and this turn goes by text that strangers may have written (from {sources}), so "
    "it asks first."
)


def decide(  # noqa: PLR0913, PLR0917 (all that a decision may depend on)
    person: Person,
    tool: Tool | None,
    name: str,
    args: Any = None,
    taint: Taint = UNTAINTED,
    rules: Sequence[Rule] = (),
    known: Collection[str] = (),
    denied: Collection[str] = (),
) -> Ruling:
    """Decide on a call; what no rule allows is confirmed.

    Args:
        person: whoever the turn acts for.
        tool: the registry's tool of that name; None where it has none.
        name: the name the model called.
        args: the call's arguments, of whatever form.
        taint: what the turn had read when the call was made.
        rules: those that the person made while answering, and that have not run out.
        known: the tools there are for this person, to name where the call is refused.
        denied: tools of which the person denied a call in this turn: whatever else they allowed was not meant
            for what they had just refused, written otherwise.
    """
    instead = f" Tools there are: {', '.join(sorted(known))}." if known else ""
    if tool is None:
        return Deny(_NO_TOOL.format(name=name, instead=instead))
    if not tool.open_to(person.role):
        return Deny(_NEEDS_ROLE.format(tool=tool, person=person, instead=instead))
    if person.tools is not None and tool.name not in person.tools:
        return Deny(_NOT_ALLOWED.format(tool=tool, instead=instead))
    if reason := _whatever_was_agreed(person, tool, args, taint):
        return Confirm(reason)
    if tool.confirm and tool.name in denied:
        return Confirm(_DENIED_BEFORE.format(tool=tool))
    return _agreed(person, tool, args, rules)


def _whatever_was_agreed(person: Person, tool: Tool, args: Any, taint: Taint) -> str | None:
    """Return why a call asks whatever was agreed, if it does."""
    if tool.name in person.confirm_deny:
        return _ALWAYS_ASKS.format(tool=tool, person=person)
    if caution := tool.always_asks or tool.caution:
        return f"{tool.name} asks first: {caution}."
    if taint.sources and (danger := _danger(tool, args, taint)):
        sources = ", ".join(sorted(taint.sources))
        return _ASKS_AFTER_UNTRUSTED.format(tool=tool, danger=danger, sources=sources)
    return None


def _danger(tool: Tool, args: Any, taint: Taint) -> str | None:
    """Return what untrusted content could gain by the call, if anything."""
    if tool.effect != "read":
        return _DOES[tool.effect]
    if tool.outbound and carries_data(args, tool, taint.trusted_links):
        return "could carry something to an address that neither you nor a trusted source named"
    return None


def _agreed(person: Person, tool: Tool, args: Any, rules: Sequence[Rule]) -> Allow | Confirm:
    if not tool.confirm:
        return Allow(f"{tool.name} needs no confirmation.")
    if tool.name in person.confirm_allow:
        return Allow(f"{person.user} lets {tool.name} run unasked.")
    if rule := rule_for(tool, args, (*person.rules, *rules)):
        return Allow(f"{person.user} lets such calls of {tool.name} run unasked.", rule.id)
    return Confirm(_ASKS.format(tool=tool, does=_DOES[tool.effect]))


def rule_for(tool: Tool, args: Any, rules: Sequence[Rule]) -> Rule | None:
    """Return the first rule that holds for a call, if any.

    None does where it has arguments that the tool does not declare.
    """
    mine = [rule for rule in rules if rule.tool == tool.name and rule.definition in {"", tool.definition}]
    if not mine:
        return None
    try:
        checked, canonical = tool.check(args), tool.canonical_args(args)
    except (TypeError, ValueError):
        return None
    declared = tool.declared()
    if declared and not checked.keys() <= declared:
        return None
    fresh = (rule for rule in mine if rule.uses_left is None or rule.uses_left > 0)
    return next((r for r in fresh if covers(r.where, canonical) or covers(r.where, checked)), None)
