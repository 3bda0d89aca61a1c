"""Synapse on loopback: a real Matrix homeserver, without federation, for as long as the tests run."""

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.server.test_serve import free_port

PYTHON = os.environ.get("TWOBRAIN_SYNAPSE_PYTHON", "")
"""A Python that has matrix-synapse."""
SERVER = "example.org"
STARTS_WITHIN_S = 120
_SECRET = "registers-people-in-a-test"
_LIMITS = {"per_second": 50, "burst_count": 200}


class Synapse:
    """A homeserver whose people are registered by its admin API."""

    def __init__(self, folder: Path) -> None:
        if not PYTHON:
            pytest.skip("TWOBRAIN_SYNAPSE_PYTHON names no Python that has matrix-synapse")
        self._folder = folder
        self._log = folder / "log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "log.json").write_text(json.dumps(_LOG))
        (folder / "homeserver.yaml").write_text(json.dumps(self._config()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        place = self._folder / "ready"
        place.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, self._log.open("ab") as log:
            ready.bind(str(place))
            ready.settimeout(STARTS_WITHIN_S)
            command = [PYTHON, "-m", "synapse.app.homeserver", "-c", str(self._folder / "homeserver.yaml")]
            environ = {"PATH": os.defpath, "HOME": str(self._folder), "NOTIFY_SOCKET": str(place)}
            self._process = subprocess.Popen(command, cwd=self._folder, env=environ, stdout=log, stderr=log)
            try:
                assert ready.recv(1_000).startswith(b"READY")
            except TimeoutError:
                self.stop()
                pytest.fail(self._log.read_text()[-5_000:])

    def stop(self) -> None:
        """Kill it as the power would."""
        self._process.kill()
        self._process.wait()

    def revoke(self, token: str) -> None:
        """Take back an access token."""
        self._post("/_matrix/client/v3/logout", token, {})

    def limit(self, user: str) -> None:
        """Let a user send hardly anything at once."""
        limits = {"messages_per_second": 2, "burst_count": 1}
        self._post(f"/_synapse/admin/v1/users/{user}/override_ratelimit", self._admin, limits)

    @cached_property
    def _admin(self) -> str:
        return self.register("admin", is_admin=True)

    def _post(self, path: str, token: str, content: dict[str, Any]) -> None:
        bearer = {"Authorization": f"Bearer {token}"}
        httpx.post(f"{self.url}{path}", json=content, headers=bearer).raise_for_status()

    def register(self, name: str, *, is_admin: bool = False) -> str:
        """Make an account; return its access token."""
        url = f"{self.url}/_synapse/admin/v1/register"
        nonce = httpx.get(url).raise_for_status().json()["nonce"]
        said = f"{nonce}\0{name}\0password\0{'admin' if is_admin else 'notadmin'}"
        mac = hmac.new(_SECRET.encode(), said.encode(), hashlib.sha1).hexdigest()
        person = {"nonce": nonce, "username": name, "password": "password", "admin": is_admin, "mac": mac}
        return str(httpx.post(url, json=person).raise_for_status().json()["access_token"])

    def _config(self) -> dict[str, Any]:
        folder = self._folder
        listener = {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "resources": [{"names": ["client"]}],
        }
        key = base64.b64encode(hashlib.sha256(str(folder).encode()).digest()).decode().rstrip("=")
        return {
            "server_name": SERVER,
            "public_baseurl": f"{self.url}/",
            "listeners": [listener],
            "database": {"name": "sqlite3", "args": {"database": str(folder / "homeserver.db")}},
            "log_config": str(folder / "log.json"),
            "media_store_path": str(folder / "media"),
            "signing_key": f"ed25519 a_test {key}",
            "registration_shared_secret": _SECRET,
            "macaroon_secret_key": "signs-tokens-in-a-test",
            "report_stats": False,
            "trusted_key_servers": [],
            "federation_domain_whitelist": [],
            "presence": {"enabled": False},
            "bcrypt_rounds": 4,
            "max_upload_size": "50M",
            "rc_message": _LIMITS,
            "rc_joins": {"local": _LIMITS, "remote": _LIMITS},
            "rc_joins_per_room": _LIMITS,
            "rc_room_creation": _LIMITS,
            "rc_invites": dict.fromkeys(("per_room", "per_user", "per_issuer"), _LIMITS),
            "rc_login": dict.fromkeys(("address", "account", "failed_attempts"), _LIMITS),
        }


_LOG = {
    "version": 1,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
}
