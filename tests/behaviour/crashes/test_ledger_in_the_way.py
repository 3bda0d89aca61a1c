"""The ledger refuses a write in the turn that goes on after a crash: nobody is told what is not so."""

import pytest
from sqlalchemy import event

from base.errors import StorageError
from ledger.database import open_ledger_database
from ledger.ledger import Ledger
from ledger.owner import this_process
from nodes.resources import place_of
from tests.behaviour.crashes.process import killed, statuses

REMEMBER = "remember that it rains"


@pytest.mark.parametrize("number", range(4))
async def test_a_call_that_happened_is_never_said_to_have_failed_though_a_write_fails(home, number):
    killed(home, "during:remember", "ask", REMEMBER)
    assert home.effects == ["remember"]
    writes = iter(range(100))

    def refuse(_):
        if next(writes) == number:
            raise StorageError("The ledger is locked.")

    settings = home.settings()
    database = open_ledger_database(place_of(settings))
    event.listen(database.engine, "commit", refuse)
    async with home.opened(ledger=Ledger(database, settings.redact, this_process())) as orchestrator:
        try:
            result = await orchestrator.proceed("t1")
        except StorageError:  # it says so, and nothing is lost
            result = await orchestrator.proceed("t1")
        assert next(writes) > number, "it was refused"
        assert [action["attempt"] for action in result.pending["action_requests"]] == [1]
        result = await orchestrator.resume("t1", answer=False)
    assert statuses(result) == {"remember": "unknown"}
    assert home.effects == ["remember"]
