"""`twobrain usage`: what the models used."""

from graphs.session import Orchestrator
from ledger.usage import GROUPS, Grouping
from terminal.lists import list_rows

_SUMS = ("model_calls", "input_tokens", "output_tokens", "cached_tokens", "cost_usd")


async def usage(orchestrator: Orchestrator, by: Grouping, *, user: str | None, as_json: bool) -> None:
    """List it, summed up."""
    rows = await orchestrator.ledger.usage_totals(by=by, user=user)
    list_rows(rows, (*GROUPS[by], *_SUMS), "No model was called yet.", as_json=as_json)
