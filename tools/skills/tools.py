"""Skills: read when they are needed, and proposed to a person."""

from collections.abc import Sequence
from contextlib import suppress
from difflib import unified_diff
from typing import Annotated

from base.settings import LOCAL
from base.texts import count, visible
from tools.command import run_command
from tools.declaration import Here, ToolFailure, Undo, Untrusted, tool
from tools.files.file_changes import log_undo, undo_in
from tools.files.folder import NothingThereError
from tools.files.workspace import Workspace
from tools.skills.skills import FILE, Skill, composed, file_of, instructions_of, skills_of, usable_skills

_PROPOSED = 20_000
"""Characters of the instructions that a model may propose: a person has to read them."""
_NONE_THERE = "There is no skill {name!r}. {others}"
_MARKS = (
    "It is written after text that strangers may have written, so it is marked: what it says counts as "
    "theirs, until you have read it and say `twobrain skills trust {name}`."
)


def _workspace(here: Here) -> Workspace:
    return skills_of(here.settings, here.user)


def _find(here: Here, name: str) -> Skill:
    skills = usable_skills(here.settings, here.user)
    if skill := skills.get(name):
        return skill
    names = ", ".join(skills)
    raise ToolFailure(_NONE_THERE.format(name=name, others=f"There are: {names}." if names else "").strip())


@tool(effect="read")
def read_skill(
    here: Here,
    name: Annotated[str, "a skill's name"],
    file: Annotated[str, "another file that it names"] = FILE,
) -> str:
    """Read what a skill says is to be done, or another file of it."""
    skill, place = _find(here, name), _workspace(here)
    told = instructions_of(place, skill) if file == FILE else file_of(place, skill, file)
    if file == FILE and any(each.name == run_command.name for each in here.offered()):
        told += f"\n\nIts folder: {place.path.joinpath(*skill.parts)}"
    return Untrusted(told) if skill.untrusted else told


def _preview(here: Here, name: str, description: str, body: str) -> str:
    new = _proposed(here, name, description, body)
    old = _held(here, name)
    what = "Replace the skill" if old is not None else "Keep a new skill"
    whose = "yours" if here.user == LOCAL else f"{visible(here.user)}'s"
    title = f"{what} {visible(name)}, {whose} alone. What it says is followed from then on, where it fits:"
    return "\n".join([title, *([_MARKS.format(name=name)] if here.tainted else []), *_whole(old, new)])


def _proposed(here: Here, name: str, description: str, body: str) -> str:
    if len(body) > _PROPOSED:
        raise ToolFailure(f"Its instructions are longer than {count(_PROPOSED, 'character')}: say less.")
    return composed(name, description, body, untrusted=here.tainted)


def _held(here: Here, name: str) -> str | None:
    """Return what there is under a name: theirs, else everybody's."""
    with suppress(NothingThereError), _workspace(here).folder((name,)) as folder:
        return folder.text(FILE).text
    with suppress(ToolFailure):
        skill = _find(here, name)
        with _workspace(here).folder(skill.parts) as folder:
            return folder.text(FILE).text
    return None


def _whole(old: str | None, new: str) -> Sequence[str]:
    """Return all lines of a skill, and how it differs."""
    if old is None:
        return [f"+{line}" for line in new.splitlines()]
    before, after = old.splitlines(), new.splitlines()
    found = list(unified_diff(before, after, lineterm="", n=len(before) + len(after)))
    return found[3:] or ["It says exactly that already.", *(f" {line}" for line in after)]


def _is_there(here: Here, name: str, description: str, body: str) -> bool | None:
    with _workspace(here).parent(f"{name}/{FILE}") as (folder, file):
        return True if folder.text(file).text == _proposed(here, name, description, body) else None


_AS_BEFORE: Undo = undo_in(_workspace)


# What a person agrees to here is followed in every later turn, so nothing agreed to beforehand can cover it.
@tool(
    effect="write",
    preview=_preview,
    verify=_is_there,
    undo=_AS_BEFORE,
    always_asks="what a skill says is followed in every later conversation",
)
def propose_skill(
    here: Here,
    name: Annotated[str, "small letters, digits and single hyphens"],
    description: Annotated[str, "one line: what it does, and when to use it"],
    body: Annotated[str, "the instructions, in Markdown"],
) -> str:
    """Propose a skill, instructions for a kind of work that comes again, to be kept if the person agrees."""
    new = _proposed(here, name, description, body)
    with _workspace(here).parent(f"{name}/{FILE}", create=True) as (folder, file):
        why_not = log_undo(here, folder, file, new.encode())
        folder.write(file, new.encode())
    done = f"Kept the skill {name}"
    return " ".join(f"{each}." for each in (done, *why_not))


TOOLS = (read_skill, propose_skill)
