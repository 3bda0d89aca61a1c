"""The command in a process of its own, forked from one that spent the time that its imports take."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

_ENDS_WITHIN_S = 60
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "cli",
        "terminal.app",
        "terminal.commands.ask",
        "terminal.commands.chat",
        "terminal.commands.doctor",
        "terminal.commands.pending",
        "tools.registry",
        "langchain_openai",
        "langchain_anthropic",
        "langchain_google_genai",
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


async def run_beside(
    args: Sequence[str], environ: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run `twobrain` while the event loop goes on."""
    return await asyncio.to_thread(partial(run, args, environ, folder))


def _command(args: Sequence[str], environ: Mapping[str, str], folder: Path, streams: Sequence[Path]) -> None:
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8")  # noqa: PTH123, SIM115 (the process's own, to its end)
        for number, mode in enumerate("rww")
    )
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.argv = ["twobrain", *args]
    import cli

    cli.main()
