"""`twobrain serve` as its user starts it: in a folder of theirs, on a port of theirs."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_client

COMMAND = [sys.executable, "-c", "import cli; cli.main()", "serve"]
STARTS_WITHIN_S = 60


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    path = {"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2])}
    return {**path, "HOME": str(tmp_path), "TWOBRAIN_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def url(environ: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """Return the address of a server that the command has started; it has to end as it is asked to."""
    (tmp_path / "twobrain.toml").write_text("[limits]\nmax_message_chars = 100\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (tmp_path / "log").open("w") as log:
        command = [*COMMAND, "--port", str(port)]
        process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=log, stderr=log)
    try:
        await_start(process, f"http://127.0.0.1:{port}", tmp_path / "log")
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
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


async def test_the_command_serves_the_graph_with_the_settings_of_where_it_was_started(url, tmp_path):
    async with get_client(url=url) as client:
        thread = (await client.threads.create())["thread_id"]

        async def say(text: str) -> dict:
            said = {"messages": [{"role": "user", "content": text}]}
            return await client.runs.wait(thread, "orchestrator", input=said, raise_error=False)

        assert "84" in (await say("what is 12*7"))["response"]
        assert "at most 100" in str(await say("x" * 101))
    found = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert any(path.name == ".langgraph_api" for path in found)
    assert {path.name for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077} == set()


def test_a_port_that_is_taken_is_told_and_no_other_is_taken(environ, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        command = [*COMMAND, "--port", port]
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1" in done.stderr
    assert "--port" in done.stderr
    assert done.stdout == ""
