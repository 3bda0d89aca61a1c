"""An OpenTelemetry collector on loopback: it takes OTLP over HTTP, and keeps what it got."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

WAITS_S = 60


@dataclass(frozen=True)
class Span:
    name: str
    id: bytes
    parent: bytes
    trace: bytes
    attributes: dict[str, Any]
    failed: bool
    events: int
    told: str
    """The status's own words."""


@dataclass
class Collector:
    """`url` for the exporter; what came, as spans and metrics and in bytes."""

    url: str
    spans: list[Span] = field(default_factory=list)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Name to the attributes of each of its points."""
    resources: list[dict[str, Any]] = field(default_factory=list)
    raw: bytes = b""
    came: Queue[str] = field(default_factory=Queue)
    """The name of each span, as it comes."""

    def take(self, path: str, body: bytes) -> None:
        self.raw += body
        if path == "/v1/traces":
            self._take_spans(ExportTraceServiceRequest.FromString(body))
        else:
            self._take_metrics(ExportMetricsServiceRequest.FromString(body))

    def wait_for(self, name: str) -> Span:
        """Wait until a span of that name has come; return the last of them."""
        while self.came.get(timeout=WAITS_S) != name:
            pass
        return [span for span in self.spans if span.name == name][-1]

    def _take_spans(self, sent: ExportTraceServiceRequest) -> None:
        for resource in sent.resource_spans:
            self.resources.append(_plain(resource.resource.attributes))
            for scope in resource.scope_spans:
                for one in scope.spans:
                    ids = (one.span_id, one.parent_span_id, one.trace_id)
                    status = (one.status.code == 2, len(one.events), one.status.message)
                    self.spans.append(Span(one.name, *ids, _plain(one.attributes), *status))
                    self.came.put(one.name)

    def _take_metrics(self, sent: ExportMetricsServiceRequest) -> None:
        for resource in sent.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    data = getattr(metric, metric.WhichOneof("data"))
                    points = [_plain(point.attributes) for point in data.data_points]
                    self.metrics.setdefault(metric.name, []).extend(points)


def _plain(attributes: list[KeyValue]) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def open_collector(status: int = 200) -> Iterator[Collector]:
    """Answer with a status until the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            collector.take(self.path, gzip.decompress(body) if packed else body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield collector
        server.shutdown()
        thread.join()
