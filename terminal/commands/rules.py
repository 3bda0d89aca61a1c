"""The rules that a person made at a card: listing them and taking them back; each returns the exit code."""

import time
from collections.abc import Mapping
from typing import Any

from base.errors import UnknownRuleError
from doctor.diagnose import moment
from graphs.session import Orchestrator
from terminal import tables
from terminal.opening import run
from terminal.screen import open_screen
from terminal.text import plain

_COLUMNS = {
    "id": "id",
    "user": "user",
    "tool": "tool",
    "where": "where",
    "until": "until",
    "uses_left": "uses left",
    "usable": "holds",
}
_NONE = "There are no rules. Answer a confirmation with w (whenever) to make one."


def rules(*, user: str | None, as_json: bool) -> int:
    """List the rules, the oldest first."""
    screen = open_screen(machine=as_json)

    async def shown(orchestrator: Orchestrator) -> int:
        rows = [_row(orchestrator, rule) for rule in await orchestrator.ledger.rules(user=user)]
        if as_json:
            tables.show_json(screen, rows)
        else:
            tables.show(screen, [_for_people(row) for row in rows], _COLUMNS, _NONE)
        return 0

    return run(shown)


def revoke(rule_id: str, *, user: str | None, as_json: bool) -> int:
    """Forget a rule."""
    screen = open_screen(machine=as_json)

    async def revoked(orchestrator: Orchestrator) -> int:
        if not await orchestrator.ledger.revoke_rule(rule_id, user=user):
            raise UnknownRuleError(f"There is no rule {rule_id!r}. `twobrain rules` lists those there are.")
        if as_json:
            tables.show_json(screen, {"revoked": rule_id})
        else:
            screen.side.print(f"Revoked {plain(rule_id)}: such calls ask again.", soft_wrap=True)
        return 0

    return run(revoked)


def _row(orchestrator: Orchestrator, rule: Mapping[str, Any]) -> dict[str, Any]:
    why_not = _why_not(orchestrator, rule)
    return {**rule, "holds": why_not is None, "why_not": why_not}


def _why_not(orchestrator: Orchestrator, rule: Mapping[str, Any]) -> str | None:
    tool = orchestrator.tools.get(rule["tool"])
    if rule["until"] is not None and rule["until"] <= time.time():
        return "it is over"
    if rule["uses_left"] == 0:
        return "it is used up"
    if tool is None:
        return "there is no such tool now"
    return None if tool.definition == rule["definition"] else "the tool has changed since"


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "until": "for good" if row["until"] is None else moment(row["until"]),
        "uses_left": "any" if row["uses_left"] is None else row["uses_left"],
        "usable": "yes" if row["holds"] else f"no: {row['why_not']}",
    }
