"""The check of settings, files, databases, models, tools and threads."""

import asyncio
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from base.data_dir import CHECKPOINTS, LEDGER, MEMORIES, SKILLS
from base.environment import variables_in, where
from base.errors import ConfigurationError, StorageError, TwobrainError
from base.settings import EVERYBODY_ELSE, LOCAL, Settings, load_settings
from base.texts import count, local_time, visible
from channels.hooks import read_hooks
from channels.service import open_messengers
from doctor.diagnose import diagnose
from doctor.machine import Finding, check_machine, close_dotenv
from doctor.missing_records import WHY, missing_threads
from graphs.session import Orchestrator, open_orchestrator
from ledger.usage import BEGUN
from models.catalog import ModelRegistry
from models.failures import happened
from schedules.destinations import barred
from storage.sqlite import why
from tools.files.workspace import SHARED, Workspace
from tools.registry import open_registry
from tools.skills.skills import find_skills, skills_of

_DATABASES = {"checkpoints": CHECKPOINTS, "ledger": LEDGER, "memories": MEMORIES}
_MISSING = (
    f"{{}}: not, or not wholly, in the ledger; {WHY}. Put back its newest copy; where there is none, "
    "twobrain doctor --thread THREAD says what is missing, and --repair notes what the conversation tells"
)
_LEAST_FREE_BYTES = 100_000_000
_DAY_S = 86_400
_NAMES_IN_A_LINE = 5


async def check_all() -> list[Finding]:
    """Look at settings, files, databases, models, tools and threads.

    What cannot be looked at because of what was found before is left out.
    """
    try:
        settings = await asyncio.to_thread(load_settings)
        source = str(settings.source or "no twobrain.toml; what is present chooses")
        found = [Finding("settings", "good", source), *_models(settings), _tools(settings)]
        found += [*_people(settings), *_destinations(settings), *_hooks(settings)]
        found += [*_unset(settings), *await asyncio.to_thread(_messengers, settings)]
        found += await asyncio.to_thread(_skills, settings)
        found += check_machine(settings)
    except TwobrainError as error:
        return [Finding("settings", "bad", str(error))]
    files = await asyncio.to_thread(lambda: [_folder(settings), *_databases(settings)])
    found += files
    is_there = settings.database_url or (settings.data_dir / CHECKPOINTS).exists()
    if all(one.state != "bad" for one in files) and is_there:
        try:
            async with open_orchestrator(settings) as orchestrator:
                if settings.database_url:
                    found.append(Finding("database", "good", orchestrator.ledger.database.name))
                found += await _failing(orchestrator)
                found += await _threads(orchestrator)
        except StorageError as error:
            found.append(Finding("database" if settings.database_url else "threads", "bad", str(error)))
    return found


def close_to_others(settings: Settings) -> None:
    """Make each `.env`, and everything in the data directory, its owner's alone."""
    close_dotenv()
    for path in _open_to_others(settings.data_dir):
        path.chmod(0o700 if path.is_dir() else 0o600)


def _models(settings: Settings) -> Iterator[Finding]:
    registry = ModelRegistry(settings)
    for role, names in registry.roles.items():
        usable = [name for name in names if registry.missing(name) is None]
        missing = [f"{name}: {registry.missing(name)}" for name in names if name not in usable]
        told = "; ".join([f"{', '.join(usable)}" if usable else "no model can be used", *missing])
        yield Finding(role, "bad" if not usable else "note" if missing else "good", told)


def _tools(settings: Settings) -> Finding:
    tools = list(open_registry(settings))
    missing = [tool.name for tool in tools if tool.missing(settings)]
    if not missing:
        return Finding("tools", "good", count(len(tools), "tool"))
    usable = f"{len(tools) - len(missing)} of {len(tools)}"
    return Finding("tools", "note", f"{usable}; not set up: {', '.join(missing)} (see twobrain tools)")


def _people(settings: Settings) -> Iterator[Finding]:
    """Say where the files of each person are, where there are several."""
    root = settings.workspace
    people = [name for name in settings.users if name not in {LOCAL, EVERYBODY_ELSE}]
    told = [f"{visible(name)}: {Workspace(root, name, settings.data_dir).path}" for name in people]
    if people:
        yield Finding("people", "good", "; ".join([*told, f"everybody: {root / SHARED}"]))


def _destinations(settings: Settings) -> Iterator[Finding]:
    """Say where people cannot be told, though twobrain.toml says so."""
    named = [
        (f"[users.{user}] notify", user, place)
        for user, card in settings.users.items()
        for place in card.notify
    ]
    named += [(f"[hooks.{hook.name}] to", hook.card.user, hook.card.to) for hook in read_hooks(settings)[0]]
    for table, user, place in named:
        if place and (why := barred(settings, user, place)):
            told = f"{table}: {place!r} cannot be told, for {why}: what is meant for it comes on the page"
            yield Finding("places", "bad", visible(told))


def _skills(settings: Settings) -> list[Finding]:
    """Say which skills each person has, and what is none, and why."""
    told: list[Finding] = []
    wrong: set[str] = set()
    for user in (LOCAL, *(name for name in settings.users if name not in {LOCAL, EVERYBODY_ELSE})):
        skills, problems = find_skills(settings, user)
        names = [f"{each.name} (untrusted)" if each.untrusted else each.name for each in skills.values()]
        whose = "skills" if user == LOCAL else f"skills of {visible(user)}"
        told += [Finding(whose, "good", _listed(names))] if names else []
        wrong.update(f"{skills_of(settings, user).root / each.path}: {each.why}" for each in problems)
    return [*told, *(Finding("skills", "note", f"left out, {each}") for each in sorted(wrong))]


def _hooks(settings: Settings) -> Iterator[Finding]:
    """Say which hooks can be called, and why others cannot."""
    hooks, problems = read_hooks(settings)
    if hooks:
        yield Finding("hooks", "good", ", ".join(hook.name for hook in hooks))
    if problems:
        yield Finding("hooks left out", "bad", "; ".join(problems))


def _unset(settings: Settings) -> Iterator[Finding]:
    """Name what twobrain.toml says holds a secret, and holds none."""
    tables = {"tools": settings.tools, "mcp": settings.mcp, "server": settings.server.model_dump()}
    for place, variable in variables_in(tables):
        if not settings.secret(variable):
            told = f"{where(settings.source, place)} names {variable}, which is not set"
            yield Finding("variables", "bad", told)


def _messengers(settings: Settings) -> list[Finding]:
    """Say which messengers can be used, or why one cannot."""
    try:
        names = [messenger.name for messenger in open_messengers(settings)]
    except ConfigurationError as error:
        return [Finding("messengers", "bad", str(error))]
    return [Finding("messengers", "good", ", ".join(names))] if names else []


def _folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    if not folder.exists():
        return Finding("data", "good", f"{folder}, which is made when it is first needed")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return Finding("data", "bad", f"{folder} cannot be written; set TWOBRAIN_DATA_DIR to one that can")
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE_BYTES:
        return Finding("data", "bad", f"{folder}: {free:,} bytes are free on the disk; make room")
    if opened := [path.name for path in _open_to_others(folder)]:
        return Finding("data", "bad", f"{folder}: others can read {_listed(opened)}; --repair closes that")
    return Finding("data", "good", f"{folder}, yours alone")


def _open_to_others(folder: Path) -> Iterator[Path]:
    if os.name == "posix" and folder.is_dir():
        for path in (folder, *(each for each in folder.iterdir() if each.name != SKILLS)):  # made by hand
            if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077:
                yield path


def _databases(settings: Settings) -> Iterator[Finding]:
    for name, file in ({} if settings.database_url else _DATABASES).items():
        path = settings.data_dir / file
        if path.is_file():
            yield _database(name, path)
        elif name == "ledger" and (settings.data_dir / CHECKPOINTS).exists():
            yield Finding(name, "note", "none, though there are checkpoints")
        else:
            yield Finding(name, "good", "none yet")


def _database(name: str, path: Path) -> Finding:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=10)) as database:
            said = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        return Finding(name, "bad", f"{path}: {why(error)}")
    if said != "ok":
        return Finding(name, "bad", f"{path} is damaged ({said}); put back a copy, or move it away")
    return Finding(name, "good", f"whole, {path.stat().st_size / 1_000:,.0f} kB")


async def _failing(orchestrator: Orchestrator) -> list[Finding]:
    """Return the models whose last call, within a day, failed."""
    rows = await orchestrator.ledger.usage(since=time.time() - _DAY_S)
    zone = orchestrator.settings.zone("local")
    last = {row["backend"]: row for row in rows if row["error"] not in {BEGUN, "cancelled"}}
    return [
        Finding(
            name, "note", f"its last call failed: {happened(row['error'])} ({local_time(row['at'], zone)})"
        )
        for name, row in last.items()
        if row["error"]
    ]


async def _threads(orchestrator: Orchestrator) -> list[Finding]:
    known = [row["thread"] for row in await orchestrator.ledger.threads()]
    all_of_them = [*known, *await missing_threads(orchestrator)]
    told = [await diagnose(orchestrator, thread) for thread in all_of_them]
    found = [Finding("threads", "good", count(len(told), "conversation"))]
    whole = [one for one in told if one.missing_records or not one.remedies]
    if waiting := [one.thread_id for one in whole if one.condition == "waiting"]:
        found.append(Finding("waiting", "note", f"{_listed(waiting)} (see twobrain pending)"))
    cut_short = [one for one in whole if one.condition == "interrupted"]
    if names := [f"{one.thread_id} (in doubt)" if one.in_doubt else one.thread_id for one in cut_short]:
        found.append(Finding("cut short", "note", f"{_listed(names)} (twobrain resume THREAD goes on)"))
    if missing := [one.thread_id for one in told if one.missing_records]:
        found.append(Finding("missing records", "bad", _MISSING.format(_listed(missing))))
    if damaged := [one.thread_id for one in told if one.remedies and not one.missing_records]:
        text = f"{_listed(damaged)} (twobrain doctor --thread THREAD says what can be done)"
        found.append(Finding("to repair", "bad", text))
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_IN_A_LINE} more" if len(names) > _NAMES_IN_A_LINE else ""
    return f"{', '.join(names[:_NAMES_IN_A_LINE])}{more}"
