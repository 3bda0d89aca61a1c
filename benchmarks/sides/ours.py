"""Ours with everything on: gate, policy, ledger, audit and usage, on a data directory or Postgres."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nodes.resources
from base.settings import Settings, load_settings
from benchmarks.script import WAITING, script
from benchmarks.scripted_chat import ScriptedChat
from benchmarks.worker import Converse, serve
from graphs.session import Orchestrator, open_orchestrator
from models.providers import MODULES, Provider
from nodes.context import Context
from tools import read_result
from tools.declaration import tool
from tools.registry import Registry

_TOML = """
[models.scripted]
provider = "scripted"
context_window = 200_000

[roles]
orchestrator = ["scripted"]
chat = ["scripted"]

[limits]
max_rounds = 1_000
"""


PROVIDER = Provider(open=lambda _card, _key: ScriptedChat(), needs_key=False, needs_model=False, is_free=True)


@tool(effect="read")
async def look_up(query: str) -> str:
    """Look something up."""
    return await script.look_up()


@tool(effect="send")
async def send(to: str, text: str) -> str:
    """Send a message; asks first."""
    raise NotImplementedError


def furnish(directory: Path) -> Settings:
    """Put the scripted model and its tools where the real ones are opened; return the settings to open with.

    All else is the house's own: the caller of models with its streaming, checks, retries and usage, too.
    """
    MODULES["scripted"] = __name__
    registry = Registry([look_up, send, *read_result.TOOLS])
    setattr(nodes.resources, "open_registry", lambda _settings: registry)  # noqa: B010 (it is not exported)
    config = directory / "twobrain.toml"
    config.write_text(_TOML)
    shared = {"TWOBRAIN_DATABASE_URL": os.environ.get("TWOBRAIN_DATABASE_URL", "")}
    return load_settings(
        {"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(directory / "data"), **shared}
    )


def conversing(orchestrator: Orchestrator) -> Converse:
    """Return what runs a conversation on the path that makes as many model calls as the peers do."""
    context = Context(path="single", max_rounds=1_000, confirmation="template")

    async def converse(thread: str, request: str) -> str:
        ended = await orchestrator.ask(request, thread_id=thread, context=context)
        return WAITING if ended.pending else ended.response

    return converse


@asynccontextmanager
async def open_side(directory: Path) -> AsyncIterator[Converse]:
    """Open the orchestrator as any program does."""
    async with open_orchestrator(furnish(directory)) as orchestrator:
        yield conversing(orchestrator)


if __name__ == "__main__":
    serve(open_side)
