"""What the environment asks OpenTelemetry for and cannot have is told in one sentence."""

import os
import sys

import pytest

from base.telemetry_export import begin_export


def test_without_its_packages_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert "'.[telemetry]'" in (begin_export() or "")


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_an_exporter_that_is_not_supported_is_named(variable, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"{variable}=zipkin\n")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv(variable, raising=False)
    try:
        assert "nothing is sent" in (begin_export() or "")
    finally:
        os.environ.pop(variable, None)
