"""`twobrain prune`: delete finished conversations."""

import re
import time
from collections.abc import Sequence
from dataclasses import asdict

from base.errors import ConfigurationError
from base.texts import count
from doctor.prune import Pruned, prunable
from doctor.prune import prune as pruned
from graphs.session import Orchestrator
from terminal.commands.conversations.threads import COLUMNS
from terminal.lists import show, show_json
from terminal.prompt import agrees
from terminal.screen import Screen, open_screen

_UNITS = {"h": 3_600, "d": 86_400, "w": 7 * 86_400}
_AGE = re.compile(r"(\d{1,6})([hdw])")


async def prune(  # noqa: PLR0913 (each is one option)
    orchestrator: Orchestrator, age: str, *, audit: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Delete threads not used for an age such as `30d`, after asking."""
    screen = open_screen(machine=as_json)
    found = _AGE.fullmatch(age.strip())
    if found is None:
        raise ConfigurationError(f"--older-than {age!r} is no age. Give one such as 12h, 30d or 8w.")
    before = time.time() - int(found[1]) * _UNITS[found[2]]
    threads = [] if yes and not dry_run else await prunable(orchestrator, before)
    if dry_run and as_json:
        show_json(screen, {"threads": threads, "dry_run": True})
    elif dry_run:
        await _foretell(screen, orchestrator, threads)
    elif not threads or await _agreed(screen, threads, age, audit=audit):
        _report(screen, await pruned(orchestrator, before, audit=audit), as_json=as_json)


async def _agreed(screen: Screen, threads: Sequence[str], age: str, *, audit: bool) -> bool:
    if not screen.interactive:
        raise ConfigurationError(
            "twobrain prune deletes for good and nobody is here to be asked: "
            "say --yes, or --dry-run to see what would go."
        )
    more = " and the audit of their calls" if audit else ""
    question = f"Delete {count(len(threads), 'finished thread')} not used for {age}{more}, for good?"
    agreed = await agrees(screen, question)
    if not agreed:
        screen.side.print("Nothing was deleted.", style="dim")
    return agreed


async def _foretell(screen: Screen, orchestrator: Orchestrator, threads: Sequence[str]) -> None:
    rows = [row for row in await orchestrator.ledger.threads() if row["thread"] in threads]
    zone = orchestrator.settings.zone("local")
    show(screen, rows, COLUMNS, "Nothing is as old as that and finished.", zone)
    screen.side.print(f"{count(len(threads), 'thread')} would go.", style="dim")


def _report(screen: Screen, done: Pruned, *, as_json: bool) -> None:
    if as_json:
        show_json(screen, asdict(done))
        return
    gone = f"{count(len(done.threads), 'thread')} and {count(done.results, 'long result')}"
    screen.out.print(f"Deleted {gone}; {done.freed_bytes / 1e6:,.1f} MB freed.")
    if not done.compacted:
        busy = "Another process was at work: not all of the room went back to the disk. Run it again later."
        screen.note(busy, "yellow")
