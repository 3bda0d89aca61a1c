"""Looking back: what was said in the person's other conversations."""

from datetime import datetime
from typing import Annotated

from base.texts import one_line, visible
from tools.declaration import Here, ToolFailure, Untrusted, tool

_TITLE_WIDTH = 80


# What is found is as trusted as the turn that it was said in.
@tool(effect="read", label="Look back")
async def search_conversations(
    here: Here, query: Annotated[str, "words of it; empty for the latest conversations"] = ""
) -> str:
    """Search what was said in the person's earlier conversations, not this one."""
    if here.conversations is None:
        raise ToolFailure("No other conversations are kept here.")
    found, others, unread = await here.conversations.search(here.user, query, besides=here.thread_id)
    zone = here.settings.zone(here.user)
    lines = []
    for each in found:
        title = visible(one_line(each.title, _TITLE_WIDTH)) or "a conversation"
        day = f"{datetime.fromtimestamp(each.at, zone):%Y-%m-%d}"
        lines.append(f"“{title}” ({day}, thread {visible(each.thread)})")
        for passage in each.passages:
            who = "the person" if passage.by_person else "the assistant"
            lines.append(f"- {who}: {visible(one_line(passage.text, len(passage.text)))}")
    if not found:
        lines = [f"No earlier conversation holds {'any of these words' if query.strip() else 'anything'}."]
    if others:
        lines.append(f"… and {others:,} more; look for something narrower.")
    if unread:
        lines.append(f"(Not looked through, as it took too long: the {unread:,} oldest.)")
    told = "\n".join(lines)
    return Untrusted(told) if any(p.untrusted for each in found for p in each.passages) else told


TOOLS = (search_conversations,)
