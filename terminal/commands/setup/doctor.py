"""`twobrain doctor`: whether everything is in order, or how one thread stands."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from rich.table import Column, Table
from rich.text import Text

from base.errors import ConfigurationError
from base.settings import load_settings
from doctor.check import check_all, close_to_others
from doctor.diagnose import diagnose
from doctor.machine import Finding
from doctor.repair import repair
from graphs.session import Orchestrator
from terminal.conversation import thread_of
from terminal.lists import show_json
from terminal.log import last_entry
from terminal.screen import Screen, open_screen
from terminal.text import plain

_LOG_CHARS = 300
"""Characters of what was logged last."""
_MARKS = {"good": ("✓", "green"), "note": ("·", "yellow"), "bad": ("✗", "red")}


def check(*, mend: bool, as_json: bool, online: bool) -> int:
    """Look at everything; 1 where something is not in order.

    `online` reaches too what is reached over a network or started.
    """
    screen = open_screen(machine=as_json)
    if mend:
        close_to_others(load_settings())
    found = asyncio.run(_found(online=online))
    with suppress(ConfigurationError):  # errors that ended no turn, such as that of a record nobody awaited
        if last := last_entry(load_settings()):
            path, said = last
            text = f"{said[:_LOG_CHARS]} ({path} tells more; delete it once it is read)"
            found.append(Finding("errors", "note", text))
    good = all(finding.state != "bad" for finding in found)
    if as_json:
        show_json(screen, {"ok": good, "findings": [asdict(finding) for finding in found]})
    else:
        _show(screen, found)
    return 0 if good else 1


def _show(screen: Screen, found: Sequence[Finding]) -> None:
    """Print a line a finding, folded in a terminal alone."""
    if not screen.out.is_terminal:
        width = max(len(finding.name) for finding in found)
        for finding in found:
            mark, _ = _MARKS[finding.state]
            screen.out.print(f"{mark} {finding.name:<{width}} {plain(finding.text)}", soft_wrap=True)
        return
    table = Table.grid("", "", Column(overflow="fold"), padding=(0, 1))
    for finding in found:
        mark, style = _MARKS[finding.state]
        table.add_row(Text(mark, style), Text(finding.name), Text(plain(finding.text)))
    screen.out.print(table)


async def _found(*, online: bool) -> list[Finding]:
    found = await check_all()
    if online and found[0].state != "bad":  # the settings can be read
        from doctor.online import check_online

        logging.getLogger().addHandler(logging.NullHandler())  # each failure is a line of ours
        found += await check_online(load_settings())
    return found


async def examine(orchestrator: Orchestrator, thread_id: str, *, mend: bool, as_json: bool) -> int:
    """Explain a thread or repair it; 1 where it is damaged afterwards."""
    screen, thread_id = open_screen(machine=as_json), await thread_of(orchestrator.ledger, thread_id)
    done = await repair(orchestrator, thread_id) if mend else []
    found = await diagnose(orchestrator, thread_id)
    if as_json:
        show_json(screen, {**asdict(found), "done": done})
    else:
        for said in done:
            screen.out.print(f"Repaired: {plain(said)}.", soft_wrap=True)
        screen.out.print(plain(found.sentence), soft_wrap=True)
        for remedy in found.remedies:
            screen.note(f"--repair would {plain(remedy)}.", "yellow")
    return 1 if found.remedies else 0
