"""Run a command-line program that speaks in lines, so that nothing of it outlives the call."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from base.processes import drained, killed, started

_LONGEST_LINE = 64 * 1024 * 1024
"""Bytes; a line holds at most one whole answer."""
_LAST_WORDS = 2_000
"""Bytes of the error stream's end that are kept for a message."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs."""

    process: asyncio.subprocess.Process
    deadline: float
    """On the event loop's clock."""
    _errors: BinaryIO

    async def line(self) -> bytes:
        """Return the next line that it writes, empty at the end.

        Raises:
            TimeoutError: the deadline passed.
            ValueError: the line is longer than 64 MiB.
        """
        assert self.process.stdout is not None  # noqa: S101 (asked for as a pipe)
        async with asyncio.timeout_at(self.deadline):
            return await self.process.stdout.readline()

    async def ended(self) -> tuple[int, str]:
        """Return its exit status, and the end of its error stream."""
        async with asyncio.timeout_at(self.deadline):
            status = await self.process.wait()
        return status, await asyncio.to_thread(_end_of, self._errors)


@asynccontextmanager
async def running(
    command: Sequence[str], *, told: bytes, files: Mapping[str, str], env: Mapping[str, str], deadline: float
) -> AsyncIterator[Program]:
    """Start a program in an empty directory and leave no process and no file of it behind.

    Args:
        command: the program's path and its arguments, which everybody on the machine can read.
        told: its standard input.
        files: name to text; they stand one directory above its own and are readable by us alone.
        env: its environment.
        deadline: when it must be done, on the event loop's clock.

    Raises:
        OSError: it cannot be started.
    """
    async with _furnished(files) as (place, errors):
        process = await started(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=place / "work",
            env=env,
            limit=_LONGEST_LINE,
        )
        async with _ended_for_sure(process, told):
            yield Program(process, deadline, errors)


@asynccontextmanager
async def _furnished(files: Mapping[str, str]) -> AsyncIterator[tuple[Path, BinaryIO]]:
    """Keep a temporary directory with the files, an empty `work` and an open file for errors."""
    place = await asyncio.to_thread(TemporaryDirectory, prefix="twobrain-")
    try:
        with await asyncio.to_thread(_furnish, Path(place.name), files) as errors:
            yield Path(place.name), errors
    finally:
        await asyncio.to_thread(place.cleanup)


@asynccontextmanager
async def _ended_for_sure(process: asyncio.subprocess.Process, told: bytes) -> AsyncIterator[None]:
    """Tell the program what it is to read; let it end if all went well, and kill what is left."""
    telling = asyncio.create_task(_tell(process, told))
    try:
        yield
        await drained(process)
    finally:
        telling.cancel()
        await killed(process)


def _furnish(place: Path, files: Mapping[str, str]) -> BinaryIO:
    (place / "work").mkdir()
    for name, text in files.items():
        (place / name).write_text(text, encoding="utf-8", errors="replace")
    return (place / "errors").open("w+b")


def _end_of(errors: BinaryIO) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _LAST_WORDS))
    return " ".join(errors.read().decode(errors="replace").split())


async def _tell(process: asyncio.subprocess.Process, told: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 (asked for as a pipe)
    # A program that ends early need not read: how it ended says why.
    with suppress(ConnectionError):
        process.stdin.write(told)
        await process.stdin.drain()
    process.stdin.close()
