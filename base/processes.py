"""Programs in groups of their own, ended whole; their output held.

Where this process is killed, a small shell ends them: it reads from a pipe that ends with this process.
"""

import asyncio
import os
import secrets
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO

from base.worker_threads import in_thread

GRACE_S = 1.0
"""Seconds between the request to end and the end."""
MOST_OUTPUT = 50_000_000
"""Bytes; a program that is run to its end and writes more is ended."""

_BOTH_ENDS = 8_000
_KILLING_S = 2.0
"""For what is killed to be gone."""
_STEP_S = 0.05
_CHUNK = 65_536
_MARK = "TWOBRAIN_PROGRAM"
"""Variable by which the processes of a program are found, also those that have left its group."""
_GUARDIAN = """
trap '' HUP INT TERM
cd /
alive=' '
while read -r change id; do
  case $change in
    +) alive="$alive$id " ;;
    -) case $alive in *" $id "*) alive="${alive%% $id *} ${alive#* $id }" ;; esac ;;
  esac
done
for again in 1 2 3; do  # one that was being started may come last
  for id in $alive; do kill -9 "-$id"; done
  grep -ls "$1" /proc/[0-9]*/environ | while IFS=/ read -r _ _ id _; do kill -9 "-$id"; kill -9 "$id"; done
  sleep 0.1
done
"""
"""Reads `+ GROUP` and `- GROUP` to the end of its input; then it kills those, and all with the mark.

And the groups that these lead: this process may be killed before it has told of the group that it started.
"""


@dataclass(slots=True)
class Output:
    """What a program wrote: its beginning and its end."""

    most: int = _BOTH_ENDS
    """Bytes held of its beginning, and as many of its end."""
    head: bytearray = field(default_factory=bytearray)
    end: bytes = b""
    size: int = 0
    """Bytes written, held or not."""

    def add(self, data: bytes) -> None:
        """Take what comes next."""
        room = self.most - len(self.head)
        self.head += data[:room]
        self.end = (self.end + data[room:])[-self.most :]
        self.size += len(data)

    def __str__(self) -> str:
        left_out = self.size - len(self.head) - len(self.end)
        gap = f"\n… ({left_out:,} bytes left out) …\n".encode() if left_out else b""
        return (self.head + gap + self.end).decode(errors="replace").strip("\n")


@dataclass(slots=True)
class Program:
    """A program that runs."""

    process: Process
    stdout: asyncio.StreamReader
    left_running: bool = False
    """Whether something that it had started had to be stopped; known once it is ended."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def beside(self, work: Coroutine[None, None, None]) -> None:
        """Run a task beside it, at the longest until it is ended."""
        self._tasks.append(asyncio.create_task(work))

    async def ended(self) -> int:
        """Wait for its end and its output; return its exit status."""
        status = await self.process.wait()
        await self._finish_work()
        return status

    async def _finish_work(self) -> None:
        if self._tasks:  # a while only: whatever it has started may hold its pipes open
            await asyncio.wait(self._tasks, timeout=GRACE_S)

    async def wait(self, seconds: float) -> None:
        """Close its input, and wait so many seconds for its end."""
        if self.process.stdin:
            self.process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.process.wait()

    async def end(self, mark: str) -> None:
        """End it with all that it has started."""
        try:
            # In a thread and shielded: it is carried through, whoever gives up waiting for it.
            self.left_running = await asyncio.shield(in_thread(partial(_end, self.process.pid, mark)))
            await self._finish_work()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.wait(GRACE_S)


async def run(  # noqa: PLR0913 (each is one property of a program)
    *command: str,
    env: Mapping[str, str],
    limit_s: float,
    output: Output,
    errors: Output | None = None,
    cwd: Path | None = None,
    given: bytes = b"",
) -> tuple[int | None, bool]:
    """Run a program to its end, and leave nothing of it running.

    After `limit_s` seconds, or beyond MOST_OUTPUT bytes of `output`, it is ended. The other arguments are
    those of `running`.

    Returns:
        Its exit status, negative for the signal that killed it, None where it ran out of time; and whether
        something that it had started had to be stopped.

    Raises:
        OSError: it cannot be started.
    """
    status = None
    async with running(*command, env=env, cwd=cwd, given=given, errors=errors) as program:
        program.beside(_collect(program.stdout, output, program.process.pid))
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                status = await program.process.wait()
    return status, program.left_running


@asynccontextmanager
async def running(  # noqa: PLR0913 (each is one property of a program)
    *command: str,
    env: Mapping[str, str],
    errors: Output | None,
    cwd: Path | str | None = None,
    given: bytes | None = None,
    longest_line: int = _CHUNK,
    patience_s: float = 0.0,
) -> AsyncIterator[Program]:
    """Start a program, and leave nothing of it running.

    Args:
        command: the program and its arguments, which everybody on the machine can read.
        env: its environment.
        errors: takes what it writes to standard error; None: that is part of its standard output.
        cwd: its folder; None: ours.
        given: its standard input; None: what is written to its process's `stdin`.
        longest_line: bytes of a line that can be read from its standard output.
        patience_s: seconds that it has to end by itself, where no error ends the block.

    Raises:
        OSError: it cannot be started.
    """
    mark = f"{_guardian(os.getpid())[0]}-{secrets.token_hex(8)}"
    async with AsyncExitStack() as pipes:
        # Pipes of our own: asyncio's count a program as running for as long as anyone holds its output.
        stdout, out = await pipes.enter_async_context(_pipe(longest_line))
        stderr, err = (stdout, out) if errors is None else await pipes.enter_async_context(_pipe(_CHUNK))
        stdin = DEVNULL if given == b"" else PIPE
        process = await _started(command, mark, stdin=stdin, stdout=out, stderr=err, cwd=cwd, env=env)
        out.close()
        err.close()
        program = Program(process, stdout)
        try:
            if errors is not None:
                program.beside(_collect(stderr, errors))
            if given:
                program.beside(_give(process, given))
            yield program
            await program.wait(patience_s)
        finally:
            await program.end(mark)


@asynccontextmanager
async def _pipe(longest_line: int) -> AsyncIterator[tuple[asyncio.StreamReader, BinaryIO]]:
    readable, writable = os.pipe()
    with os.fdopen(readable, "rb", buffering=0) as pipe, os.fdopen(writable, "wb", buffering=0) as out:
        stream = asyncio.StreamReader(limit=longest_line)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), pipe
        )
        try:
            yield stream, out
        finally:
            transport.close()


async def _collect(stream: asyncio.StreamReader, output: Output, bounded: int | None = None) -> None:
    """Collect output; beyond MOST_OUTPUT kill the process group `bounded`."""
    while data := await stream.read(_CHUNK):
        output.add(data)
        if bounded and output.size > MOST_OUTPUT:
            _signal([-bounded], signal.SIGKILL)


async def _give(process: Process, data: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 (asked for as a pipe)
    # A program that ends early need not read: how it ended says why.
    with suppress(ConnectionError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _started(command: Iterable[str], mark: str, *, env: Mapping[str, str], **options: Any) -> Process:
    """Start a program; cancelled, end it with all that it started."""
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(*command, env={**env, _MARK: mark}, start_new_session=True, **options)
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # In a task of its own: it is carried through, whoever gives up waiting for it.
        await asyncio.shield(asyncio.create_task(_take_back(starting, mark)))
        raise
    _tell_guardian(f"+ {process.pid}")
    return process


async def _take_back(starting: asyncio.Task[Process], mark: str) -> None:
    await asyncio.wait({starting})
    if not starting.cancelled() and not starting.exception():
        await Program(starting.result(), asyncio.StreamReader()).end(mark)


@cache
def _guardian(_process: int) -> tuple[str, int]:
    """Start what ends this process's programs if it cannot.

    Returns:
        What begins the mark of each of them, and the pipe by which it is told of them.
    """
    mark = secrets.token_hex(8)
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    nowhere = [(os.POSIX_SPAWN_OPEN, output, os.devnull, os.O_WRONLY, 0) for output in (1, 2)]
    os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", _GUARDIAN, "guardian", f"{_MARK}={mark}"],
        {"PATH": os.defpath},
        file_actions=[(os.POSIX_SPAWN_DUP2, readable, 0), *nowhere],
        setpgroup=0,  # Ctrl-C is not for it
    )
    os.close(readable)
    return mark, writable


def _tell_guardian(line: str) -> None:
    with suppress(OSError):  # somebody killed it
        os.write(_guardian(os.getpid())[1], f"{line}\n".encode())


def _end(group: int, mark: str) -> bool:
    """Terminate, then kill a program; tell whether anything was left. Blocks."""
    found = left = _living(group, mark)
    _signal(found, signal.SIGTERM)
    began = time.monotonic()
    while found and (passed := time.monotonic() - began) < GRACE_S + _KILLING_S:
        if passed >= GRACE_S:
            _signal([-group, *found], signal.SIGKILL)
        time.sleep(_STEP_S)
        found = _living(group, mark)
    _tell_guardian(f"- {group}")
    return bool(left)


def _signal(processes: Iterable[int], number: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def _living(group: int, mark: str) -> list[int]:
    """Return the processes of a program, as `os.kill` takes them.

    Where the system tells (Linux), that is each one, those included that left for a session of their own;
    elsewhere it is the group as a whole.
    """
    if not Path("/proc/self/stat").exists():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(-group, 0)
            return [-group]
        return []
    return [int(place.name) for place in Path("/proc").glob("[0-9]*") if _belongs(place, group, mark)]


def _belongs(place: Path, group: int, mark: str) -> bool:
    try:
        # The name in brackets may hold spaces and brackets; state, parent and group come after it.
        state, _, its_group = (place / "stat").read_bytes().rpartition(b")")[2].split()[:3]
        if state in {b"Z", b"X"}:
            return False
        return int(its_group) == group or mark.encode() in (place / "environ").read_bytes()
    except OSError:  # it has ended, or is another user's
        return False
