import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from base.errors import ConfigurationError
from base.settings import load_settings
from tools.registry import open_registry
from tools.run import run_tool

# apprise's: it imports that module where Python still has it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def service():
    """Return a web hook: its address, what it got, and the status it answers with."""

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.got.append(json.loads(body)["message"])
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        server.got, server.status = [], 200
        server.url = f"json://127.0.0.1:{server.server_port}/token-of-ada"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def configure(tmp_path):
    def make(table='urls_env = ["NTFY_URL"]', **environment):
        source = tmp_path / "twobrain.toml"
        source.write_text(f"[tools.notify]\n{table}\n")
        return load_settings({"TWOBRAIN_CONFIG": str(source), **environment})

    return make


@pytest.fixture
def send(here):
    async def run(settings, message="The washing is done."):
        tool = open_registry(settings).get("notify")
        return await run_tool(tool, replace(here, settings=settings), tool.check({"message": message}))

    return run


async def test_a_message_reaches_the_service_as_it_is(send, configure, service):
    message = "Grüße <b>& so</b>\n*zwei*"
    outcome = await send(configure(NTFY_URL=service.url), message)
    assert (outcome.status, outcome.text) == ("executed", "Sent to NTFY_URL.")
    assert service.got == [message]


@pytest.mark.parametrize("other", ["json://127.0.0.1:9/", "no-such-service://x", "not a url"])
async def test_a_service_that_takes_nothing_is_named_by_its_variable_alone(send, configure, service, other):
    both = configure('urls_env = ["NTFY_URL", "OTHER"]', NTFY_URL=service.url, OTHER=other)
    assert (await send(both)).text == (
        "Sent to NTFY_URL. Whether to OTHER is unknown: it gave no word of it."
    )
    outcome = await send(configure(NTFY_URL=other))
    assert (outcome.status, outcome.text) == (
        "unknown",
        "Outcome unknown: the service of NTFY_URL cannot be reached, refused it, or took it in silence.",
    )


async def test_a_refusal_is_a_failure_that_keeps_the_url_to_itself(send, configure, service):
    service.status = 403
    outcome = await send(configure(NTFY_URL=service.url))
    assert outcome.status == "unknown"
    assert "token-of-ada" not in outcome.text


async def test_an_empty_message_is_not_sent(send, configure, service):
    assert (await send(configure(NTFY_URL=service.url), " ")).text == "Tool error: The message is empty."
    assert service.got == []


async def test_it_asks_first_and_shows_the_message_and_where_it_goes_but_no_url(configure, here):
    settings = configure(NTFY_URL="json://127.0.0.1/token-of-ada")
    tool = open_registry(settings).get("notify")
    assert (tool.effect, tool.confirm) == ("send", True)
    shown = await tool.preview(replace(here, settings=settings), {"message": "Hi"})
    assert shown == "Send to NTFY_URL:\nHi"


def test_it_is_offered_only_where_every_url_is_known(configure):
    def lack(settings):
        return open_registry(settings).get("notify").missing(settings)

    assert lack(load_settings({})).startswith("set urls_env in [tools.notify]")
    assert lack(configure()) == "set the variable NTFY_URL to an apprise URL"
    assert lack(configure(NTFY_URL="json://127.0.0.1/")) is None


@pytest.mark.parametrize("table", ["urls_env = []", 'urls = ["json://x"]', 'urls_env = "NTFY_URL"'])
def test_an_unusable_table_is_refused_at_the_start(configure, table):
    with pytest.raises(ConfigurationError, match=r"twobrain\.toml, line \d: tools\.notify"):
        open_registry(configure(table))
