"""The tool run_command: a shell in the workspace, for admins."""

import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from base.processes import GRACE_S, MOST_OUTPUT, Output, run
from base.settings import Card, Settings
from base.worker_threads import in_thread
from tools.declaration import Here, Tool, ToolFailure, tool
from tools.files.workspace import SHARED, Workspace

_SHOWN_ENDS = 8_000
"""Bytes of a command's output that are told of its beginning, and as many of its end."""
_MARGIN_S = 10
"""Beyond the command's own limit and grace, before the call as a whole is given up."""


class CommandCard(Card):
    """The `[tools.run_command]` table."""

    enabled: bool = False
    """True: admins may run commands."""
    timeout_s: float = Field(default=60, gt=0, le=3_600)
    """Seconds a command may take; then it is stopped with all that it started."""


def _card(settings: Settings) -> CommandCard:
    return settings.read_table(("tools", "run_command"), CommandCard) or CommandCard()


def _missing(settings: Settings) -> str | None:
    return None if _card(settings).enabled else "set enabled = true in [tools.run_command] of twobrain.toml"


def _preview(here: Here, command: str) -> str:
    limit = _card(here.settings).timeout_s
    return f"Run in {_workspace(here).path}, for at most {limit:g} s:\n$ {command}"


@tool(
    effect="execute",
    label="Shell command",
    role="admin",
    untrusted=True,
    preview=_preview,
    missing=_missing,
)
async def run_command(here: Here, command: Annotated[str, "command line for /bin/sh"]) -> str:
    """Run a shell command in the workspace folder; tells its exit status and output.

    It gets no input. Whatever it leaves in the background is stopped when it ends.
    """
    if not command.strip() or "\0" in command:
        raise ToolFailure("The command is empty or holds a NUL character; give a line for /bin/sh.")
    limit = _card(here.settings).timeout_s
    folder = await in_thread(lambda: _make(_workspace(here)))
    usual = {"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8", "TERM": "dumb"}
    env = {name: here.settings.secret(name) or value for name, value in usual.items()}  # no key, no password
    output = Output(most=_SHOWN_ENDS)
    line = ("/bin/sh", "-c", command)
    try:
        status, left = await run(*line, env=env, limit_s=limit, output=output, cwd=folder)
    except OSError as error:
        raise ToolFailure(f"The command could not be started: {error.strerror}.") from None
    if status is None:
        raise ToolFailure(_stopped(f"took longer than {limit:g} s", output))
    if output.size > MOST_OUTPUT:
        raise ToolFailure(_stopped(f"wrote more than {MOST_OUTPUT:,} bytes", output))
    note = "\n(What it left running in the background was stopped.)" if left else ""
    how = f"Exit status {status}." if status >= 0 else f"Killed by {signal.Signals(-status).name}."
    return f"{how}\n{output}{note}".strip()


def _workspace(here: Here) -> Workspace:
    return Workspace(here.settings.workspace, here.user, here.settings.data_dir)


def _make(workspace: Workspace) -> Path:
    """Make and return a person's folder, which links to the shared one."""
    with workspace.folder(()) as folder, suppress(FileExistsError):
        if workspace.path != workspace.root:
            with workspace.folder((SHARED,)):
                os.symlink(f"../../{SHARED}", SHARED, dir_fd=folder.handle)
    return workspace.path


def _stopped(why: str, output: Output) -> str:
    said = f"It had written:\n{output}" if str(output) else "It had written nothing."
    return f"The command {why} and was stopped with all that it had started. {said}"


def tools(settings: Settings) -> tuple[Tool, ...]:
    """Return the family, with the time that twobrain.toml gives a command."""
    limit = _card(settings).timeout_s + GRACE_S + _MARGIN_S
    return (replace(run_command, timeout_s=limit),)
