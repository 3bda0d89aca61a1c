"""A program with all that it starts: in a group of its own, its output bounded, ended whole."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from base.processes import started
from base.worker_threads import in_thread

GRACE_S = 1.0
"""Seconds between the request to end and the end."""
MOST_OUTPUT = 50_000_000
"""Bytes; a program that writes more is ended."""

_KEPT = 8_000
"""Bytes of output kept from its beginning, and as many from its end."""
_STEP_S = 0.05
_CHUNK = 65_536
_MARK = "TWOBRAIN_COMMAND"
_ROUNDS = 40


@dataclass(slots=True)
class Output:
    """Both ends of what a program wrote."""

    head: bytes = b""
    tail: bytes = b""
    size: int = 0
    """Bytes written, kept or not."""

    def add(self, data: bytes) -> None:
        """Take what comes next."""
        room = _KEPT - len(self.head)
        self.head += data[:room]
        self.tail = (self.tail + data[room:])[-_KEPT:]
        self.size += len(data)

    def __str__(self) -> str:
        left_out = self.size - len(self.head) - len(self.tail)
        gap = f"\n… ({left_out:,} bytes left out) …\n".encode() if left_out else b""
        return (self.head + gap + self.tail).decode(errors="replace").strip("\n")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    output: Output
    """Of standard output and standard error, in the order they were written."""
    status: int | None
    """Exit status, negative for the signal that killed it; None where it ran out of time."""
    left_running: bool
    """Whether something that it had started had to be stopped."""


async def run(command: str, folder: Path, environment: Mapping[str, str], limit_s: float) -> Ended:
    """Run a command line of /bin/sh; when this returns or is cancelled, nothing of it runs any more.

    Raises:
        OSError: it could not be started.
    """
    mark = secrets.token_hex(16)
    readable, writable = os.pipe()
    # A pipe of our own: asyncio's counts a program as running for as long as anyone holds its output.
    with os.fdopen(readable, "rb", buffering=0) as pipe, os.fdopen(writable, "wb", buffering=0) as out:
        process = await started(
            *("/bin/sh", "-c", command),
            end=lambda process: in_thread(partial(_end, process.pid, mark)),
            cwd=folder,
            env={**environment, _MARK: mark},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        out.close()
        output = Output()
        reading = asyncio.create_task(_read(pipe, output, process.pid))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await process.wait()
            status = process.returncode
        finally:
            try:
                # In a thread and shielded: it is carried through, whoever gives up waiting for it.
                left = await asyncio.shield(in_thread(partial(_end, process.pid, mark)))
                await asyncio.wait({reading}, timeout=GRACE_S)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
    return Ended(output, status, left)


async def _read(pipe: object, output: Output, group: int) -> None:
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), pipe
    )
    try:
        while data := await stream.read(_CHUNK):
            output.add(data)
            if output.size > MOST_OUTPUT:
                _signal([-group], signal.SIGKILL)
    finally:
        transport.close()


def _end(group: int, mark: str) -> bool:
    """Ask what is left of a program to end, then make it; blocks. Tell whether anything was left."""
    found = left = _living(group, mark)
    deadline = time.monotonic() + GRACE_S
    _signal(found, signal.SIGTERM)
    while found and time.monotonic() < deadline:
        time.sleep(_STEP_S)
        found = _living(group, mark)
    for _ in range(_ROUNDS):
        if not found:
            break
        _signal([-group, *found], signal.SIGKILL)
        time.sleep(_STEP_S)
        found = _living(group, mark)
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
