"""Processes forked from one that spent the time that the imports take: the command, or a function of ours."""

import asyncio
import fcntl
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self, TextIO

_ENDS_WITHIN_S = 180
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "cli",
        "terminal.app",
        "terminal.commands.ask",
        "terminal.commands.chat",
        "terminal.commands.setup.doctor",
        "terminal.commands.pending",
        "tools.registry",
        "langchain_openai",
        "langchain_anthropic",
        "langchain_google_genai",
        "models.providers.anthropic",
        "models.providers.claude_code",
        "models.providers.google",
        "models.providers.offline",
        "models.providers.openai",
        "tests.behaviour.crashes.test_kills",
    ]
)


def run(
    args: Sequence[str], environ: Mapping[str, str], folder: Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `twobrain` with the arguments, this environment alone, in a folder."""
    with tempfile.TemporaryDirectory() as place:
        streams = [Path(place, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].write_text(stdin, encoding="utf-8")
        process = FORKS.Process(target=_command, args=(args, dict(environ), folder, streams))
        process.start()
        process.join(_ENDS_WITHIN_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        code = process.exitcode
        process.close()
        out, err = (stream.read_text(encoding="utf-8") for stream in streams[1:])
    return subprocess.CompletedProcess(args, code, out, err)


class Forked:
    """A function in a process of its own, with as much of `subprocess.Popen` as the tests need.

    Its standard input and output are ours; a process that is left is ended by the end of its input.
    """

    def __init__(self, function: Callable[..., None], *args: Any) -> None:
        """Call the function, which can be pickled, in the working directory that the first fork had."""
        stdin, ours = FORKS.Pipe(duplex=False)
        theirs, stdout = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=_piped, args=(function, args, stdin, stdout))
        self._process.start()
        stdin.close()
        stdout.close()
        self.stdin, self.stdout = _stream(ours, "w"), _stream(theirs, "r")

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float = _ENDS_WITHIN_S) -> int:
        """Wait for the end, and return the exit code."""
        self._process.join(timeout)
        assert self.returncode is not None, "it goes on"
        return self.returncode

    def communicate(self, timeout: float = _ENDS_WITHIN_S) -> str:
        """End the input, and return what it writes to its end."""
        self.stdin.close()
        with self.stdout:
            said = self.stdout.read()
        self.wait(timeout)
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self.stdin.close()
        self.wait()
        self.stdout.close()


def _stream(end: Connection, mode: str) -> TextIO:
    with end:
        return open(os.dup(end.fileno()), mode, encoding="utf-8")  # noqa: PTH123 (no path)


def _piped(function: Callable[..., None], args: Sequence[Any], stdin: Connection, stdout: Connection) -> None:
    for number, end in enumerate((stdin, stdout)):
        os.dup2(end.fileno(), number)
        end.close()
    _begin("rw")
    function(*args)


def _begin(modes: str) -> None:
    """Open the streams anew; look for no garbage among what was imported, which would be copied for it."""
    gc.freeze()
    streams = (
        open(number, mode, encoding="utf-8")  # noqa: PTH123, SIM115 (the process's own, to its end)
        for number, mode in enumerate(modes)
    )
    for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=False):
        setattr(sys, name, stream)


def start_at(terminal: int, args: Sequence[str], environ: Mapping[str, str], folder: Path) -> BaseProcess:
    """Start `twobrain` at a terminal, given by its slave end's file descriptor."""
    with Connection(os.dup(terminal)) as end:
        process = FORKS.Process(target=_at_terminal, args=(end, args, dict(environ), folder))
        process.start()
    return process


def _at_terminal(end: Connection, args: Sequence[str], environ: Mapping[str, str], folder: Path) -> None:
    os.setsid()
    fcntl.ioctl(end.fileno(), termios.TIOCSCTTY, 0)
    for number in range(3):
        os.dup2(end.fileno(), number)
    end.close()
    _begin("rww")
    _be_twobrain(args, environ, folder)


async def run_beside(
    args: Sequence[str], environ: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run `twobrain` while the event loop goes on."""
    return await asyncio.to_thread(partial(run, args, environ, folder))


def _command(args: Sequence[str], environ: Mapping[str, str], folder: Path, streams: Sequence[Path]) -> None:
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
    _begin("rww")
    _be_twobrain(args, environ, folder)


def _be_twobrain(args: Sequence[str], environ: Mapping[str, str], folder: Path) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, a shell has it ignored
    sys.argv = ["twobrain", *args]
    import cli

    cli.main()
