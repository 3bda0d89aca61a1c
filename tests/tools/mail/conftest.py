import ssl
import subprocess

import pytest

from base.settings import load_settings
from tests.tools.mail.imap_server import open_imap
from tools.declaration import Here
from tools.registry import open_registry
from tools.run import run_tool


@pytest.fixture
async def server():
    async with open_imap() as server:
        yield server


@pytest.fixture
def ada(server, tmp_path):
    """Return ada's surroundings."""

    def furnish(more=""):
        source = tmp_path / "twobrain.toml"
        source.write_text(f"[users.ada]\n[users.ben]\n[tools.inbox.ada]\n{server.table}{more}")
        variables = {"TWOBRAIN_CONFIG": str(source), "MAIL_PASSWORD": "swordfish", "TZ": "Europe/Paris"}
        settings = load_settings({**variables, "TWOBRAIN_DATA_DIR": str(tmp_path / "data")})
        return Here(settings, "ada", "user", "thread-1", "call-1", "key-1")

    return furnish


@pytest.fixture
def call(ada):
    async def run(name, here=None, **args):
        here = here or ada()
        tool = open_registry(here.settings).get(name)
        return await run_tool(tool, here, tool.check(args))

    return run


@pytest.fixture
def unknown_certificate(tmp_path):
    """Return a server's context whose certificate nobody trusts."""
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-nodes",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ),
            *("-keyout", key, "-out", chain, "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    return context


@pytest.fixture
def certificate(unknown_certificate, tmp_path, monkeypatch):
    """Return a server's context whose certificate this process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "chain.pem"))
    return unknown_certificate
