"""What has changed for a user, told to their open pages."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from base.errors import StorageError
from base.settings import Settings
from ledger.ledger import Ledger
from ledger.threads import Stamp

_PAUSE_S = 0.5
"""Seconds between two looks at the ledger, by one task for all who listen."""
_LISTS = (("conversations", "audit", "usage", "memories", "pins"), ("waiting",), ("rules",), ("told",))
"""What may have changed with each part of a `Stamp`."""
_NOTHING: Stamp = ((), (), (), ())


@dataclass(slots=True, eq=False)
class _Listener:
    user: str
    news: dict[str, None] = field(default_factory=dict)
    """What has changed since it was last told; a dict keeps the order."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, what: Iterable[str]) -> None:
        self.news.update(dict.fromkeys(what))
        if self.news:
            self.woken.set()


class Changes:
    """Looks at the ledger while somebody listens."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._listeners: set[_Listener] = set()
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        """Whether a change would be noticed now."""

    async def listen(self, user: str) -> AsyncIterator[dict[str, Any]]:
        """Yield what has changed for a user, from the first event on."""
        with self._listened(user) as listener:
            await self._looked.wait()
            yield {"event": "listening"}
            while True:
                await listener.woken.wait()
                listener.woken.clear()
                what, listener.news = list(listener.news), {}
                yield {"event": "changed", "what": what}

    def note(self, user: str, *what: str) -> None:
        """Tell a user's pages what the ledger does not hold."""
        for listener in self._listeners:
            if listener.user == user:
                listener.tell(what)

    async def close(self) -> None:
        """Look no more."""
        if self._looking:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    @contextmanager
    def _listened(self, user: str) -> Any:
        listener = _Listener(user)
        self._listeners.add(listener)
        if self._looking is None or self._looking.done():
            self._looked.clear()
            self._looking = asyncio.create_task(self._look())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _look(self) -> None:
        before: dict[str, Stamp] | None = None
        while self._listeners:
            with suppress(StorageError):  # it cannot be read just now
                stamps = await self._ledger.stamps()
                if before is not None and stamps != before:
                    for listener in list(self._listeners):
                        listener.tell(self._news(listener.user, before, stamps))
                before = stamps
                self._looked.set()
            await asyncio.sleep(_PAUSE_S)

    def _news(self, user: str, before: dict[str, Stamp], now: dict[str, Stamp]) -> Iterable[str]:
        mine = zip(before.get(user, _NOTHING), now.get(user, _NOTHING), _LISTS, strict=True)
        yield from (each for was, stands, told in mine if was != stands for each in told)
        others = [name for name, card in self._settings.users.items() if user in card.approvers]
        if any(before.get(name, _NOTHING)[1] != now.get(name, _NOTHING)[1] for name in others):
            yield from ("waiting", "conversations")
