"""`twobrain serve`: LangGraph's local server, for Studio and for clients of its protocol."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from errors import ConfigurationError, StorageError
from graphs.house import HOUSE
from ledger.private import create_private
from settings import Settings, load_settings, read_dotenv

_JOBS = "10"
"""Turns at once."""


def serve(host: str, port: int) -> NoReturn:
    """Become the server, with tracing off; its own state is kept in the data directory.

    Raises:
        ConfigurationError: the address is taken or cannot be listened on, or the settings are wrong.
        StorageError: the data directory cannot be used.
    """
    settings = load_settings()
    environ = _environment(settings)
    folder = _furnish(settings)
    _check_address(host, port)
    os.umask(0o077)
    os.chdir(folder)
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
    options = ["--n-jobs-per-worker", _JOBS, "--host", host, "--port", str(port)]
    os.execve(command[0], [*command, *options], environ)  # noqa: S606 (no shell is wanted)


def _check_address(host: str, port: int) -> None:
    """LangGraph's server silently takes another port where this one is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"Nothing can listen on port {port} of {host}: {error.strerror}. End what is there, or name "
            "another with --port or --host."
        ) from None


def _furnish(settings: Settings) -> Path:
    """Return the server's own folder, with what it reads there: langgraph.json, by whole paths."""
    folder = settings.data_dir / "server"
    declared = json.loads((HOUSE / "langgraph.json").read_text(encoding="utf-8"))
    for graph in declared["graphs"].values():
        graph["path"] = str(HOUSE / graph["path"])
    declared["dependencies"] = [str(HOUSE)]
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_private(folder / "langgraph.json").write_text(json.dumps(declared), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"The folder {folder} cannot be written: {error.strerror}. Make it writable, or set "
            "TWOBRAIN_DATA_DIR to a directory that is yours."
        ) from None
    return folder


def _environment(settings: Settings) -> dict[str, str]:
    """Return what the server reads its settings from: those of here, wherever it runs."""
    found = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1", **read_dotenv(), **os.environ}
    found["TWOBRAIN_DATA_DIR"] = str(settings.data_dir)
    found["TWOBRAIN_WORKSPACE"] = str(settings.workspace)
    if settings.source:
        found["TWOBRAIN_CONFIG"] = str(settings.source.absolute())
    return found
