"""`twobrain search`: conversations by what was said in them."""

from collections.abc import Sequence

from base.settings import LOCAL
from graphs.conversation_search import ConversationSearch
from graphs.session import Orchestrator
from terminal.commands.conversations.threads import COLUMNS
from terminal.lists import list_rows


async def search(
    orchestrator: Orchestrator, words: Sequence[str], *, user: str | None, as_json: bool
) -> None:
    """List the conversations that hold each word, the last used last.

    With what was said around the words.
    """
    rows, sought = await orchestrator.ledger.threads(user=user), " ".join(words)
    searched = ConversationSearch(orchestrator.ledger, orchestrator.graph)
    found = [
        {**row, "said": await searched.passage(row, sought)} for row in await searched.holding(rows, sought)
    ]
    zone = orchestrator.settings.zone(user or LOCAL)
    none = "Nothing that was said holds all of that. `twobrain threads` lists the conversations."
    list_rows(found, (*COLUMNS, "said"), none, as_json=as_json, zone=zone)
