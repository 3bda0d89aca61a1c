"""`twobrain skills`: instructions for kinds of work, in a person's folder."""

import shutil
from pathlib import Path

from base.errors import ConfigurationError, RequestError
from base.settings import LOCAL
from base.texts import visible
from base.worker_threads import in_thread
from graphs.session import Orchestrator
from terminal.lists import list_rows, show_json
from terminal.prompt import agrees
from terminal.screen import open_screen
from terminal.text import plain
from tools.declaration import ToolFailure
from tools.skills.skills import FILE, Skill, file_of, find_skills, skills_of, trust

_COLUMNS = ("name", "description", "whose", "untrusted", "why_not")
_NONE = "There are no skills in {place}. A skill is a folder with a SKILL.md: see docs/skills.md."
_TRUSTED = "{name} counts as yours from now on: what it says is followed."
_NOT_MARKED = "{name} counts as yours already."


async def list_all(orchestrator: Orchestrator, *, user: str | None, as_json: bool) -> None:
    """List the skills, and what is none."""
    settings, user = orchestrator.settings, _known(orchestrator, user)
    skills, problems = await in_thread(lambda: find_skills(settings, user))
    rows = [_as_row(orchestrator, user, each) for each in skills.values()]
    rows += [{"name": each.path, "why_not": each.why} for each in problems]
    place = skills_of(settings, user).path
    list_rows(rows, _COLUMNS, _NONE.format(place=place), as_json=as_json)


async def show(orchestrator: Orchestrator, name: str, *, user: str | None, as_json: bool) -> None:
    """Show a skill as it is written."""
    user = _known(orchestrator, user)
    skill, screen = await _find(orchestrator, user, name), open_screen(machine=as_json)
    row = _as_row(orchestrator, user, skill)
    text = await in_thread(lambda: file_of(skills_of(orchestrator.settings, user), skill, FILE))
    if as_json:
        show_json(screen, {**row, "text": text})
        return
    screen.note(str(row["path"]), "dim")
    if skill.untrusted:
        screen.note(f"Written after untrusted content. Read it; then: twobrain skills trust {name}", "yellow")
    screen.out.print(visible(plain(text), "\n\t"), markup=False, highlight=False, soft_wrap=True)


async def trust_it(orchestrator: Orchestrator, name: str, *, user: str | None) -> None:
    """Take the mark off a skill."""
    user = _known(orchestrator, user)
    skill = await _find(orchestrator, user, name)
    if skill.untrusted:
        try:
            await in_thread(lambda: trust(skills_of(orchestrator.settings, user), skill))
        except ToolFailure as failure:
            raise RequestError(str(failure)) from None
    told = _TRUSTED if skill.untrusted else _NOT_MARKED
    open_screen().note(told.format(name=name))


async def remove(orchestrator: Orchestrator, name: str, *, user: str | None, yes: bool) -> int:
    """Delete a skill's folder, once a person has said yes."""
    user = _known(orchestrator, user)
    skill, screen = await _find(orchestrator, user, name), open_screen()
    path = _path(orchestrator, user, skill)
    if not yes:
        if not screen.interactive:
            raise ConfigurationError("Nobody is here to be asked: say --yes to delete it for good.")
        if not await agrees(screen, f"Delete {path} and all that lies in it, for good?"):
            screen.note("Nothing was deleted.", "dim")
            return 1
    await in_thread(lambda: shutil.rmtree(path))
    screen.note(f"Deleted the skill {name}.", "dim")
    return 0


def _known(orchestrator: Orchestrator, user: str | None) -> str:
    orchestrator.settings.user(user or LOCAL)
    return user or LOCAL


async def _find(orchestrator: Orchestrator, user: str, name: str) -> Skill:
    found = await in_thread(lambda: find_skills(orchestrator.settings, user))
    if skill := found.skills.get(name):
        return skill
    why = next((f" It is left out: {each.why}." for each in found.problems if each.path == name), "")
    raise RequestError(f"There is no skill {name!r}.{why} `twobrain skills list` lists those there are.")


def _path(orchestrator: Orchestrator, user: str, skill: Skill) -> Path:
    place = skills_of(orchestrator.settings, user)
    return (place.root if skill.is_shared else place.path).joinpath(*skill.parts)


def _as_row(orchestrator: Orchestrator, user: str, skill: Skill) -> dict[str, object]:
    told = skill.front.model_dump(mode="json", by_alias=True, exclude_unset=True)
    whose = "everybody" if skill.is_shared else user
    path = str(_path(orchestrator, user, skill))
    return {**told, "path": path, "whose": whose, "untrusted": skill.untrusted, "why_not": None}
