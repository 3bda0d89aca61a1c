"""What the terminal tells a collector: of each operation how long, how much, how it ended; nothing said."""

import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.collector import Collector, open_collector
from tests.wires.brain import Call, Reply
from tests.wires.cards import at, configure

PLANTED = "planted-words-4751"
KEY = "sk-good-0123456789abcdef"
TOLD = ("invoke_agent twobrain", "chat gpt-test", "execute_tool read_file", "execute_tool calculate")


def planted(heard):
    """Call a tool that fails with words, and one that does not; then answer."""
    if heard.tools and not heard.results:
        read = Call("read_file", {"path": f"{PLANTED}-path.txt"})
        return Reply(calls=(read, Call("calculate", {"expression": "6*7"})), cached_tokens=40)
    return Reply(text=f"{PLANTED}-answer")


@pytest.fixture
def collector():
    with open_collector() as collector:
        yield collector


@pytest.fixture
def environ(home, open_wire):
    wire = open_wire("openai", brain=planted)
    roles = {"orchestrator": ["good"], "chat": ["good"]}
    return configure(home.directory, {"good": at(wire)}, roles)


def ask(home, environ, **more):
    return home.run("ask", f"{PLANTED}-question", "-t", "t1", **environ, **more)


def ended(collector: Collector, name: str) -> list[dict]:
    return [span.attributes for span in collector.spans if span.name == name]


def test_a_turns_spans_are_told_and_nothing_that_was_said(home, environ, collector):
    done = ask(home, environ, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert f"{PLANTED}-answer" in done.stdout
    assert {span.name for span in collector.spans} == set(TOLD)
    [turn] = [span for span in collector.spans if span.name == TOLD[0]]
    assert {span.parent for span in collector.spans if span is not turn} == {turn.id}
    assert {span.trace for span in collector.spans} == {turn.trace}
    assert {span.attributes["gen_ai.conversation.id"] for span in collector.spans} == {"t1"}
    assert turn.attributes["gen_ai.operation.name"] == "invoke_agent"
    chat = ended(collector, TOLD[1])[0]
    assert chat["gen_ai.provider.name"] == "openai"
    assert chat["gen_ai.request.model"] == chat["gen_ai.response.model"] == "gpt-test"
    used = ("input_tokens", "output_tokens", "cache_read.input_tokens")
    assert [chat[f"gen_ai.usage.{name}"] for name in used] == [100, 20, 40]
    [failed], [made] = ended(collector, TOLD[2]), ended(collector, TOLD[3])
    assert (failed["error.type"], made.get("error.type")) == ("failed", None)
    assert (made["gen_ai.tool.name"], made["gen_ai.tool.type"]) == ("calculate", "function")
    assert made["gen_ai.tool.call.id"]
    errors = [(span.name, span.told, span.events) for span in collector.spans if span.failed]
    assert errors == [(TOLD[2], "", 0)]
    counted = collector.metrics["gen_ai.client.token.usage"]
    assert {one["gen_ai.token.type"] for one in counted} == {"input", "output"}
    gauges = ("approvals.waiting", "approvals.oldest", "calls.in_doubt", "day.tokens", "day.cost")
    assert {f"twobrain.{name}" for name in gauges} <= set(collector.metrics)
    assert {one["service.name"] for one in collector.resources} == {"twobrain"}
    for secret in (PLANTED, KEY):
        assert secret.encode() not in collector.raw


def test_what_was_said_is_told_redacted_where_the_standard_variable_asks_for_it(home, environ, collector):
    more = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true", "PLANTED_TOKEN": f"{PLANTED}-path"}
    ask(home, environ, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **more)
    [first, second] = sorted(ended(collector, TOLD[1]), key=lambda one: len(one["gen_ai.input.messages"]))
    asked = json.loads(first["gen_ai.input.messages"])[-1]
    assert (asked["role"], asked["parts"][0]["type"]) == ("user", "text")
    assert f"{PLANTED}-question" in asked["parts"][0]["content"]
    assert f"{PLANTED}-answer" in second["gen_ai.output.messages"]
    [failed] = ended(collector, TOLD[2])
    assert json.loads(failed["gen_ai.tool.call.arguments"]) == {"path": "[redacted].txt"}
    assert f"{PLANTED}-path".encode() not in collector.raw


@pytest.mark.parametrize(
    "more",
    [
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_METRICS_EXPORTER": "console"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_nothing_is_sent_unless_the_variables_say_so(more, home, environ, collector):
    done = ask(home, environ, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **more)
    assert collector.raw == b""
    assert ("nothing is sent" in done.stderr) == bool({"grpc", "console"} & set(more.values()))


@pytest.mark.parametrize(
    "fault", ["refused", *(pytest.param(each, marks=pytest.mark.slow) for each in ("hangs", "an error"))]
)
def test_a_dead_collector_neither_delays_nor_breaks_a_turn_and_prints_nothing(fault, home, environ):
    begun = time.monotonic()
    plain = ask(home, environ)
    usual = time.monotonic() - begun
    with socket.socket() as port, open_collector(503) as failing:
        port.bind(("127.0.0.1", 0))
        if fault == "hangs":
            port.listen()
        url = failing.url if fault == "an error" else f"http://127.0.0.1:{port.getsockname()[1]}"
        begun = time.monotonic()
        done = ask(home, environ, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_TIMEOUT="60")
        took = time.monotonic() - begun
    assert done.stdout == plain.stdout
    said = [re.sub(r"[\d.]+ s$", "", each.stderr, flags=re.MULTILINE) for each in (done, plain)]
    assert sorted(said[0].splitlines()) == sorted(said[1].splitlines())
    assert took < usual + 8  # 2 s at most, on a busy machine; the SDK alone waits half a minute


def test_a_line_of_the_log_names_thread_user_and_run(home, open_wire):
    wire = open_wire("openai", brain=lambda heard: Reply(status=401, error="no such key"))
    environ = configure(home.directory, {"good": at(wire)}, {"orchestrator": ["good"], "chat": ["good"]})
    ask(home, environ, code=1)
    log = (home.data / "errors.log").read_text()
    named = r"WARNING models\.call \[thread_id='t1' user='local' run_id='\S+'\]: .*no such key"
    assert re.search(named, log), log
    assert "thread_id='t1'" in home.run("doctor", **environ).stdout.replace("\n", "")


class LangSmith(BaseHTTPRequestHandler):
    """As much of LangSmith's wire as a client needs; the server's `bodies` holds what came."""

    def do_GET(self):
        self._answer(b'{"version": "1"}')

    def do_POST(self):
        self.server.bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(b"{}")

    do_PATCH = do_POST  # noqa: N815 (its base's name)

    def _answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.mark.slow
def test_langsmith_gets_its_runs_beside_the_collector(home, environ, collector):
    with ThreadingHTTPServer(("127.0.0.1", 0), LangSmith) as server:
        server.bodies = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        more = {
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "LANGSMITH_API_KEY": "lsv2-planted-4781",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        }
        done = ask(home, environ, **more)
        server.shutdown()
    assert "lsv2" not in done.stdout + done.stderr
    told = b"".join(body for path, body in server.bodies if path.startswith("/runs"))
    for name in (b"orchestrator", b"execute_tools", PLANTED.encode()):
        assert name in told
    assert KEY.encode() not in told
    assert PLANTED.encode() not in collector.raw
    assert {span.name for span in collector.spans} == set(TOLD)
