"""A process that claims calls: `claimer.py DATABASE EFFECTS each COUNT` or `… hold CALL_ID`.

`each` claims COUNT calls at once and runs those that it gets. `hold` claims one, says so, and
ends only when its standard input does.
"""

import asyncio
import sys
from pathlib import Path

from ledger.ledger import Ledger
from ledger.records import Claimed
from tests.ledger.samples import call, claim, finish


async def run_one(ledger: Ledger, effects: Path, call_id: str) -> None:
    wanted = call(call_id, path=call_id)
    if isinstance(await claim(ledger, wanted), Claimed):
        with effects.open("a") as file:
            file.write(f"{call_id}\n")
        await finish(ledger, wanted)


async def hold(ledger: Ledger, call_id: str) -> None:
    sys.stdout.write(f"{type(await claim(ledger, call(call_id))).__name__}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await finish(ledger, call(call_id), "held and done")


async def main(database: str, effects: str, task: str, what: str) -> None:
    ledger = await Ledger.open(database)
    if task == "hold":
        await hold(ledger, what)
    else:
        await asyncio.gather(*(run_one(ledger, Path(effects), f"c{n}") for n in range(int(what))))
    await ledger.close()


asyncio.run(main(*sys.argv[1:]))
