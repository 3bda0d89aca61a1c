"""The real `langgraph dev`, in a process group and a folder of its own."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

HOUSE = Path(__file__).parents[2]
LEFT_OUT = {"tests", "docs", "build", "twobrain.toml"}
STARTS_WITHIN_S = 180
ENDS_WITHIN_S = 60


class ServerFailedError(Exception):
    """The server did not come up; the message is its log."""


class Server:
    """A context manager that serves the checkout's langgraph.json as it is.

    It runs in a folder of links to the checkout, so that `.langgraph_api` lands outside of it and no
    `.env` is read.
    """

    def __init__(self, folder: Path, config: str, environ: dict[str, str], checkout: Path = HOUSE) -> None:
        self.folder = folder
        self._checkout = checkout
        self.data_dir = folder / "data"
        self.workspace = self.data_dir / "workspace"
        self.ledger = self.data_dir / "ledger.db"
        self.log_file = folder / "server.log"
        self.cwd = folder / "checkout"
        self.config = folder / "twobrain.toml"
        self.config.write_text(config)
        self._port = _free_port()
        self._environ = environ
        self.url = f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> str:
        """Everything that the server wrote so far."""
        return self.log_file.read_text()

    def __enter__(self) -> Self:
        self.cwd.mkdir()
        for entry in self._checkout.iterdir():
            if not entry.name.startswith(".") and entry.name not in LEFT_OUT:
                (self.cwd / entry.name).symlink_to(entry)
        self.start()
        return self

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.cwd,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._await_start()
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """Kill the server as the power would."""
        self._process.kill()
        self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server, with all it started; again is harmless."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _command(self) -> list[str]:
        program = Path(sys.executable).with_name("langgraph")
        options = ["--no-browser", "--no-reload", "--n-jobs-per-worker", "10", "--port", str(self._port)]
        return [str(program), "dev", *options]

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # a copy of the checkout is put first by it
            "HOME": str(self.folder),
            "LOG_COLOR": "false",
            "LANGSMITH_TRACING": "false",
            "LANGGRAPH_CLI_NO_ANALYTICS": "1",
            "LANGGRAPH_NO_VERSION_CHECK": "1",
            "TWOBRAIN_DATA_DIR": str(self.data_dir),
            "TWOBRAIN_CONFIG": str(self.config),
            **self._environ,
        }

    def _await_start(self) -> None:
        for _ in range(STARTS_WITHIN_S * 10):
            try:
                self._process.wait(0.1)
            except subprocess.TimeoutExpired:
                if self._answers():
                    return
            else:
                raise ServerFailedError(self.log)
        raise ServerFailedError(self.log)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ok").is_success
        except httpx.TransportError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
