"""From a process's start until its first request to a model arrives, and what a look at the help costs."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.driver import HOUSE, UnequalWorkError, environment
from benchmarks.figures import TIMES, Figure, ratios, spread
from benchmarks.wire import Wire, configured
from tests.wires.brain import Reply

_SAMPLES = 6
_TWOBRAIN = str(Path(sys.executable).parent / "twobrain")
_BARE, _HELP = "langgraph + SQLite + ChatOpenAI", "twobrain --help"
_ASK, _PROGRAM = "twobrain ask", "open_orchestrator"
_WORD = "Hello."


def measure() -> Iterator[Figure]:
    """Yield the start of the command and of a program, and the help, each against the bare graph's start."""
    with tempfile.TemporaryDirectory() as folder, Wire("openai", lambda _heard: Reply(text=_WORD)) as wire:
        environ = environment(Path(folder), **configured(Path(folder), wire, wire, tools=True))
        probe = [sys.executable, "-m"]
        commands = {
            _ASK: [_TWOBRAIN, "ask", "Hello.", "--path", "single"],
            _PROGRAM: [*probe, "benchmarks.probes.program"],
            _BARE: [*probe, "benchmarks.probes.bare_graph", wire.url],
        }
        took: dict[str, list[float]] = {name: [] for name in (*commands, _HELP)}
        for sample in range(_SAMPLES + 1):
            for name, command in commands.items():
                until = _request(wire, command, environ)
                took[name] += [until] * bool(sample)  # the first only fills the caches
            took[_HELP] += [_whole([_TWOBRAIN, "--help"], environ)] * bool(sample)
    bare_ms = spread(took[_BARE]).middle * 1_000
    for name, goal in ((_ASK, 1.0), (_PROGRAM, 1.0), (_HELP, 0.25)):
        what = "whole run" if name == _HELP else "start to first request"
        yield Figure(
            name=f"{name}: {what}, ÷ {_BARE}",
            value=ratios(took[name], took[_BARE]),
            unit=TIMES,
            goal=goal,
            kind="wall",
            note=f"{spread(took[name]).middle * 1_000:,.0f} against {bare_ms:,.0f} ms",
        )


def _request(wire: Wire, command: Sequence[str], environ: Mapping[str, str]) -> float:
    """Return the seconds until the process's first request arrived; it is let run to its end."""
    heard = len(wire.exchanges)
    started = time.monotonic()
    answer = _output(command, environ)
    if _WORD not in answer:
        raise UnequalWorkError(f"{command[0]} said {answer!r}.")
    return wire.exchanges[heard].arrived - started


def _whole(command: Sequence[str], environ: Mapping[str, str]) -> float:
    started = time.monotonic()
    _output(command, environ)
    return time.monotonic() - started


def _output(command: Sequence[str], environ: Mapping[str, str]) -> str:
    done = subprocess.run(  # noqa: S603 (our own commands)
        command, cwd=HOUSE, env=dict(environ), capture_output=True, text=True, check=True
    )
    return done.stdout
