"""aegra: workers as processes on one Postgres and one Redis, as docs/deploy.md sets them up."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.server.crashes.test_server_crashes import SITE, WORLD
from tests.server.serving import HOUSE
from tests.server.test_serve import free_port

PYTHON = os.environ.get("TWOBRAIN_AEGRA_PYTHON", "")
"""A Python that has aegra-api and this project's dependencies."""
STARTS_WITHIN_S = 120
MIGRATE = "from aegra_api.core.migrations import run_migrations; run_migrations()"
SETTINGS = {
    "AUTH_TYPE": "custom",
    "AEGRA_CHECKPOINT_DURABILITY": "sync",
    "RUN_MIGRATIONS_ON_STARTUP": "false",
    "REDIS_BROKER_ENABLED": "true",
    "LANGGRAPH_STRICT_MSGPACK": "true",
    "LOG_LEVEL": "WARNING",
    "ENV_MODE": "PRODUCTION",
    "LEASE_DURATION_SECONDS": "7",
    "HEARTBEAT_INTERVAL_SECONDS": "2",
    "REAPER_INTERVAL_SECONDS": "2",
    "BG_JOB_MAX_RETRIES": "1000",
}
"""As the page says; a worker that is gone is noticed sooner, and its runs are never given up."""


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Start a Redis that keeps nothing, and yield its URL."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server here")
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


class Workers:
    """Workers that are killed and started again; what their tools do is in a file."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, dawdles_s: float) -> None:
        if not PYTHON:
            pytest.skip("TWOBRAIN_AEGRA_PYTHON names no Python (3.12 or newer) that has aegra-api")
        self.folder = folder
        self.effects = folder / "effects"
        self.effects.touch()
        (folder / "sitecustomize.py").write_text(SITE)
        (folder / "world.py").write_text(WORLD.replace("EFFECTS", repr(str(self.effects))))
        (folder / "langgraph.json").write_text(json.dumps(_declared()))
        urls = {"DATABASE_URL": database_url, "TWOBRAIN_DATABASE_URL": database_url, "REDIS_URL": redis_url}
        own = {"AEGRA_CONFIG": str(folder / "langgraph.json"), "DAWDLES_S": str(dawdles_s)}
        paths = {"PATH": os.defpath, "PYTHONPATH": f"{folder}{os.pathsep}{HOUSE}", "HOME": str(folder)}
        self.environ = {**SETTINGS, **urls, **own, **paths, "TWOBRAIN_WORKSPACE": str(folder)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def urls(self) -> list[str]:
        """Return where the workers that live are."""
        return [url for url, process in self._processes.items() if process.poll() is None]

    def migrate(self) -> None:
        """Make the tables, as a deployment does before its first worker starts."""
        for script in ("import cli; cli.main()", MIGRATE):
            arguments = ["migrate"] if "cli" in script else []
            command = [PYTHON, "-c", script, *arguments]
            done = subprocess.run(
                command, env=self.environ, cwd=self.folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

    def start(self, url: str = "") -> str:
        """Start a worker, again where it was, and wait until it answers."""
        url = url or f"http://127.0.0.1:{free_port()}"
        port = url.rpartition(":")[2]
        with (self.folder / f"log-{port}").open("ab") as log:
            command = [
                PYTHON,
                "-m",
                "uvicorn",
                "aegra_api.main:app",
                "--port",
                port,
                "--log-level",
                "warning",
            ]
            process = subprocess.Popen(command, cwd=self.folder, env=self.environ, stdout=log, stderr=log)
        self._processes[url] = process
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{url}/health", timeout=5).is_success:
                    return url
            except httpx.TransportError:
                time.sleep(0.1)
        pytest.fail((self.folder / f"log-{port}").read_text()[-5_000:])

    def kill(self, url: str) -> None:
        """Kill a worker as the power would."""
        self._processes[url].kill()
        self._processes[url].wait()

    def close(self) -> None:
        """Kill them all."""
        for url in self.urls:
            self.kill(url)


def _declared() -> dict:
    """Return langgraph.json with absolute paths."""
    declared = json.loads((HOUSE / "langgraph.json").read_text())
    for graph in declared["graphs"].values():
        graph["path"] = str(HOUSE / graph["path"])
    declared["auth"]["path"] = str(HOUSE / declared["auth"]["path"])
    declared["http"]["app"] = str(HOUSE / declared["http"]["app"])
    return declared
