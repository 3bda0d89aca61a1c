"""`twobrain serve` as its user starts it: in a folder of theirs, on a port of theirs."""

import hashlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import httpx
import pytest
from langgraph_sdk import get_client

from base.data_dir import SERVER_LOCK
from base.errors import ConfigurationError
from storage.thread_lock import take_file
from terminal.commands.serve import serve
from tests.server.serving import HOUSE, Server, ServerFailedError

COMMAND = [sys.executable, "-c", "import cli; cli.main()", "serve"]
STARTS_WITHIN_S = 180


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    path = {"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2])}
    return {**path, "HOME": str(tmp_path), "TWOBRAIN_DATA_DIR": str(tmp_path / "data")}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextmanager
def serving(folder: Path, environ: dict[str, str], *options: str) -> Iterator[str]:
    """Give the address of a server that the command has started; it has to end as it is asked to."""
    port = free_port()
    with (folder / "log").open("w") as log:
        command = [*COMMAND, "--port", str(port), *options]
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        await_start(process, f"http://127.0.0.1:{port}", folder / "log")
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()


def await_start(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            try:
                if httpx.get(f"{url}/ok").is_success:
                    return
            except httpx.TransportError:
                continue
        else:
            break
    pytest.fail(log.read_text())


@pytest.mark.slow
async def test_the_command_serves_the_graph_with_the_settings_of_where_it_was_started(environ, tmp_path):
    (tmp_path / "twobrain.toml").write_text("[limits]\nmax_message_chars = 100\n")
    with serving(tmp_path, environ) as url:
        await converse(url)
        said = refused(tmp_path, environ, "--port", str(free_port()))
        assert re.search(rf"{tmp_path / 'data'} \(process \d+, on {url}\)", said)
    found = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert any(path.name == ".langgraph_api" for path in found)
    assert {path.name for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077} == set()

    shown = (tmp_path / "log").read_text()
    assert shown.startswith(f"Serving on {url}; Ctrl-C stops it.\nOpen {url}/app in a browser.")
    assert "\nStudio: https://" in shown
    assert "\x1b" not in shown
    assert "[info" not in shown


async def converse(url: str) -> None:
    async with get_client(url=url) as client:
        thread = (await client.threads.create())["thread_id"]

        async def say(text: str) -> dict:
            said = {"messages": [{"role": "user", "content": text}]}
            return await client.runs.wait(thread, "orchestrator", input=said, raise_error=False)

        assert "84" in (await say("what is 12*7"))["response"]
        assert "at most 100" in str(await say("x" * 101))


def refused(folder: Path, environ: dict[str, str], *options: str) -> str:
    """Return what the command says where it does not serve."""
    command = [*COMMAND, *options]
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=180, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_it_is_not_opened_to_others_while_nobody_is_authenticated(host, environ, tmp_path):
    said = refused(tmp_path, environ, "--host", host, "--port", str(free_port()))
    for words in ("approve what they ask", "twobrain users add", "--no-auth"):
        assert words in said


@pytest.mark.slow
def test_others_are_let_in_with_a_token_or_where_it_is_wished_for(environ, tmp_path):
    with serving(tmp_path, environ, "--host", "0.0.0.0", "--no-auth") as url:
        assert httpx.post(f"{url}/threads/search", json={}).json() == []
        command = [*COMMAND[:-1], "users", "add", "bob"]
        added = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
        assert httpx.post(f"{url}/threads/search", json={}).status_code == 401
        key = {"X-Api-Key": added.stdout.strip()}
        assert httpx.post(f"{url}/threads/search", json={}, headers=key).json() == []
    assert "Nobody is authenticated" in (tmp_path / "log").read_text()

    digest = hashlib.sha256(b"her-token").hexdigest()
    (tmp_path / "twobrain.toml").write_text(f'[users.alice]\ntoken_sha256 = "{digest}"\n')
    with serving(tmp_path, environ, "--host", "0.0.0.0") as url:
        bearer = {"Authorization": "Bearer her-token"}
        assert httpx.post(f"{url}/threads/search", json={}).status_code == 401
        assert httpx.post(f"{url}/threads/search", json={}, headers=bearer).json() == []
    assert "users who have one: alice, bob." in (tmp_path / "log").read_text()


class Hook(BaseHTTPRequestHandler):
    """Notes the paths that were called."""

    called: ClassVar[list[str]] = []

    def do_POST(self):
        self.called.append(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *told):
        """Say nothing of it."""


@pytest.mark.slow
async def test_a_webhook_that_is_allowed_by_name_is_called_and_no_other(environ, tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as hooks:
        Thread(target=hooks.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{hooks.server_port}"
        (tmp_path / "twobrain.toml").write_text(f'[server]\nwebhooks = ["{root}/done"]\n')
        said = {"messages": [{"role": "user", "content": "what is 12*7"}]}
        with serving(tmp_path, environ) as url:
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                for place in (
                    f"{root}/other",
                    f"{root}/done/../other",
                    f"http://localhost:{hooks.server_port}/done",
                ):
                    body = {"assistant_id": "orchestrator", "input": said, "webhook": place}
                    for path in ("/runs/wait", "/runs/crons"):
                        answer = await client.post(path, json={**body, "schedule": "5 0 1 1 *"})
                        assert answer.status_code in {403, 422}
                body = {"assistant_id": "orchestrator", "input": said, "webhook": f"{root}/done/1"}
                assert "84" in (await client.post("/runs/wait", json=body)).text
        hooks.shutdown()
    assert Hook.called == ["/done/1"]


def test_a_second_server_on_a_data_directory_is_refused_and_told_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv("TWOBRAIN_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / SERVER_LOCK).write_text("process 1, on http://127.0.0.1:1")  # of one that was killed
    first = take_file(tmp_path / SERVER_LOCK, "process 4711, on http://127.0.0.1:2024")
    assert first
    with pytest.raises(ConfigurationError, match=r"process 4711, on http://127\.0\.0\.1:2024"):
        serve("127.0.0.1", free_port(), no_auth=False)
    os.close(first)


@pytest.mark.slow
def test_a_port_that_is_taken_is_told_and_no_other_is_taken(environ, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = refused(tmp_path, environ, "--port", port)
    assert f"port {port} of 127.0.0.1" in said
    assert "--port" in said


@pytest.mark.slow
def test_a_server_that_cannot_start_shows_its_log(tmp_path):
    checkout = tmp_path / "broken"
    checkout.mkdir()
    graphs = '{"dependencies": ["."], "graphs": {"x": "./nowhere.py:graph"}}'
    (checkout / "langgraph.json").write_text(graphs)
    with pytest.raises(ServerFailedError, match=r"nowhere\.py"), Server(tmp_path, "", {}, checkout) as server:
        pytest.fail(server.log)


def test_the_checkout_stays_as_it_was(server):
    assert (server.cwd / "langgraph.json").samefile(HOUSE / "langgraph.json")
    assert (server.cwd / ".langgraph_api").is_dir()
