"""What every step stands on: settings, tools, models and the ledger, opened once for each process."""

import asyncio
from dataclasses import dataclass

from langgraph.config import get_config

from ledger.book import Ledger
from models.calling import Caller
from settings import Settings, load_settings
from tools.registry import Registry, open_registry

CONFIGURED = "__twobrain_resources"
"""Key in a run's `configurable`: a program's own resources. The prefix keeps it out of checkpoints."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The house's possessions."""

    settings: Settings
    tools: Registry
    models: Caller
    ledger: Ledger


async def open_resources(settings: Settings | None = None) -> Resources:
    """Open everything anew; off the event loop, for it touches files.

    Raises:
        ConfigurationError: the environment or twobrain.toml is not as expected.
        StorageError: the data directory cannot be used.
    """
    if settings is None:
        settings = await asyncio.to_thread(load_settings)
    tools = await asyncio.to_thread(open_registry, settings)
    models = await asyncio.to_thread(Caller, settings)
    ledger = await Ledger.open(settings.data_dir / "ledger.db", settings.redact)
    return Resources(settings, tools, models, ledger)


_shared: dict[str, Resources] = {}
_opening = asyncio.Lock()


async def resources() -> Resources:
    """Return the run's own resources, else the ones that this process shares, opened at the first need."""
    given = get_config().get("configurable", {}).get(CONFIGURED)
    if isinstance(given, Resources):
        return given
    if "shared" not in _shared:
        async with _opening:
            if "shared" not in _shared:
                _shared["shared"] = await open_resources()
    return _shared["shared"]
