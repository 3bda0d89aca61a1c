"""The export of spans and metrics, where standard variables ask for it.

For the processes that are ours: the terminal and the server. A program that uses the orchestrator configures
OpenTelemetry itself.
"""

import logging
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from threading import Thread
from typing import TYPE_CHECKING, Any

from base.settings import read_dotenv
from base.telemetry import AGENT

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_PREFIX = "OTEL_"
_FLUSH_S = 2.0
"""Seconds in which what is left may be sent at the end: nobody waits longer for a collector."""
_log = logging.getLogger(__name__)
_begun: dict[str, Callable[[], Any]] = {}
"""Signal to what ends its export."""


def begin_export() -> str | None:
    """Send spans and metrics from now on, where variables say so.

    A provider that is there already stays.

    Returns:
        Why nothing is sent though they say so; None: all is as they say.
    """
    for name, value in read_dotenv().items():
        if name.startswith(_PREFIX):  # the SDK reads the environment alone
            os.environ.setdefault(name, value)
    wanted = [signal for signal in _BEGIN if _is_wanted(signal)]
    if not wanted or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    for signal in wanted:
        protocol = _variable("EXPORTER_OTLP_PROTOCOL", signal) or "http/protobuf"
        if (_exporter(signal) or "otlp", protocol) != ("otlp", "http/protobuf"):
            return f"OpenTelemetry: nothing is sent, for only otlp over http/protobuf is known for {signal}."
    try:
        for signal in wanted:
            _BEGIN[signal]()
    except ImportError:
        return (
            "OpenTelemetry: nothing is sent, though the environment asks for it: its packages are missing. "
            "Install the extra: pip install -c constraints.txt -e '.[telemetry]'"
        )
    return None


def exports_metrics() -> bool:
    """Tell whether this process sends metrics of its own accord."""
    return "metrics" in _begun


def end_export() -> None:
    """Send what is left, in a bounded time."""
    ending = [Thread(target=shutdown, name="telemetry", daemon=True) for shutdown in _begun.values()]
    _begun.clear()
    for thread in ending:
        thread.start()
    ends = time.monotonic() + _FLUSH_S
    for thread in ending:
        thread.join(max(0.0, ends - time.monotonic()))


def _variable(name: str, signal: str) -> str:
    """Return a variable, a signal's own before the general one."""
    own = name.replace("OTLP_", f"OTLP_{signal.upper()}_")
    return os.environ.get(_PREFIX + own, "").strip() or os.environ.get(_PREFIX + name, "").strip()


def _exporter(signal: str) -> str:
    return os.environ.get(f"{_PREFIX}{signal.upper()}_EXPORTER", "").strip()


def _is_wanted(signal: str) -> bool:
    exporter = _exporter(signal)
    return exporter != "none" and bool(exporter or _variable("EXPORTER_OTLP_ENDPOINT", signal))


def _resource() -> "Resource":
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

    ours = Resource({SERVICE_NAME: AGENT, SERVICE_VERSION: version(AGENT)})
    told = Resource.create()
    unnamed = str(told.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    return told.merge(ours) if unnamed else ours.merge(told)


def _begin_traces() -> None:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        _begun["traces"] = provider.shutdown


def _begin_metrics() -> None:
    from opentelemetry import metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    if not isinstance(metrics.get_meter_provider(), MeterProvider):
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        provider = MeterProvider([reader], resource=_resource(), shutdown_on_exit=False)
        metrics.set_meter_provider(provider)
        _begun["metrics"] = provider.shutdown


_BEGIN = {"traces": _begin_traces, "metrics": _begin_metrics}
