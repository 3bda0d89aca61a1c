"""`twobrain rules`: the remembered rules of approval."""

import time

from base.errors import UnknownRuleError
from base.settings import LOCAL
from graphs.session import Orchestrator
from terminal.lists import Row, list_rows, show_json
from terminal.screen import open_screen
from terminal.text import plain
from tools.policy.rules import why_not

_COLUMNS = ("id", "user", "tool", "where", "until", "uses_left", "why_not")
_NONE = "There are no rules. Answer a confirmation with always to make one."


async def rules(orchestrator: Orchestrator, *, user: str | None, as_json: bool) -> None:
    """List the rules, the oldest first."""
    found = [(rule, _problem(orchestrator, rule)) for rule in await orchestrator.ledger.rules(user=user)]
    rows = [{**rule, "holds": problem is None, "why_not": problem} for rule, problem in found]
    zone = orchestrator.settings.zone(user or LOCAL)
    list_rows(rows, _COLUMNS, _NONE, as_json=as_json, for_people=_for_people, zone=zone)


async def revoke(orchestrator: Orchestrator, rule_id: str, *, user: str | None, as_json: bool) -> None:
    """Forget a rule."""
    screen = open_screen(machine=as_json)
    if not await orchestrator.ledger.revoke_rule(rule_id, user=user):
        raise UnknownRuleError(f"There is no rule {rule_id!r}. `twobrain rules` lists those there are.")
    if as_json:
        show_json(screen, {"revoked": rule_id})
    else:
        screen.note(f"Revoked {plain(rule_id)}: such calls ask again.")


def _problem(orchestrator: Orchestrator, rule: Row) -> str | None:
    tool = orchestrator.tools.get(rule["tool"])
    return why_not(rule, tool.definition if tool else None, time.time())


def _for_people(row: Row) -> Row:
    return {
        **row,
        "until": "for good" if row["until"] is None else row["until"],
        "uses_left": "any" if row["uses_left"] is None else row["uses_left"],
    }
