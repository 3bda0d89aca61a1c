"""The work of every side: how many rounds, which calls, how large the results, and a count of what was done.

Only the standard library: peers run this in environments of their own. A model's next step is a function of
the id of the last call that has its result, so that deciding it costs the same at any length of history.
"""

import asyncio
import random
from base64 import b64encode
from dataclasses import asdict, dataclass
from typing import Any

ANSWER = "That is all."
WAITING = "A person must decide."
"""What a conversation returns that waits."""
REQUEST = "Look everything up, then tell me."
_TEXT = b64encode(random.Random(5).randbytes(750_003))[:1_000_003].decode()  # noqa: S311 (filler)
"""Letters by chance: a quarter can be compressed away, less than of what tools give."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a side is to do: `runs` conversations of the same shape."""

    rounds: int = 20
    calls: int = 1
    """Calls in each round."""
    size: int = 1_000
    """Bytes of each result."""
    runs: int = 1
    over_s: float = 0.0
    """Seconds over which the runs are started, evenly."""
    model_s: float = 0.0
    tool_s: float = 0.0
    asks: bool = False
    """True: in the last round `send` is called, which waits for a person, and that is the end."""

    def work(self) -> "Work":
        """Return what must have been counted once it is done."""
        calls = self.runs * (self.rounds - self.asks) * self.calls
        return Work(self.runs * (self.rounds + (not self.asks)), calls, calls * self.size)


@dataclass
class Work:
    """What was really done."""

    model_calls: int = 0
    tool_calls: int = 0
    result_bytes: int = 0


class Script:
    """What a worker's scripted model and tools do, and what they did."""

    def __init__(self) -> None:
        self._made = 0
        """Results so far."""
        self.begin(Job())

    def begin(self, job: Job) -> None:
        """Take up a job; its work is counted from nought."""
        self.job = job
        self.work = Work()

    def calls(self, last: str | None) -> list[str]:
        """Return the ids of the calls of the next round; none: it is time to answer.

        Args:
            last: the id of the last call that has its result in this turn; None: there is none.
        """
        self.work.model_calls += 1
        done = int(last.split("-")[1]) + 1 if last else 0
        if done == self.job.rounds:
            return []
        return [f"call-{done}-{n}-{self._made}" for n in range(self.job.calls)]

    def tool(self, call_id: str) -> str:
        """Return the name of the tool that a call is for."""
        is_last = int(call_id.split("-")[1]) == self.job.rounds - 1
        return "send" if self.job.asks and is_last else "look_up"

    async def think(self) -> None:
        """Take the model's time."""
        if self.job.model_s:
            await asyncio.sleep(self.job.model_s)

    async def look_up(self) -> str:
        """Take the tool's time and return a result unlike any before."""
        if self.job.tool_s:
            await asyncio.sleep(self.job.tool_s)
        self._made += 1
        self.work.tool_calls += 1
        self.work.result_bytes += self.job.size
        start = self._made * 7_919 % (len(_TEXT) - self.job.size)
        return f"{self._made:011d} {_TEXT[start : start + self.job.size]}"[: self.job.size]


script = Script()
"""This worker's own: it does one job at a time."""


def as_json(value: Job | Work) -> dict[str, Any]:
    """Return a job or a count of work as plain data."""
    return asdict(value)
