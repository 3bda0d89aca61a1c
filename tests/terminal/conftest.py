"""A person's home with the real command in it, offline and without keys."""

import asyncio
import io
import json
import os
import re
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest
from pexpect.fdpexpect import fdspawn

from base.settings import load_settings
from graphs.session import open_orchestrator
from tests.terminal import forked

HOUSE = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "import cli; cli.main()"]
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[=>78])")


@dataclass(frozen=True)
class Home:
    directory: Path

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def workspace(self) -> Path:
        return self.data / "workspace"

    def env(self, **more: str) -> dict[str, str]:
        return {
            "HOME": str(self.directory),
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "PYTHONPATH": str(HOUSE),
            "TWOBRAIN_DATA_DIR": str(self.data),
            "PROMPT_TOOLKIT_NO_CPR": "1",
            **more,
        }

    def run(self, *args: str, stdin: str = "", code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command without a terminal, and check how it ends."""
        return _checked(forked.run(args, self.env(**env), self.directory, stdin), code)

    def run_anew(self, *args: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a Python that has just started."""
        done = subprocess.run(
            [*COMMAND, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.env(**env),
            cwd=self.directory,
            timeout=180,
            check=False,
        )
        return _checked(done, code)

    def json(self, *args: str, **options: Any) -> Any:
        """Run a command with --json, and return the one value it prints."""
        return json.loads(self.run(*args, "--json", **options).stdout)

    def stored(self, thread: str) -> list[Any]:
        """Return the content of a thread's messages, as they are kept."""

        async def read() -> list[Any]:
            async with open_orchestrator(load_settings(self.env())) as orchestrator:
                found = await orchestrator.snapshot(thread)
            return [message.content for message in found.values["messages"]]

        return asyncio.run(read())

    def write(self, name: str, text: str) -> None:
        self.workspace.mkdir(parents=True, exist_ok=True)
        (self.workspace / name).write_text(text)

    def configure(self, toml: str) -> None:
        (self.directory / "twobrain.toml").write_text(toml)


def _checked(done: subprocess.CompletedProcess[str], code: int) -> subprocess.CompletedProcess[str]:
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


class Terminal(fdspawn):
    """A person's terminal, and the command that was started at it."""

    def __init__(self, folder: Path, args: Sequence[str], environ: Mapping[str, str], columns: int) -> None:
        ours, its = os.openpty()
        termios.tcsetwinsize(its, (40, columns))
        self.process = forked.start_at(its, args, environ, folder)
        os.close(its)
        super().__init__(ours, timeout=180, encoding="utf-8")  # a busy machine takes its time to start
        self.logfile_read = io.StringIO()
        self._stops, self._ends = (termios.tcgetattr(ours)[6][key] for key in (termios.VINTR, termios.VEOF))

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self.child_fd, (rows, columns))

    def sendintr(self) -> None:
        """Press Ctrl-C."""
        self.send(self._stops.decode())

    def sendeof(self) -> None:
        """Press Ctrl-D."""
        self.send(self._ends.decode())

    def sees(self, *texts: str) -> str:
        """Wait for each text in turn; return what stood before the last."""
        for text in texts:
            self.expect_exact(text)
        return shown(self.before)

    @property
    def whole(self) -> str:
        """All that was shown so far."""
        return shown(self.logfile_read.getvalue())

    def ends(self, code: int) -> str:
        """Wait for the end, and check its exit code."""
        self.expect(pexpect.EOF)
        text = shown(self.before)
        self.process.join(180)
        assert self.process.exitcode == code, text
        assert "Traceback" not in text
        return text


def shown(text: str) -> str:
    return _ESCAPES.sub("", text).replace("\r", "")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def terminal(home: Home) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def spawn(*args: str, columns: int = 80, folder: Path | None = None, **env: str) -> Terminal:
        opened.append(Terminal(folder or home.directory, args, home.env(**env), columns))
        return opened[-1]

    yield spawn
    for each in opened:
        each.process.kill()
        each.process.join()
        each.close()
