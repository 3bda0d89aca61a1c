"""What a watcher is told while a turn runs, on every wire."""

from collections import Counter

import pytest

from graphs.events import Confirmation, Done, Event, Token, ToolFinished, ToolStarted, UsageReported
from tests.graphs.household import LAYOUTS, House

REQUEST = 'calculate {"expression": "6*7"} & get_time {} then ring_bell {"times": 3}'


def _spoken(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
async def test_the_person_reads_each_word_once_and_none_that_was_not_for_them(settle, layout, streaming):
    house: House = settle(layout, streaming=streaming)
    async with house.open() as orchestrator:
        asked = [e async for e in orchestrator.stream(REQUEST, thread_id="t", context=house.context())]
        resumed = [e async for e in orchestrator.stream_resume("t", answer=True, context=house.context())]
        rows = await orchestrator.ledger.usage()
    result = resumed[-1].result
    alone = "writer" not in house.wires
    assert _spoken(asked) == ("One moment.\n\nOne moment." if alone else "")
    assert _spoken(resumed) == result.response
    assert (len([e for e in resumed if isinstance(e, Token)]) > 1) is streaming
    assert isinstance(asked[-2], Confirmation)
    assert asked[-2].request == asked[-1].result.pending
    kinds = Counter(type(event) for event in asked + resumed)
    assert (kinds[ToolStarted], kinds[ToolFinished], kinds[Done]) == (3, 3, 2)
    assert kinds[UsageReported] == len(rows)
    assert house.rejected() == []
