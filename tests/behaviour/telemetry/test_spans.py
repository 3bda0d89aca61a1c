"""Spans of a program that has OpenTelemetry configured: on every way in, nothing said in them."""

import asyncio
import json
import logging

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from base.run_context import RunFilter, current_run
from base.settings import load_settings
from graphs.session import open_orchestrator
from nodes.events import ToolStarted
from tests.wires.brain import Call, Reply
from tests.wires.cards import at, configure

WRITE = 'write "planted-words-4761" to planted-4762.txt'
TURN = "invoke_agent twobrain"


@pytest.fixture(scope="module")
def exporter():
    """Return what the one provider of this process exports to; it takes nothing afterwards."""
    exporter = InMemorySpanExporter()
    processor = SimpleSpanProcessor(exporter)
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider(shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    provider.add_span_processor(processor)
    yield exporter
    exporter.shutdown()


@pytest.fixture
def spans(exporter):
    """Return the names and errors of the spans that ended, in the order in which they began."""
    exporter.clear()

    def ended() -> list[tuple[str, str | None]]:
        found = sorted(exporter.get_finished_spans(), key=lambda span: span.start_time)
        return [(span.name, (span.attributes or {}).get("error.type")) for span in found]

    return ended


@pytest.fixture
async def house(tmp_path):
    async with open_orchestrator(load_settings({"TWOBRAIN_DATA_DIR": str(tmp_path)})) as orchestrator:
        yield orchestrator


@pytest.mark.parametrize("way", ["ask", "stream", "ainvoke"])
async def test_an_interrupt_is_no_error_and_nothing_of_it_is_told(way, house, spans, exporter):
    if way == "ask":
        assert (await house.ask(WRITE, thread_id="t1")).pending
        await house.resume("t1", True)
    elif way == "stream":
        assert [event async for event in house.stream(WRITE, thread_id="t1")]
        assert [event async for event in house.stream_resume("t1", True)]
    else:
        await house.graph.ainvoke({"messages": [("user", WRITE)]}, house.config("t1"))
        await house.resume("t1", True)
    names = spans()
    assert [name for name, _ in names].count(TURN) == 2
    assert ("execute_tool write_file", None) in names
    assert {error for _, error in names} == {None}
    told = json.dumps([json.loads(span.to_json()) for span in exporter.get_finished_spans()])
    assert "planted" not in told
    assert '"events": []' in told


async def test_a_model_that_fails_is_told_by_kind_and_the_turn_is_no_error(
    tmp_path, open_wire, spans, exporter
):
    broken = open_wire("openai", brain=lambda heard: Reply(status=401, error="planted-4763 is no key"))
    well = open_wire("anthropic", brain=lambda heard: Reply(text="Hello."))
    environ = configure(
        tmp_path, {"a": at(broken), "b": at(well)}, {"orchestrator": ["a", "b"], "chat": ["b"]}
    )
    async with open_orchestrator(load_settings(environ)) as house:
        assert (await house.ask("hello", thread_id="t1")).failed_models
    assert spans() == [(TURN, None), ("chat gpt-test", "bad_key"), ("chat claude-sonnet-4-6", None)]
    assert not any("planted" in span.to_json() for span in exporter.get_finished_spans())


async def test_whoever_reads_a_stream_works_for_nobody_between_its_events(house, spans):
    with trace.get_tracer("host").start_as_current_span("host") as mine:
        async for event in house.stream("what is 12*7", thread_id="t1"):
            assert trace.get_current_span() is mine, event
            assert current_run().known() == {}
    names = [name for name, _ in spans()]
    assert names[:2] == ["host", TURN]


async def test_a_reader_that_leaves_ends_the_span_and_it_is_no_error(house, spans):
    events = house.stream("what is 12*7", thread_id="t1")
    async for event in events:
        if isinstance(event, ToolStarted):
            break
    await events.aclose()
    assert (TURN, None) in spans()


async def test_a_turn_that_is_cancelled_ends_its_spans(tmp_path, open_wire, spans):
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def brain(heard):
        loop.call_soon_threadsafe(asked.set)
        return Reply(text="late", delay_s=5)

    environ = configure(tmp_path, {"a": at(open_wire("openai", brain=brain))}, {"chat": ["a"]})
    async with open_orchestrator(load_settings(environ)) as house:
        task = asyncio.create_task(house.ask("hello", thread_id="t1"))
        await asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert spans() == [(TURN, "CancelledError"), ("chat gpt-test", "cancelled")]


async def test_a_host_gets_thread_user_and_run_in_its_log_by_a_filter(tmp_path, open_wire):
    """Our warnings bear them where its handler has the filter; its loggers stay as they are."""
    broken = open_wire("openai", brain=lambda heard: Reply(status=401, error="no"))
    environ = configure(tmp_path, {"a": at(broken)}, {"orchestrator": ["a"], "chat": ["a"]})
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append
    handler.addFilter(RunFilter())
    before = logging.getLogRecordFactory()
    logging.getLogger().addHandler(handler)
    try:
        async with open_orchestrator(load_settings(environ)) as house:
            await asyncio.gather(*(house.ask("hello", thread_id=thread) for thread in ("t1", "t2")))
    finally:
        logging.getLogger().removeHandler(handler)
    assert logging.getLogRecordFactory() is before
    told = [(r.thread_id, r.user, bool(r.run_id)) for r in records if r.name == "models.call"]
    assert set(told) <= {("t1", "local", True), ("t2", "local", True)}
    assert told


def call_once(heard):
    return Reply(text="Done.") if heard.results else Reply(calls=(Call("calculate", {"expression": "6*7"}),))


async def test_a_turns_operations_are_parts_of_it(tmp_path, open_wire, spans, exporter):
    environ = configure(
        tmp_path, {"a": at(open_wire("gemini", brain=call_once))}, {"orchestrator": ["a"], "chat": ["a"]}
    )
    async with open_orchestrator(load_settings(environ)) as house:
        await house.ask("hello", thread_id="t1")
    found = {span.name: span for span in exporter.get_finished_spans()}
    turn = found.pop(TURN)
    assert {span.parent.span_id for span in found.values()} == {turn.context.span_id}
    assert {span.attributes["gen_ai.conversation.id"] for span in found.values()} == {"t1"}
    assert found["chat gemini-3-flash-preview"].attributes["gen_ai.provider.name"] == "gcp.gemini"
