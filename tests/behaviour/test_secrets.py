"""A key is sent to its provider and stands nowhere else: not on disk, not on a screen, not in an event."""

import os
from pathlib import Path

import pytest

from base.settings import load_settings
from graphs.session import open_orchestrator
from nodes.context import Context
from tests.server.stored import contents
from tests.terminal import forked
from tests.wires.brain import Call, Reply
from tests.wires.cards import PROVIDERS
from tests.wires.clients import KINDS
from tools.declaration import tool
from tools.registry import Registry, open_registry

CARD_KEY, ALICE_KEY = "open sesame 4711", "moonlight%sonata=12"
"""Not shaped like keys: only who knows the environment can tell that they are."""
TOOLS_ONLY = ({"DOOR_TOKEN": "hunter2-hunter2"}, "hunter2-hunter2")


@tool(effect="read")
def peek() -> str:
    """Fail with a key in the error."""
    raise RuntimeError(f"401 for url https://x/?key={CARD_KEY} and {ALICE_KEY} and {TOOLS_ONLY[1]}")


def leaky(heard):
    """Read keys, trip over keys, repeat whatever came back."""
    if "fail" in heard.request:
        return Reply(status=401, error=f"Incorrect API key provided: {CARD_KEY}, {ALICE_KEY}.")
    if not heard.results and heard.tools:
        names = [name for name in ("read_file", "peek") if name in heard.tools]
        return Reply(calls=tuple(Call(n, {"path": "env.txt"} if n == "read_file" else {}) for n in names))
    return Reply(text=" ".join(result.text for result in heard.results) or "Nothing.")


@pytest.fixture(params=KINDS)
def environ(request, tmp_path, open_wire):
    """Return the environment of a house whose one model stands at a wire and whose workspace holds keys."""
    provider, model = PROVIDERS[request.param]
    wire = open_wire(request.param, brain=leaky)
    (tmp_path / "twobrain.toml").write_text(
        f'[models.m]\nprovider = "{provider}"\nmodel = "{model}"\nbase_url = "{wire.url}"\n'
        'api_key_env = "CARD_KEY"\nmax_retries = 0\n[users.alice]\nkeys = { m = "ALICE_S_OWN" }\n'
    )
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "env.txt").write_text(f"A={CARD_KEY}\nB={ALICE_KEY}\nC={TOOLS_ONLY[1]}\n")
    return wire, {
        "TWOBRAIN_CONFIG": str(tmp_path / "twobrain.toml"),
        "TWOBRAIN_DATA_DIR": str(tmp_path / "data"),
        "TWOBRAIN_WORKSPACE": str(tmp_path / "workspace"),
        "CARD_KEY": CARD_KEY,
        "ALICE_S_OWN": ALICE_KEY,
        "PATH": os.defpath,
        **TOOLS_ONLY[0],
    }


def check_nowhere(text: str, data: Path) -> None:
    """Check that no key stands in a text or in any byte of any file of a data directory."""
    files = contents(data)
    assert any(b"[redacted]" in content for _, content in files)
    for key in (CARD_KEY, ALICE_KEY, TOOLS_ONLY[1]):
        assert key not in text
        assert [path for path, content in files if key.encode() in content] == []


@pytest.fixture
def peeking(monkeypatch):
    """Add the tool `peek`."""
    monkeypatch.setattr(
        "nodes.resources.open_registry", lambda settings: Registry([*open_registry(settings), peek])
    )


@pytest.mark.parametrize(
    "context", [Context(path="single"), Context(path="two-brain", user="alice")], ids=lambda c: c.path
)
async def test_a_program_leaves_no_key_behind(environ, context, peeking, caplog):
    wire, env = environ
    wire.key = ALICE_KEY if context.user == "alice" else CARD_KEY
    seen = []
    async with open_orchestrator(load_settings(env)) as orchestrator:
        for text in ("show me", "fail"):
            seen += [
                repr(event) async for event in orchestrator.stream(text, thread_id="t1", context=context)
            ]
        # The write-ahead logs go when the last connection closes, so they are searched now.
        check_nowhere("\n".join(seen) + caplog.text, Path(env["TWOBRAIN_DATA_DIR"]))
    check_nowhere("", Path(env["TWOBRAIN_DATA_DIR"]))

    assert "[redacted]" in "\n".join(seen)
    assert wire.rejected == []
    assert len(wire.heard) == len(wire.said) >= 3


def test_the_command_leaves_no_key_behind(environ, tmp_path):
    wire, env = environ
    wire.key = CARD_KEY
    said = ""
    for *words, code in (("show me", 0), ("fail", "--json", 1)):
        done = forked.run(["ask", *words], {**env, "HOME": str(tmp_path)}, tmp_path)
        said += done.stdout + done.stderr
        assert done.returncode == code, said

    assert "[redacted]" in said
    check_nowhere(said, Path(env["TWOBRAIN_DATA_DIR"]))


async def test_a_key_among_a_calls_arguments_is_kept_out_of_the_ledger(environ):
    wire, env = environ
    call = Call("write_file", {"path": "a.txt", "content": CARD_KEY})
    wire.brain = lambda heard: (
        Reply(text="Done.") if heard.results or not heard.tools else Reply(calls=(call,))
    )
    async with open_orchestrator(load_settings(env)) as orchestrator:
        assert (await orchestrator.ask("note my key", thread_id="t1")).pending
        result = await orchestrator.resume("t1", answer=True)
        rows = repr(await orchestrator.ledger.audit())

    assert CARD_KEY.encode() not in (Path(env["TWOBRAIN_DATA_DIR"]) / "ledger.db").read_bytes()
    assert [call["status"] for call in result.tool_calls] == ["executed"]
    assert (Path(env["TWOBRAIN_WORKSPACE"]) / "a.txt").read_text() == CARD_KEY
    assert CARD_KEY not in rows
    assert "[redacted]" in rows


def test_no_choice_of_a_run_holds_a_key():
    words = ("key", "secret", "password", "credential")
    assert [name for name in Context.model_fields if any(word in name for word in words)] == []
    assert "token" not in {part for name in Context.model_fields for part in name.split("_")}
