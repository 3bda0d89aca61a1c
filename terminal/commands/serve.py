"""`twobrain serve`: LangGraph's local server, for Studio and other clients."""

import ipaddress
import json
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from base.data_dir import SERVER, SERVER_LOCK
from base.environment import read_dotenv
from base.errors import ConfigurationError, StorageError
from base.settings import OWN_HOST, Settings, load_settings
from base.users import Users
from base.webhooks import hosts_of
from graphs.shadowing import CHECKOUT
from nodes.shared_users import shared_users
from storage.sqlite import create_private
from storage.thread_lock import take_file
from terminal.screen import Screen, open_screen
from terminal.text import plain

_TURNS_AT_ONCE = "10"
_NAMED = (("auth", "path"), ("http", "app"), ("checkpointer", "path"), ("store", "path"))
"""Where langgraph.json names a file beside the graphs."""
_PROGRAM = """
import logging
logging.basicConfig(level=logging.WARNING)  # before LangGraph's banner
from langgraph_cli.cli import cli
cli(prog_name="langgraph")
"""


def serve(host: str, port: int, *, no_auth: bool) -> NoReturn:
    """Become the server, untraced, with its state in the data directory.

    Raises:
        ConfigurationError: another serves the data directory, the address is taken or cannot be listened
            on, it is open to others and nobody is authenticated, the settings are wrong, or the server's
            packages are not installed.
        StorageError: the data directory cannot be used.
    """
    if not (find_spec("langgraph_api") and find_spec("fastapi")):
        raise ConfigurationError(
            f"The server needs its extra. In {CHECKOUT}: {sys.executable} -m pip install -c constraints.txt "
            "-e '.[server]'"
        )
    settings, screen = load_settings(), open_screen()
    environ = {**_environment(settings, screen), OWN_HOST: host}
    with shared_users(settings):
        known = settings.known_users
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    folder = _furnish(settings, url)
    alone = _check_address(host, port)
    if not (alone or known.guarded or no_auth):
        raise ConfigurationError(
            f"No user has a token: whoever reaches port {port} of {host} could read every conversation, talk "
            "to your tools and approve what they ask. Give each user a token (`twobrain users add NAME`), "
            "leave --host out to serve this machine alone, or say --no-auth "
            "where something in front of it lets nobody else through."
        )
    _announce(screen, url, known, alone=alone)
    os.umask(0o077)
    os.chdir(folder)
    command = [sys.executable, "-c", _PROGRAM, "dev", "--no-browser", "--no-reload"]
    options = ["--n-jobs-per-worker", _TURNS_AT_ONCE, "--host", host, "--port", str(port)]
    os.execve(command[0], [*command, *options], environ)  # noqa: S606 (no shell is wanted)


def _announce(screen: Screen, url: str, known: Users, *, alone: bool) -> None:
    screen.note(f"Serving on {url}; Ctrl-C stops it.", "bold")
    screen.note(f"Open {url}/app in a browser. Chat programs: {url}/v1")
    if known.guarded:
        users = ", ".join(filter(known.may_enter, known.cards)) or "nobody, until `twobrain users add`"
        screen.note(f"It asks for a token; users who have one: {plain(users)}.")
    elif alone:
        screen.note(f"Studio: https://smith.langchain.com/studio/?baseUrl={url}")
    else:
        screen.note("Nobody is authenticated: whoever reaches it can read, talk and approve.", "yellow")


def _check_address(host: str, port: int) -> bool:
    """Return whether only this machine reaches it.

    Raises:
        ConfigurationError: it is taken, where LangGraph's server would silently take another port, or wrong.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        return all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)
    except (OSError, UnicodeError) as error:  # the latter of what can be no host's name
        why = error.strerror if isinstance(error, OSError) else "that is no host's name"
        raise ConfigurationError(
            f"Nothing can listen on port {port} of {host[:80]}: {why}. End what is there, or name "
            "another with --port or --host."
        ) from None


def _furnish(settings: Settings, url: str) -> Path:
    """Return the server's folder, ours alone, with a langgraph.json of absolute paths."""
    folder = settings.data_dir / SERVER
    declared = json.loads((CHECKOUT / "langgraph.json").read_text(encoding="utf-8"))
    for graph in declared["graphs"].values():
        graph["path"] = str(CHECKOUT / graph["path"])
    for table, key in _NAMED:
        declared[table][key] = str(CHECKOUT / declared[table][key])
    declared["dependencies"] = [str(CHECKOUT)]
    if allowed := settings.server.webhooks:
        declared["http"]["disable_webhooks"] = False
        hosts = {"allowed_domains": hosts_of(allowed), "disable_private_ips": True, "require_https": False}
        declared["webhooks"]["url"] = hosts  # what is checked beside our own, which is stricter
    try:
        _lock(settings.data_dir / SERVER_LOCK, url)
        create_private(folder / "langgraph.json").write_text(json.dumps(declared), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"The folder {folder} cannot be written: {error.strerror}. Make it writable, or set "
            "TWOBRAIN_DATA_DIR to a directory that is yours."
        ) from None
    return folder


def _lock(path: Path, url: str) -> None:
    """Lock the data directory for the server that this process becomes.

    Raises:
        ConfigurationError: another has it.
    """
    descriptor = take_file(path, f"process {os.getpid()}, on {url}")
    if descriptor is None:
        first = path.read_text() or "which is just starting"
        raise ConfigurationError(
            f"Another `twobrain serve` has the data directory {path.parent} ({first}). Use that one, end it, "
            "or name another directory with TWOBRAIN_DATA_DIR."
        )
    os.set_inheritable(descriptor, True)  # what the server starts does not get it


def _environment(settings: Settings, screen: Screen) -> dict[str, str]:
    """Return the server's environment, which carries the settings of this process."""
    found = {
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "LANGGRAPH_NO_VERSION_CHECK": "1",
        "LOG_LEVEL": "WARNING",
        "LOG_COLOR": str(screen.out.color_system is not None),
        **read_dotenv(),
        **os.environ,
    }
    found["TWOBRAIN_DATA_DIR"] = str(settings.data_dir)
    found["TWOBRAIN_WORKSPACE"] = str(settings.workspace)
    if settings.source:
        found["TWOBRAIN_CONFIG"] = str(settings.source.absolute())
    return found
