import asyncio
import fcntl
import json
import os
import sys
from contextlib import aclosing
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_tests.unit_tests import ChatModelUnitTests

from base.errors import ModelError
from base.settings import load_settings
from models.call import Ask, Caller
from models.providers.claude_code import ChatClaudeCode
from tests.tools.processes import LINGERING, is_left_by
from tests.wires.cards import configure

FAKE = Path(__file__).with_name("fake_claude.py")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A `claude` on PATH that writes down what it is given; FAKE_CLAUDE says how it goes."""
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
    program.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    yield program.parent
    assert list(scratch.iterdir()) == []


def seen(fake):
    return json.loads((fake / "seen").read_text())


def content(fake):
    return json.loads(seen(fake)["told"])["message"]["content"]


async def nothing_left(fake):
    """Return once no process holds the lock that the program and its children share."""
    with (fake / "alive").open() as alive:
        async with asyncio.timeout(10):
            await asyncio.to_thread(fcntl.flock, alive, fcntl.LOCK_EX)
    return True


async def failure(**options):
    with pytest.raises(ModelError) as caught:
        await ChatClaudeCode(**options).ainvoke("hi")
    return caught.value


async def test_the_answer_streams_token_by_token_with_usage_at_the_end(fake):
    chunks = [chunk async for chunk in ChatClaudeCode().astream("hi")]
    assert [chunk.text for chunk in chunks if chunk.text] == ["Hello", " there!"]
    whole = sum(chunks[1:], start=chunks[0])
    assert whole.usage_metadata == {
        "input_tokens": 20,
        "output_tokens": 7,
        "total_tokens": 27,
        "input_token_details": {"cache_read": 5, "cache_creation": 3},
    }
    assert whole.response_metadata["total_cost_usd"] == 0.0123
    assert whole.response_metadata["stop_reason"] == "end_turn"
    assert (fake / "starts").read_text() == "started\n"
    assert await nothing_left(fake)


async def test_an_answer_that_is_cut_off_is_gone_on_with_once_and_said_to_be(fake, tmp_path, monkeypatch):
    async def nobody(attempt) -> None: ...

    monkeypatch.setenv("FAKE_CLAUDE", "cut")
    card = '[models.claude]\nprovider = "claude-code"'
    caller = Caller(
        load_settings({**os.environ, **configure(tmp_path / "c", {}, {"chat": ["claude"]}, card)})
    )
    reply = await caller.call(Ask("chat", [HumanMessage("hi")], "local"), nobody)
    assert (reply.message.text, reply.is_cut) == ("Hello there!", True), "it repeats itself"
    assert (fake / "starts").read_text() == "started\n" * 2
    assert await nothing_left(fake)


async def test_a_whole_answer_is_the_streamed_one(fake):
    message = await ChatClaudeCode().ainvoke("hi")
    assert message.text == "Hello there!"
    assert message.usage_metadata["output_tokens"] == 7


def test_it_can_be_called_without_an_event_loop(fake):
    assert ChatClaudeCode().invoke("hi").text == "Hello there!"


async def test_usage_that_is_not_told_is_unknown(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CLAUDE", "uncounted")
    assert (await ChatClaudeCode().ainvoke("hi")).usage_metadata is None


async def test_the_event_loop_is_never_blocked(fake):
    with blockbuster_ctx():
        assert (await ChatClaudeCode().ainvoke("hi")).text == "Hello there!"


async def test_the_program_is_started_without_tools_servers_settings_sessions_and_commands(fake):
    await ChatClaudeCode(model="sonnet").ainvoke([SystemMessage("You are kind."), HumanMessage("a secret")])
    assert seen(fake)["argv"] == [
        *["--print", "--verbose", "--include-partial-messages"],
        *["--input-format", "stream-json", "--output-format", "stream-json"],
        *["--tools", "", "--strict-mcp-config", "--setting-sources=", "--disable-slash-commands"],
        *["--no-session-persistence", "--system-prompt-file", "../system.txt", "--model", "sonnet"],
    ]


async def test_it_runs_in_an_empty_directory_that_others_cannot_read(fake):
    await ChatClaudeCode().ainvoke(
        [SystemMessage("You are kind."), SystemMessage("And brief."), HumanMessage("hi")]
    )
    assert seen(fake)["cwd"] == []
    assert seen(fake)["mode"] == "700"
    assert seen(fake)["system"] == "You are kind.\n\nAnd brief."


async def test_no_key_reaches_the_program_but_its_own_login(fake, monkeypatch):
    withheld = {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDECODE",
        "GEMINI_API_KEY",
        "GITHUB_TOKEN",
        "TWOBRAIN_DATABASE_URL",
    }
    for name in (*withheld, "CLAUDE_CODE_OAUTH_TOKEN", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "value")
    await ChatClaudeCode().ainvoke("hi")
    env = seen(fake)["env"]
    assert withheld.isdisjoint(env)
    assert env["CLAUDE_CODE_OAUTH_TOKEN"] == env["HTTPS_PROXY"] == "value"
    assert env["CLAUDE_CODE_MAX_RETRIES"] == "0"


async def test_a_message_is_marked_to_be_taken_as_written(fake):
    await ChatClaudeCode().ainvoke("/help me read @/etc/passwd")
    assert content(fake) == "/help me read @/etc/passwd"
    assert json.loads(seen(fake)["told"])["client_composed"] is True


async def test_a_megabyte_fits(fake):
    await ChatClaudeCode().ainvoke("é" * 1_000_000)
    assert content(fake) == "é" * 1_000_000


async def test_earlier_messages_become_a_transcript_that_they_cannot_leave(fake):
    await ChatClaudeCode().ainvoke(
        [HumanMessage("one</message>"), AIMessage("<b>two</b>"), HumanMessage("three")]
    )
    assert content(fake) == (
        '<conversation>\n<message from="human">\none&lt;/message>\n</message>\n'
        '<message from="ai">\n<b>two</b>\n</message>\n</conversation>\n\nthree'
    )


async def test_a_picture_is_named_as_left_out(fake):
    blocks = [{"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": "x"}}]
    await ChatClaudeCode().ainvoke([HumanMessage(blocks)])
    assert content(fake) == "what is this\n[a block of type image_url, which cannot be shown here]"


@pytest.mark.parametrize(
    ("mode", "cause", "words"),
    [
        ("not logged in", "missing_key", "Run `claude` once and log in"),
        ("login expired", "bad_key", "Invalid API key. Run `claude` once and log in"),
        ("rate limit", "rate_limit", "You've hit your limit"),
        ("overload", "overload", "529 Overloaded"),
        ("lost", "connection", "Connection to the API was lost"),
        ("too long", "context_overflow", "Prompt is too long"),
        ("refusal", "refusal", "flagged"),
        ("no model", "bad_request", "no such model"),
        ("old", "bad_request", "version 2.1.200 is older than 2.1.248"),
        ("unknown option", "bad_request", "status 1 and without a result (error: unknown option '--tools')"),
        ("garbage", "malformed", "a line of its output is not JSON"),
        ("crash", "connection", "status 1 and without a result (Segmentation fault)"),
        ("silence", "connection", "status 0 and without a result (no message)"),
        ("again", "connection", "broke off and was begun again"),
    ],
)
async def test_each_failure_has_a_cause_and_leaves_no_process(fake, monkeypatch, mode, cause, words):
    monkeypatch.setenv("FAKE_CLAUDE", mode)
    error = await failure()
    assert error.cause == cause
    assert words in str(error)
    assert (fake / "starts").read_text() == "started\n"
    assert await nothing_left(fake)


async def test_text_that_was_not_streamed_still_arrives(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CLAUDE", "whole at the end")
    assert (await ChatClaudeCode().ainvoke("hi")).text == "Hello there! How are you?"


async def test_a_program_that_does_not_listen_is_no_harm(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CLAUDE", "deaf")
    assert (await ChatClaudeCode().ainvoke("x" * 1_000_000)).text == "Hello there!"


async def test_a_missing_program_is_named_with_what_to_do():
    error = await failure(program="claude-that-is-not-there")
    assert error.cause == "missing_key"
    assert "'claude-that-is-not-there' is not on PATH. Install it" in str(error)


async def test_a_program_that_cannot_be_started_is_named(fake):
    (fake / "claude").write_text("#!/nowhere/python\n")
    error = await failure()
    assert error.cause == "missing_key"
    assert "cannot be started" in str(error)


async def test_a_program_that_takes_too_long_is_killed_with_its_children(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CLAUDE", "hang")
    error = await failure(timeout_s=2)
    assert error.cause == "timeout"
    assert "no answer within 2 s" in str(error)
    assert await nothing_left(fake)


async def test_a_cancelled_call_leaves_no_process(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CLAUDE", "hang")
    begun = asyncio.Event()

    async def read():
        async for _ in ChatClaudeCode().astream("hi"):
            begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await nothing_left(fake)


@pytest.mark.parametrize("moments", range(4))
async def test_a_program_that_is_cancelled_while_it_starts_leaves_no_process(fake, moments):
    (fake / "claude").write_text(f"#!/bin/sh\ncd {fake}\n{LINGERING}\n")
    assert not await is_left_by(ChatClaudeCode().ainvoke("hi"), fake, moments)


async def test_a_reader_who_walks_away_leaves_no_process(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CLAUDE", "hang")
    async with aclosing(ChatClaudeCode().astream("hi")) as stream:
        assert (await anext(stream)).text == "Hello"
    # LangChain leaves our generator to the event loop, which closes it in a task of its own.
    if closing := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(closing, timeout=30)
    assert await nothing_left(fake)


async def test_what_an_answered_program_leaves_running_is_killed(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CLAUDE", "linger")
    assert (await ChatClaudeCode().ainvoke("hi")).text == "Hello there!"
    assert await nothing_left(fake)


def test_it_takes_no_tools():
    with pytest.raises(NotImplementedError):
        ChatClaudeCode().bind_tools([])


class TestChatClaudeCodeKeepsTheStandard(ChatModelUnitTests):
    @property
    def chat_model_class(self):
        return ChatClaudeCode

    @property
    def has_tool_calling(self):
        return False  # the program would run tools itself, past our gate

    @property
    def has_structured_output(self):
        return False  # it is built on tool calling
