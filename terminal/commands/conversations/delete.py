"""`twobrain delete`: delete one conversation."""

from base.errors import ConfigurationError, UnknownThreadError
from graphs.session import Orchestrator
from graphs.transcript import delete_conversation
from terminal.conversation import thread_of
from terminal.prompt import agrees
from terminal.screen import open_screen
from terminal.text import one_line

_TITLE_WIDTH = 60


async def delete(orchestrator: Orchestrator, thread_id: str, *, yes: bool) -> int:
    """Delete it, once a person has said yes; its audit stays.

    Raises:
        BusyThreadError: a turn of it is under way.
        UnknownThreadError: there is no such conversation.
    """
    screen, thread = open_screen(), await thread_of(orchestrator.ledger, thread_id)
    row = await orchestrator.ledger.thread(thread)
    if row is None:
        raise UnknownThreadError(f"There is no thread {thread!r}. `twobrain threads` lists those there are.")
    if not yes:
        title = one_line(row["title"] or thread, _TITLE_WIDTH)
        waits = " It waits for a confirmation, which is then not run." if row["status"] == "waiting" else ""
        if not screen.interactive:
            raise ConfigurationError("Nobody is here to be asked: say --yes to delete it for good.")
        if not await agrees(screen, f"Delete “{title}” for good?{waits}"):
            screen.note("Nothing was deleted.", "dim")
            return 1
    await delete_conversation(orchestrator, row)
    screen.note("Deleted. What its calls did stays in `twobrain audit`.", "dim")
    return 0
