from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from base.data_dir import LONG_RESULTS
from base.settings import Limits, Settings, load_settings
from storage.long_results import ResultFiles
from tools.declaration import Here
from tools.registry import open_registry
from tools.run import Ran, run_tool

Call = Callable[..., Awaitable[Ran]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the workspace's folder, which nothing has made yet."""
    return tmp_path / "data" / "workspace"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        {
            "TWOBRAIN_DATA_DIR": str(tmp_path / "data"),
            "TWOBRAIN_CONFIG": "",
            "TZ": "Pacific/Pago_Pago",
            "MAIL_PASSWORD": "hunter2-and-more",
        }
    )


@pytest.fixture
def here(settings: Settings) -> Here:
    stored = ResultFiles(settings.data_dir / LONG_RESULTS)
    return Here(settings, "local", "user", "thread-1", "call-1", "key-1", long_results=stored)


@pytest.fixture
def impatient(here: Here) -> Here:
    """Return the same surroundings with next to no time for a tool."""
    settings = here.settings.model_copy(update={"limits": Limits(tool_timeout_s=0.05)})
    return Here(settings, here.user, here.user_role, here.thread_id, here.call_id, here.idempotency_key)


@pytest.fixture
def call(here: Here) -> Call:
    """Return a function that calls a tool of the registry as a model would, by name."""
    registry = open_registry(here.settings)

    async def by_name(name: str, **args: Any) -> Ran:
        tool = registry.get(name)
        assert tool is not None
        return await run_tool(tool, here, tool.check(args))

    return by_name


@pytest.fixture
def preview(here: Here) -> Callable[..., Awaitable[str | None]]:
    registry = open_registry(here.settings)

    async def by_name(name: str, **args: Any) -> str | None:
        tool = registry.get(name)
        assert tool is not None
        return await tool.preview(here, tool.check(args))

    return by_name


@pytest.fixture
def household(tmp_path: Path) -> Callable[..., Here]:
    """Return a function that gives the surroundings under a twobrain.toml and environment variables."""

    def furnish(toml: str, **variables: str) -> Here:
        config = tmp_path / "twobrain.toml"
        config.write_text(toml)
        environ = {"TWOBRAIN_CONFIG": str(config), "TWOBRAIN_DATA_DIR": str(tmp_path / "data"), **variables}
        return Here(load_settings(environ), "ada", "user", "thread-1", "call-1", "key-1")

    return furnish


@pytest.fixture
def call_in() -> Call:
    """Return a function that calls a tool by name in the given surroundings."""

    async def by_name(here: Here, name: str, **args: Any) -> Ran:
        tool = open_registry(here.settings).get(name)
        assert tool is not None
        return await run_tool(tool, here, tool.check(args))

    return by_name
