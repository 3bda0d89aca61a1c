"""`twobrain usage`: what the models used."""

from graphs.session import Orchestrator
from ledger.usage import Grouping
from terminal.tables import list_rows

_GROUPS = {
    "user": {"user": "user"},
    "model": {"backend": "name", "model": "model"},
    "turn": {"thread": "thread", "turn": "turn"},
    "day": {"day": "day"},
}
_SUMS = {
    "model_calls": "calls",
    "input_tokens": "input",
    "output_tokens": "output",
    "cached_tokens": "cached",
    "cost_usd": "cost",
}


async def usage(orchestrator: Orchestrator, by: Grouping, *, user: str | None, as_json: bool) -> None:
    """List it, summed up."""
    rows = await orchestrator.ledger.usage_totals(by=by, user=user)
    list_rows(rows, {**_GROUPS[by], **_SUMS}, "No model was called yet.", as_json=as_json)
