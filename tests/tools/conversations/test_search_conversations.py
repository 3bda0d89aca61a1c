from dataclasses import dataclass, replace

import pytest

from tools.declaration import FoundConversations, Passage, PastConversation
from tools.registry import open_registry
from tools.run import run_tool

OWN, CLEAN = Passage(by_person=True, text="ours", untrusted=False), Passage(False, "clean\nline", False)
STRANGE = Passage(by_person=False, text="theirs", untrusted=True)


@dataclass
class Kept:
    """Conversations of which one is found, with these passages."""

    passages: tuple[Passage, ...]
    others: int = 0
    unread: int = 0

    async def search(self, user: str, query: str, *, besides: str = "") -> FoundConversations:
        talk = PastConversation("t1", "A\ntitle", 86_400.0 * 1.5, self.passages)
        return FoundConversations([talk] if self.passages else [], self.others, self.unread)


@pytest.fixture
def look(here):
    tool = open_registry(here.settings).get("search_conversations")

    async def look(kept):
        return await run_tool(tool, replace(here, conversations=kept), {"query": "x"})

    return look


async def test_where_no_conversations_are_kept_that_is_said(look):
    assert "No other conversations are kept here" in (await look(None)).text


async def test_a_result_is_untrusted_as_soon_as_one_passage_is_and_no_line_break_begins_one(look):
    clean, mixed = await look(Kept((OWN, CLEAN))), await look(Kept((OWN, CLEAN, STRANGE)))
    assert (clean.untrusted, mixed.untrusted) == (False, True)
    assert clean.text.splitlines() == [
        "“A title” (1970-01-02, thread t1)",
        "- the person: ours",
        "- the assistant: clean line",
    ]


async def test_what_is_not_shown_or_was_not_looked_through_is_said(look):
    told = (await look(Kept((OWN,), others=1_200, unread=3_000))).text
    assert "… and 1,200 more" in told
    assert "(Not looked through, as it took too long: the 3,000 oldest.)" in told
    assert (await look(Kept(()))).text == "No earlier conversation holds any of these words."
