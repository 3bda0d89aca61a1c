"""`twobrain usage`: what the models used, and what is left."""

from base.settings import LOCAL
from base.texts import dollars, local_time
from graphs.session import Orchestrator
from ledger.usage import GROUPS, Grouping, day_ends
from terminal.lists import list_rows
from terminal.screen import open_screen

_SUMS = ("model_calls", "input_tokens", "output_tokens", "cached_tokens", "cost_usd")
_COLUMNS = {**GROUPS, "turn": ("when", "thread", "title")}


async def usage(orchestrator: Orchestrator, by: Grouping, *, user: str | None, as_json: bool) -> None:
    """List it, summed up."""
    rows = await orchestrator.ledger.usage_totals(by=by, user=user)
    if by == "turn":
        titles = {row["thread"]: row["title"] for row in await orchestrator.ledger.threads()}
        rows = [{**row, "title": titles.get(row["thread"])} for row in rows]
    list_rows(
        rows,
        (*_COLUMNS[by], *_SUMS),
        "No model was called yet.",
        as_json=as_json,
        for_people=lambda row: {**row, "when": row.get("began_at")},
        zone=orchestrator.settings.zone(user or LOCAL),
    )
    if told := await _left(orchestrator, user or LOCAL):
        open_screen(machine=as_json).side.print(told)


async def _left(orchestrator: Orchestrator, user: str) -> str | None:
    """Say what is left of a user's day; None: no limit."""
    limits, settings = orchestrator.settings.limits_of(user), orchestrator.settings
    tokens, usd = await orchestrator.ledger.used_today(user)
    left = []
    if (most := limits.max_tokens_per_day) is not None:
        left.append(f"{max(most - tokens, 0):,} of {most:,} tokens")
    if (most_usd := limits.max_cost_usd_per_day) is not None:
        left.append(f"{dollars(max(most_usd - usd, 0))} of {dollars(most_usd)}")
    if not left:
        return None
    ends, zone = day_ends(orchestrator.ledger.now()), settings.zone(user)
    anew = f"the day begins anew at {local_time(ends, zone)} ({zone})"
    return f"Left today for {user}: {', '.join(left)}; {anew}."
