"""`twobrain threads`: the list of conversations, and how each stands."""

from graphs.session import Orchestrator
from terminal.lists import list_threads

COLUMNS = ("thread", "user", "status", "updated_at", "title")
_NONE = "There are no threads yet. Begin one with: twobrain ask TASK"


async def threads(orchestrator: Orchestrator, *, user: str | None, as_json: bool) -> None:
    """List them, the last used last."""
    rows = await orchestrator.ledger.threads(user=user)
    await list_threads(orchestrator, rows, COLUMNS, _NONE, as_json=as_json)
