"""Whatever is wrong with what a program gives: one clear sentence, and a thread that goes on afterwards."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import ValidationError

from base.errors import (
    BadMessageError,
    BadThreadError,
    ConfigurationError,
    MissingKeyError,
    NothingPendingError,
    StorageError,
    TwobrainError,
    UnknownModelError,
    UnknownThreadError,
    UnknownToolError,
)
from base.settings import load_settings
from graphs.orchestrator import builder
from graphs.session import open_orchestrator
from models.catalog import ModelRegistry
from nodes.context import Context
from tests.behaviour.invisible import INVISIBLE
from tests.wires.brain import Call, Reply

OPENAI = '[models.m]\nprovider = "openai"\nmodel = "m"\n'


def check_clear(error: BaseException, *words: str) -> None:
    """Check that an error is one short paragraph that holds the words."""
    said = str(error)
    assert isinstance(error, TwobrainError)
    assert "\n" not in said
    assert len(said) < 600
    assert said.endswith(".")
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("context", "kind", "words"),
    [
        (Context(orchestrator="gpt-9"), UnknownModelError, ("'gpt-9'", "offline-planner")),
        (Context(responder="nobody"), UnknownModelError, ("'nobody'", "chat")),
        (Context(tools=["fly"]), UnknownToolError, ("'fly'", "get_time")),
        (Context(confirm_allow=["fly"]), UnknownToolError, ("'fly'",)),
        (Context(confirm_deny=["fly", "swim"]), UnknownToolError, ("'fly', 'swim'",)),
    ],
)
async def test_a_context_that_names_what_there_is_not_is_refused_and_the_thread_goes_on(
    home, context, kind, words
):
    async with home.opened() as orchestrator:
        for thread in ("new", "t1"):
            await orchestrator.ask("what is 1+1", thread_id="t1")
            with pytest.raises(kind) as caught:
                await orchestrator.ask("what is 12*7", thread_id=thread, context=context)
            check_clear(caught.value, *words)
        result = await orchestrator.ask("what is 2*3", thread_id="t1")

    assert "2*3" in result.response
    assert "12*7" not in result.response


@pytest.mark.parametrize(
    "fields",
    [{"colour": "red"}, {"path": "sideways"}, {"max_rounds": 0}, {"user": ""}, {"max_tokens": 10**30}],
)
def test_a_context_field_that_is_unknown_or_out_of_bounds_is_named(fields):
    with pytest.raises(ValidationError, match=next(iter(fields))):
        Context(**fields)


def test_of_a_context_field_that_is_unknown_the_nearest_is_named_and_all_there_are():
    with pytest.raises(ValidationError) as caught:
        Context(pth="single")
    [problem] = caught.value.errors()
    assert problem["loc"] == ("pth",)
    assert "There is no field 'pth'. Did you mean 'path'? Fields there are: path, " in problem["msg"]


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[models.m\n", ("line 1",)),
        (OPENAI + 'colour = "red"\n', ("line 4", "colour")),
        (OPENAI.replace("openai", "gogle"), ("line 2", "'google'", "'gogle'")),
        ('[models.m]\nprovider = "openai"\n', ("line 1", "model is required")),
        (OPENAI + "timeout_s = -1\n", ("line 4", "greater than 0")),
        (OPENAI + '[roles]\nchat = ["x"]\n', ("line 5", "'x'", "Models there are: m")),
        (OPENAI + "[roles]\nchat = []\n", ("line 5", "empty")),
        ('[users.a]\nrole = "king"\n', ("line 2", "'guest'", "'king'")),
        ("[limits]\nmax_rounds = 0\n", ("line 2", "greater than or equal to 1")),
    ],
)
def test_a_mistake_in_twobrain_toml_is_named_with_file_line_and_what_is_expected(home, toml, words):
    home.configure(toml)
    with pytest.raises(ConfigurationError) as caught:
        ModelRegistry(home.settings())
    check_clear(caught.value, "twobrain.toml", *words)


def test_a_configuration_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"TWOBRAIN_CONFIG": str(tmp_path / "none.toml")})
    check_clear(caught.value, "none.toml", "TWOBRAIN_CONFIG")


async def test_a_missing_key_is_named_with_variable_and_model_and_the_thread_goes_on(home):
    home.configure(
        OPENAI + 'api_key_env = "M_KEY"\n[models.p]\nprovider = "offline"\n[roles]\norchestrator = ["p"]\n'
    )
    async with home.opened() as orchestrator:
        with pytest.raises(MissingKeyError) as caught:
            await orchestrator.ask("hi", thread_id="t1", context=Context(path="direct", responder="m"))
        check_clear(caught.value, "M_KEY", "'m'")
        result = await orchestrator.ask("what is 12*7", thread_id="t1", context=Context(path="single"))

    assert result.stop_reason == "answered"


async def test_an_endpoint_that_nobody_serves_is_said_in_the_answer_and_the_thread_goes_on(home, open_wire):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    home.environ = {"OPENAI_API_KEY": "sk-x"}
    table = '{}base_url = "http://127.0.0.1:{}"\nmax_retries = 0\n'
    home.configure(table.format(OPENAI, port))
    async with home.opened() as orchestrator:
        failed = await orchestrator.ask("hi", thread_id="t1")
    wire = open_wire("openai")
    home.configure(table.format(OPENAI, port).replace(f"http://127.0.0.1:{port}", wire.url))
    async with home.opened() as orchestrator:
        result = await orchestrator.ask("hello", thread_id="t1")

    assert failed.stop_reason == "model_failed"
    assert "'m'" in failed.response
    assert "cannot be reached" in failed.response
    assert result.response == "Answer: hello"
    assert wire.rejected == []


@pytest.mark.parametrize(
    ("thread", "words"),
    [
        ("a\udcffb", ("'a\\udcffb'", "UTF-8")),
        ("", ("empty",)),
        (" ", ("empty",)),
        ("\u200b\u2800", ("empty",)),
        ("x" * 256, ("256", "255")),
    ],
)
async def test_an_id_that_no_thread_can_have_is_refused(home, thread, words):
    async with home.opened() as orchestrator:
        calls = [
            lambda: orchestrator.ask("hi", thread_id=thread),
            lambda: orchestrator.resume(thread, answer=True),
            lambda: orchestrator.proceed(thread),
            lambda: orchestrator.result(thread),
        ]
        for call in calls:
            with pytest.raises(BadThreadError) as caught:
                await call()
            check_clear(caught.value, *words)
        await orchestrator.ask("what is 1+1", thread_id="x" * 255)
        assert len(await orchestrator.ledger.threads()) == 1


async def test_halves_of_characters_in_a_message_or_an_answer_are_marked_and_the_rest_is_kept(home):
    async with home.opened() as orchestrator:
        await orchestrator.ask('write "caf\udce9 \U0001f600" to a.txt', thread_id="t1")
        result = await orchestrator.resume("t1", {"decisions": [{"type": "reject", "message": "no\udcff"}]})
        [thread] = await orchestrator.ledger.threads()
    assert result.tool_calls[0]["args"]["content"] == "caf\ufffd \U0001f600"
    assert "no\ufffd" in result.tool_calls[0]["result"]
    assert thread["title"] == 'write "caf\ufffd \U0001f600" to a.txt'


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ([], "empty"),
        ([{"type": "text", "text": " "}], "empty"),
        (["", {"type": "text", "text": ""}], "empty"),
        *((text, "empty") for text in INVISIBLE.values()),
        ([{"type": "text", "text": text} for text in INVISIBLE.values()], "empty"),
        ("half \ud800", "surrogates"),
        ([{"type": "text", "text": "half \udfff"}], "surrogates"),
    ],
)
async def test_a_message_of_the_plain_graph_that_nobody_can_read_is_refused(home, content, word):
    async with home.opened() as orchestrator:
        config = orchestrator.config("t1")
        graph = builder.compile()
        with pytest.raises(BadMessageError) as caught:
            await graph.ainvoke({"messages": [HumanMessage(content)]}, config)
        check_clear(caught.value, word)
        assert await orchestrator.ledger.threads() == []


@pytest.mark.parametrize("layout", ["gemini+anthropic", "openai", "gemini", "anthropic"])
@pytest.mark.parametrize("refused", [" \n", "x" * 200_001])
async def test_what_the_plain_graph_has_refused_is_no_part_of_what_is_said_after_it(settle, layout, refused):
    house = settle(layout)
    async with house.open() as orchestrator:
        graph, where = orchestrator.graph, {"config": orchestrator.config("t"), "context": house.context()}
        with pytest.raises(BadMessageError):
            await graph.ainvoke({"messages": [HumanMessage(refused)]}, **where)
        await graph.ainvoke({"messages": [HumanMessage("Hello")]}, **where)
        result = await graph.ainvoke({"messages": [HumanMessage("Again")]}, **where)
    said = [message.text for message in result["messages"] if isinstance(message, HumanMessage)]
    assert (said, result["stop_reason"], house.rejected()) == (["Hello", "Again"], "answered", [])


async def test_an_earlier_message_without_a_word_is_shown_to_no_model(settle):
    house = settle("anthropic")
    async with house.open() as orchestrator:
        await orchestrator.ask("Hello", thread_id="t", context=house.context())
        config = orchestrator.config("t")
        blank = [
            HumanMessage(" ", id="blank"),
            AIMessage([{"type": "thinking", "thinking": "Well."}], id="b"),
        ]
        await orchestrator.graph.aupdate_state(config, {"messages": blank, "tail": "b"}, as_node="plan")
        result = await orchestrator.ask("Again", thread_id="t", context=house.context())
    assert (result.stop_reason, house.rejected()) == ("answered", [])


@pytest.mark.parametrize("verb", ["resume", "proceed", "result"])
async def test_an_unknown_thread_is_named(home, verb):
    async with home.opened() as orchestrator:
        with pytest.raises(UnknownThreadError) as caught:
            await getattr(orchestrator, verb)("nowhere", *([True] if verb == "resume" else []))
    check_clear(caught.value, "'nowhere'", "twobrain threads")


async def test_an_answer_to_nothing_is_refused_and_the_thread_goes_on(home):
    async with home.opened() as orchestrator:
        await orchestrator.ask("what is 12*7", thread_id="t1")
        with pytest.raises(NothingPendingError) as caught:
            await orchestrator.resume("t1", answer=True)
        check_clear(caught.value, "'t1'")
        assert (await orchestrator.ask("what is 2*3", thread_id="t1")).stop_reason == "answered"


@pytest.mark.parametrize("text", ["", " \n\t", "x" * 1_000_000])
async def test_a_message_that_is_empty_or_a_megabyte_long_is_refused_and_loses_nothing(home, text):
    async with home.opened() as orchestrator:
        asked = await orchestrator.ask('write "x" to a.txt', thread_id="t1")
        with pytest.raises(BadMessageError) as caught:
            await orchestrator.ask(text, thread_id="t1")
        check_clear(caught.value)
        with pytest.raises(BadMessageError):
            await orchestrator.graph.ainvoke({"messages": [("user", text)]}, orchestrator.config("plain"))
        assert (await orchestrator.result("t1")).pending == asked.pending
        assert (await orchestrator.resume("t1", answer=True)).stop_reason == "answered"


async def test_a_number_that_no_checkpoint_can_hold_is_told_to_the_model_and_ends_nothing(home, open_wire):
    def brain(heard):
        huge = Call("calculate", {"expression": 10**30})
        return Reply(text=heard.results[0].text) if heard.results else Reply(calls=(huge,))

    home.environ = {"OPENAI_API_KEY": "sk-x"}
    wire = open_wire("openai", brain=brain)
    home.configure(f'{OPENAI}base_url = "{wire.url}"\n')
    async with home.opened() as orchestrator:
        result = await orchestrator.ask("hi", thread_id="t1")

    assert result.stop_reason == "answered"
    assert "64 bits" in result.response
    assert home.effects == []


async def test_a_data_directory_that_cannot_be_one_is_named(tmp_path):
    (tmp_path / "file").touch()
    settings = load_settings({"TWOBRAIN_DATA_DIR": str(tmp_path / "file"), "TWOBRAIN_CONFIG": ""})
    with pytest.raises(StorageError) as caught:
        async with open_orchestrator(settings):
            pass
    check_clear(caught.value, str(tmp_path / "file"))


FULL = """
import asyncio, resource, signal, sys
from base.errors import StorageError
from tests.behaviour.crashes.process import Home

async def main():
    home = Home(__import__("pathlib").Path(sys.argv[1]))
    async with home.opened() as orchestrator:
        await orchestrator.ask("what is 12*7", thread_id="t1")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        try:
            await orchestrator.ask("remember that it rains", thread_id="t1")
        except StorageError as error:
            print("told:", error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print("then:", (await orchestrator.ask("what is 2*3", thread_id="t1")).response)

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_disk_that_is_full_is_said_and_the_thread_goes_on_when_there_is_space(home):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(home.directory)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told, _, then = done.stdout.partition("then:")
    assert told.startswith("told:"), done.stdout
    assert "2*3" in then
    assert home.effects == ["calculate", "calculate"]


def test_a_claude_program_of_the_process_is_not_found_by_settings_of_another_environment(
    home, monkeypatch, tmp_path
):
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = load_settings({"TWOBRAIN_DATA_DIR": str(tmp_path)})
    assert [name for name, _ in ModelRegistry(settings).cards()] == ["offline-planner", "offline-writer"]
