"""The check of this machine: `.env`, PATH, the workspace, MCP servers' programs."""

import difflib
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from base.environment import config_dir, dotenv_files, variables_of
from base.settings import Settings
from graphs.shadowing import CHECKOUT
from models.providers import MODULES, provider
from tools.mcp.config import read_servers

_OUR_VARIABLES = ("TWOBRAIN_CONFIG", "TWOBRAIN_DATA_DIR", "TWOBRAIN_DATABASE_URL", "TWOBRAIN_WORKSPACE", "TZ")
_LIBRARIES_VARIABLES = (
    "OTEL_",
    "LANGSMITH_",
    "LANGCHAIN_",
    "LANGGRAPH_",
    "CLAUDE_",
    "SSL_",
    "HTTP",
    "NO_PROXY",
    "ALL_PROXY",
)
"""How variables begin that libraries read."""
_LEAST_LIKENESS = 0.8
"""From 0 to 1: how much of a name must be another's to be taken for a slip."""
_PROGRAM = "twobrain"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: Literal["good", "note", "bad"]
    text: str


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Yield what is found beside the data directory."""
    yield _workspace(settings)
    for path in dotenv_files():
        yield from _dotenv(path, settings)
    yield _on_path()
    for name, server in read_servers(settings).items():
        if server.command and not shutil.which(server.command, path=os.environ.get("PATH", os.defpath)):
            told = f"the program {server.command!r} is not on PATH; install it, or name its whole path"
            yield Finding(f"mcp {name}", "bad", told)


def close_dotenv() -> None:
    """Make each `.env` its owner's alone."""
    for path in dotenv_files():
        if path.is_file() and _others_read(path):
            path.chmod(0o600)


def how_to_reach() -> tuple[str, ...]:
    """Return the commands that put `twobrain` on PATH; none: it is there.

    They are those of what is at hand: uv, pipx, or a link.
    """
    if shutil.which(_PROGRAM):
        return ()
    house, pins = shlex.quote(str(CHECKOUT)), shlex.quote(str(CHECKOUT / "constraints.txt"))
    if shutil.which("uv"):
        return (f"uv tool install --editable {house} --constraints {pins}",)
    if shutil.which("pipx"):
        return (f"pipx install --editable {house} --pip-args={shlex.quote(f'-c {pins}')}",)
    folder = Path("~/.local/bin").expanduser()
    link = f"mkdir -p ~/.local/bin && ln -s {shlex.quote(str(_own_program()))} ~/.local/bin/{_PROGRAM}"
    if str(folder) in os.environ.get("PATH", "").split(os.pathsep):
        return (link,)
    return (
        link,
        f"""echo 'export PATH="$HOME/.local/bin:$PATH"' >> {_profile()}  # for new terminals""",
    )


def _profile() -> str:
    shell = Path(os.environ.get("SHELL", "")).name
    return {"zsh": "~/.zshrc", "bash": "~/.bashrc"}.get(shell, "~/.profile")


def how_to_call() -> str:
    """Return what calls this program in a shell, on PATH or not."""
    return _PROGRAM if shutil.which(_PROGRAM) else shlex.quote(str(_own_program()))


def _own_program() -> Path:
    beside = Path(sys.executable).parent / _PROGRAM
    return beside if beside.exists() else CHECKOUT / ".venv" / "bin" / _PROGRAM


def _on_path() -> Finding:
    found = shutil.which(_PROGRAM)
    if found is None:
        return Finding("PATH", "note", f"twobrain is not on it: {' ; '.join(how_to_reach())}")
    return Finding("PATH", "good", found)


def _workspace(settings: Settings) -> Finding:
    root = settings.workspace
    told = "set TWOBRAIN_WORKSPACE to a folder of its own"
    held = {"your home": Path.home(), "the data": settings.data_dir, "the configuration": config_dir()}
    for what, place in held.items():
        if place.resolve().is_relative_to(root.resolve()):
            return Finding("workspace", "bad", f"{root}: the file tools could change {what} in it; {told}")
    if root.exists() and not root.is_dir():
        return Finding("workspace", "bad", f"{root} is no folder; {told}")
    there = next(each for each in (root, *root.parents) if each.exists())
    if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
        return Finding("workspace", "bad", f"{root} cannot be written; {told}")
    return Finding("workspace", "good", str(root))


def _dotenv(path: Path, settings: Settings) -> Iterator[Finding]:
    """Yield how one `.env` stands; nothing where there is none."""
    name = str(path)
    if path.is_dir():
        yield Finding(".env", "note", f"{name} is a folder, of which nothing is read")
    elif path.is_file():
        said = variables_of(path)
        slips = list(_slips(said, settings, strictly=path.is_absolute()))
        if any(said.values()) and _others_read(path):
            yield Finding(".env", "bad", f"others can read {name}; --repair closes that")
        elif slips:
            yield Finding(".env", "note", f"{name}: {'; '.join(slips)}")
        else:
            yield Finding(".env", "good", name)


def _others_read(path: Path) -> bool:
    return os.name == "posix" and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _slips(said: Iterable[str], settings: Settings, *, strictly: bool) -> Iterator[str]:
    """Yield variables that nothing reads.

    Not strictly: only those whose name is like one that is read.
    """
    known = {*_OUR_VARIABLES, *settings.variables}
    for each in map(provider, MODULES):
        known |= {*each.key_variables, each.address_variable, each.model_variable}
    for server in read_servers(settings).values():
        known |= set(server.env_from)
    for name in said:
        if name in known or name.startswith(_LIBRARIES_VARIABLES):
            continue
        if alike := difflib.get_close_matches(name.upper(), known, 1, _LEAST_LIKENESS):
            yield f"{name} is read by nothing; did you mean {alike[0]}?"
        elif strictly:
            yield f"{name} is read by nothing"
