"""Skills: folders of instructions in the data directory, in the open format.

    DATA_DIR/skills/NAME/SKILL.md            of whoever is `local`
        shared/NAME/SKILL.md                 everybody's
        .people/alice/NAME/SKILL.md          alice's; of two that bear one name, hers counts

So people's folders are told apart as those of the workspace are. SKILL.md is as
agentskills.io/specification has it (November 2026): YAML between two lines of `---`, then the
instructions.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from base.data_dir import SKILLS
from base.settings import Settings
from base.texts import is_blank, mended, visible
from tools.declaration import ToolFailure
from tools.files.folder import Folder, NothingThereError, Parts
from tools.files.workspace import SHARED, Workspace, parts_below

FILE = "SKILL.md"
_MARK = "twobrain-untrusted"
"""Key in the metadata of a skill that was written after untrusted content."""
_MARKED = f'metadata:\n  {_MARK}: "true"\n'
_FOLDERS = 200
"""Folders of one place that are looked into."""
_SKILLS_IN_PROMPT = 100
_LARGEST_SKILL = 100_000
"""Bytes of SKILL.md."""
_LONGEST_FRONT = 16_000
"""Characters between its two lines of `---`."""
_LEAST_SHOWN = 60
"""Characters of each description that a prompt shows, however little room there is."""
_LISTED_FILES = 100
_REMEMBERED_SKILLS = 1_000
"""Front matters that are read once, and problems that are logged once: each round asks for all."""
_WHOLE = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_log = logging.getLogger(__name__)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Description = Annotated[str, StringConstraints(min_length=1, max_length=1_024)]


class FrontMatter(BaseModel):
    """What a skill says of itself; other fields are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    name: Name
    description: Description
    license: str | None = None
    compatibility: str | None = Field(default=None, min_length=1, max_length=500)
    metadata: Mapping[str, str] = {}
    allowed_tools: str | list[str] = Field(default="", alias="allowed-tools")
    """Tools it would have run unasked; it is shown, and has no say here."""


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill that may be used."""

    front: FrontMatter
    parts: Parts
    """Of its folder, below its person's."""
    in_workspace: bool = False
    """Whatever writes files there may have written it."""

    @property
    def name(self) -> str:
        """Its name, which is its folder's."""
        return self.front.name

    @property
    def is_shared(self) -> bool:
        """Whether it is everybody's."""
        return self.parts[0] == SHARED

    @property
    def untrusted(self) -> bool:
        """Whether untrusted content may have written it."""
        return self.in_workspace or _MARK in self.front.metadata


class Problem(NamedTuple):
    """What lies among the skills and is none."""

    path: str
    why: str


class Found(NamedTuple):
    """A person's skills by name, and what is none."""

    skills: Mapping[str, Skill]
    problems: Sequence[Problem]


def skills_of(settings: Settings, user: str) -> Workspace:
    """Return where a person's skills are."""
    return Workspace(settings.data_dir / SKILLS, user, settings.data_dir)


def find_skills(settings: Settings, user: str) -> Found:
    """Return a person's skills, sorted by name; blocks."""
    place = skills_of(settings, user)
    skills: dict[str, Skill] = {}
    problems: list[Problem] = []
    if place.root.is_dir():  # else nothing is made there
        for parts in ((SHARED,), ()):
            for found in _found_in(place, parts):
                if isinstance(found, Problem):
                    problems.append(found)
                else:
                    skills[found.name] = replace(found, in_workspace=_lies_in_workspace(settings))
    return Found(dict(sorted(skills.items())), problems)


def _lies_in_workspace(settings: Settings) -> bool:
    """Tell whether the skills are linked to where tools write.

    The data directory itself is shut to them.
    """
    data, workspace = settings.data_dir.resolve(), settings.workspace.resolve()
    place = (settings.data_dir / SKILLS).resolve()
    is_shut = data.is_relative_to(workspace) and place.is_relative_to(data)
    return place.is_relative_to(workspace) and not is_shut


def usable_skills(settings: Settings, user: str) -> Mapping[str, Skill]:
    """Return a person's skills, as `find_skills`; what is none is logged once."""
    found = find_skills(settings, user)
    for problem in found.problems:
        _log_once(skills_of(settings, user).root / problem.path, problem.why)
    return found.skills


def _found_in(place: Workspace, parts: Parts) -> Iterator[Skill | Problem]:
    try:
        with place.folder(parts) as folder:
            names = [each for each in folder.names() if not each.startswith(".")]
            for name in names[:_FOLDERS]:
                entry = folder.look(name)
                if entry and entry.kind in {"folder", "link"} and (parts or name != SHARED):
                    yield from _read(folder, name, parts)
            if len(names) > _FOLDERS:
                yield Problem("/".join(parts), f"holds more than {_FOLDERS} folders: the rest is left out")
    except NothingThereError:
        return  # nobody has made the shared one
    except ToolFailure as failure:
        yield Problem("/".join(parts), str(failure))


def _read(parent: Folder, name: str, parts: Parts) -> Iterator[Skill | Problem]:
    try:
        with parent.below(name) as folder:
            if not folder.names():
                return  # what an undo leaves
            yield Skill(_front_of(folder, name), (*parts, name))
    except ToolFailure as failure:
        yield Problem(visible("/".join((*parts, name))), visible(str(failure)).rstrip("."))


def _front_of(folder: Folder, name: str) -> FrontMatter:
    front, _ = _split(_text_of(folder))
    read = _front_matter(front)
    if isinstance(read, str):
        raise ToolFailure(read)
    if read.name != name:
        raise ToolFailure(f"its name is {read.name!r}, and has to be its folder's")
    return read


def _text_of(folder: Folder) -> str:
    if folder.data(FILE, _LARGEST_SKILL) is None:
        raise ToolFailure(f"{FILE} is larger than {_LARGEST_SKILL:,} bytes")
    return folder.text(FILE).text.replace("\r\n", "\n")


def _split(text: str) -> tuple[str, str]:
    """Return front matter and instructions."""
    whole = _WHOLE.match(text)
    if not whole or len(whole[1]) > _LONGEST_FRONT:
        raise ToolFailure(f"{FILE} does not begin with YAML between two lines of ---")
    return whole[1], text[whole.end() :].strip()


@lru_cache(maxsize=_REMEMBERED_SKILLS)
def _front_matter(text: str) -> FrontMatter | str:
    """Return what YAML says of a skill, or what is wrong.

    Every value is taken as text. Read once, it saves 26 ms of a turn of 15 rounds with three skills.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        told = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 (it makes texts, lists and mappings alone)
        read = FrontMatter.model_validate(told)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return _in_words(error)
    return read if not is_blank(read.description) else "description is empty"


def _in_words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "string_pattern_mismatch":
            return "name: small letters and digits are allowed, and single hyphens between them"
        return f"{'.'.join(map(str, first['loc'])) or 'its front matter'}: {first['msg']}"
    line = getattr(getattr(error, "problem_mark", None), "line", None)
    return "its front matter is no YAML" + ("" if line is None else f" (line {line + 2})")


@lru_cache(maxsize=_REMEMBERED_SKILLS)
def _log_once(path: Path, why: str) -> None:
    _log.info("the skill %s is left out: %s", path, why)  # doctor says it, too


def told_of(skills: Mapping[str, Skill], chars: int) -> str:
    """Return a line for each skill, in about so many characters.

    A description is one line of JSON without `<`, so that it closes no tag and begins no line. One that
    was written after untrusted content is not shown: the prompt taints no turn.
    """
    shown = list(islice(skills.values(), _SKILLS_IN_PROMPT))
    most = max(_LEAST_SHOWN, chars // max(1, len(shown)))
    more = [f"- (and {len(skills) - len(shown):,} more)"] if len(skills) > len(shown) else []
    return "\n".join([*(f"- {skill.name}: {_quoted(skill, most)}" for skill in shown), *more])


def _quoted(skill: Skill, most: int) -> str:
    if skill.untrusted:
        return "(written after untrusted content)"
    words = visible(" ".join(skill.front.description.split()))
    cut = words if len(words) <= most else f"{words[: most - 1]}…"
    return json.dumps(cut, ensure_ascii=False).replace("<", "\\u003c")


def instructions_of(place: Workspace, skill: Skill) -> str:
    """Return a skill's instructions, and names of its other files."""
    with place.folder(skill.parts) as folder:
        _, body = _split(_text_of(folder))
    before = len("/".join(skill.parts)) + 1
    paths = [folder.path(entry.name)[before:] for folder, entry in place.walk(skill.parts)]
    others = sorted(visible(path) for path in paths if path != FILE)
    lines = [*others[:_LISTED_FILES], *(["…"] if len(others) > _LISTED_FILES else [])]
    return "\n".join(
        [body or "(It says nothing more.)", *(["", "Its other files:", *lines] if lines else [])]
    )


def file_of(place: Workspace, skill: Skill, path: str) -> str:
    """Return what a text file of a skill holds.

    Raises:
        ToolFailure: it is none, is too large, or lies outside the skill's folder.
    """
    below = parts_below((), path)
    if not below or below[0] in {"..", "~"}:
        raise ToolFailure(f"{path!r} is no file of the skill. Give a path in its folder, as it names them.")
    with place.folder((*skill.parts, *below[:-1])) as folder:
        return folder.text(below[-1]).text


def composed(name: str, description: str, body: str, *, untrusted: bool) -> str:
    """Return the SKILL.md of a proposal.

    Raises:
        ToolFailure: it would be no valid skill.
    """
    if visible(description) != description:
        raise ToolFailure("A description is one line, of what can be seen alone.")
    said = json.dumps(mended(description), ensure_ascii=False)  # which YAML reads as it is
    mark = _MARKED if untrusted else ""
    front = f"name: {name}\ndescription: {said}\n{mark}"
    read = _front_matter(front)
    if isinstance(read, str):
        raise ToolFailure(f"That is no valid skill: {read}.")
    if read.name != name:  # YAML has comments, and the folder is named by the whole
        raise ToolFailure(f"That is no valid skill: {name!r} is read as {read.name!r}.")
    if name == SHARED:
        raise ToolFailure(f"A skill cannot be named {SHARED!r}: that folder is everybody's.")
    return f"---\n{front}---\n\n{mended(body).strip()}\n"


def trust(place: Workspace, skill: Skill) -> None:
    """Take the mark off a skill.

    Raises:
        ToolFailure: it lies in the workspace, or has the mark otherwise than we write it.
    """
    if skill.in_workspace:
        raise ToolFailure(f"{place.root} lies in the workspace, where others' files are: move it out.")
    with place.folder(skill.parts) as folder:
        text = folder.text(FILE).text
        if _MARKED not in text:
            raise ToolFailure(f"Take the line {_MARK!r} out of its {FILE} by hand.")
        folder.write(FILE, text.replace(_MARKED, "", 1).encode())
