"""`twobrain rename`: call a conversation by another title."""

from collections.abc import Sequence

from base.errors import UnknownThreadError
from base.settings import LOCAL
from graphs.session import Orchestrator
from terminal.card import named
from terminal.conversation import thread_of
from terminal.screen import open_screen


async def rename(orchestrator: Orchestrator, thread_id: str, words: Sequence[str]) -> None:
    """Give it the title.

    Raises:
        UnknownThreadError: there is no such conversation.
    """
    thread = await thread_of(orchestrator.ledger, thread_id)
    row = await orchestrator.ledger.thread(thread)
    owner = str(row["user"]) if row else LOCAL
    if not await orchestrator.ledger.rename(thread, owner, " ".join(words)):
        raise UnknownThreadError(f"There is no thread {thread!r}. `twobrain threads` lists those there are.")
    open_screen().note(f"Renamed. Go on with: twobrain chat -t {named(thread)}", "dim")
