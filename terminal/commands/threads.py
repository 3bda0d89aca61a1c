"""`twobrain threads`: the conversations."""

from graphs.session import Orchestrator
from terminal.tables import Rows, list_rows

COLUMNS = {
    "thread": "thread",
    "user": "user",
    "status": "status",
    "updated_at": "last used",
    "title": "title",
}
_NONE = "There are no threads yet. Begin one with: twobrain ask TASK"


def threads(*, user: str | None, as_json: bool) -> int:
    """List them, the last used last."""

    async def rows(orchestrator: Orchestrator) -> Rows:
        return await orchestrator.ledger.threads(user=user)

    return list_rows(rows, COLUMNS, _NONE, as_json=as_json, of_threads=True)
