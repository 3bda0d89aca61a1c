"""Power that can be cut at any write, whichever file it goes to."""

import math
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event

from base.errors import StorageError
from base.settings import Settings
from ledger.database import open_ledger_database
from ledger.ledger import Ledger
from ledger.owner import this_process
from nodes.context import Context
from nodes.resources import place_of
from storage.writer import Writer
from tests.behaviour.crashes.process import Home

PLAIN = Context(confirmation="template")


class PowerCutError(StorageError):
    """There is no more power: what a ledger or a saver says when its disk is gone."""


class Power:
    """Lasts for a number of writes."""

    def __init__(self, writes: float = math.inf) -> None:
        self.left = writes

    def draw(self) -> None:
        """Write once more: what a ledger or the checkpoints call before each commit.

        Raises:
            PowerCutError: there is no power for it.
        """
        self.left -= 1
        if self.is_cut:
            raise PowerCutError

    @property
    def is_cut(self) -> bool:
        return self.left < 0

    async def ledger(self, settings: Settings, life: int = 0) -> Ledger:
        """Open a ledger that draws on the power, as a process of its own.

        Args:
            settings: where it is.
            life: sets this process apart from its other lives, to all of which it is dead.
        """
        database = open_ledger_database(place_of(settings))
        event.listen(database.engine, "commit", lambda _: self.draw())
        apart = Writer("power", gather_s=0, most_at_once=1)  # what would go together is cut apart, too
        return Ledger(database, settings.redact, f"{this_process()}{life}", apart)


async def cut_short(home: Home, given: Any, *names: str, life: int = 0, context: Context = PLAIN) -> None:
    """Let a process say or answer something and die right after the effect of one of the tools named."""
    power = Power()

    def happen(name: str) -> None:
        if power.is_cut:
            raise PowerCutError
        home.happen(name)
        if name.partition(":")[0] in names:
            power.left = -1

    ledger = await power.ledger(home.settings(), life)
    async with home.opened(happen, ledger, power.draw) as orchestrator:
        ask = partial(orchestrator.ask, thread_id="t1", context=context)
        turn = ask(given) if isinstance(given, str) else orchestrator.resume("t1", given)
        with pytest.raises(PowerCutError):
            await turn
