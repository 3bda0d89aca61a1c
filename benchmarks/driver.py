"""Start a process for each side, give them the same jobs in turn, and check that they did the same work."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.script import Job, as_json

HOUSE = Path(__file__).parent.parent
PYTHONS = {"peers": HOUSE / ".venv-peers" / "bin" / "python", "ours": Path(sys.executable)}
OURS = "ours"
STOCK = "create_agent"
"""LangChain's, with its gate and its durable default: what ours is measured against."""
FLOOR = "bare"
_QUIET = {
    "LANGSMITH_TRACING": "false",
    "PYTHONWARNINGS": "ignore",
}


class UnequalWorkError(Exception):
    """Two sides did not do the same work: their figures cannot be compared."""


@dataclass(frozen=True)
class Report:
    """What a job cost a side."""

    wall_s: float
    cpu_s: float
    latencies: list[float]
    """Seconds of each run, from its planned start."""


class Side:
    """One side's process, with files of its own; a context manager."""

    def __init__(self, name: str, **environ: str) -> None:
        self.name = name
        self.kept = 0
        """Bytes on disk once it is closed."""
        self.written = 0
        """Bytes passed to the kernel until it is closed."""
        self._folder = tempfile.TemporaryDirectory(prefix=f"bench-{name}-")
        self.folder = Path(self._folder.name)
        """Where its files are until it is left."""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the process)
        python = PYTHONS["ours" if name == OURS else "peers"]
        self._process = subprocess.Popen(  # noqa: S603 (our own modules)
            [str(python), "-m", f"benchmarks.sides.{name}", str(self.folder)],
            cwd=HOUSE,
            env=environment(self.folder, **environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Self:
        self._read()
        return self

    def run(self, job: Job) -> Report:
        """Do a job.

        Raises:
            UnequalWorkError: the side did not do it as it stands.
        """
        assert self._process.stdin  # noqa: S101 (for the type checker)
        self._process.stdin.write(f"{json.dumps(as_json(job))}\n")
        self._process.stdin.flush()
        said = self._read()
        done = said.pop("work")
        if done != as_json(job.work()):
            raise UnequalWorkError(f"{self.name} did {done} where {job.work()} was asked for.")
        return Report(**said)

    def close(self) -> None:
        """End the process in order; `kept` and `written` are known then."""
        assert self._process.stdin  # noqa: S101
        self._process.stdin.close()
        last = self._read()
        self.kept, self.written = last["kept"], last["written"]
        self._process.wait(60)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(60)
            self._errors.seek(0)
            raise RuntimeError(f"{self.name} ended: {self._errors.read()[-2_000:]}")
        return dict(json.loads(line))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._process.stdin and not self._process.stdin.closed:
                self.close()
        finally:
            self._process.kill()
            with self._process:  # closes its pipes
                self._errors.close()
            self._folder.cleanup()


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return what every measured process finds in its environment: no key, no tracing."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), **_QUIET, **more}


def told_by(probe: str, home: Path, *arguments: str, **environ: str) -> Any:
    """Run a probe of ours in a process of its own and return what it prints as JSON."""
    done = subprocess.run(  # noqa: S603 (our own modules)
        [sys.executable, "-m", f"benchmarks.probes.{probe}", *arguments],
        cwd=HOUSE,
        env=environment(home, **environ),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@contextmanager
def started(names: Sequence[str]) -> Iterator[dict[str, Side]]:
    """Start sides and warm each with one short conversation."""
    with ExitStack() as stack:
        sides = {name: stack.enter_context(Side(name)) for name in names}
        for side in sides.values():
            side.run(Job(rounds=3))
        yield sides


def interleaved(sides: dict[str, Side], job: Job, times: int) -> dict[str, list[Report]]:
    """Do a job on every side, that many times over: A B A B."""
    reports: dict[str, list[Report]] = {name: [] for name in sides}
    for _ in range(times):
        for name, side in sides.items():
            reports[name].append(side.run(job))
    return reports
