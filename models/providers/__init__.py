"""The providers of models: what each declares, and which there are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel, ConfigDict, Field, field_validator

from base.settings import ModelCard, Settings
from models.media import MEDIA

MODULES: dict[str, str] = {
    "google": "models.providers.google",
    "anthropic": "models.providers.anthropic",
    "claude-code": "models.providers.claude_code",
    "openai": "models.providers.openai",
    "offline": "models.providers.offline",
}
"""A provider's name in twobrain.toml to the module that declares it as `PROVIDER`.

Keys are looked for in this order. A program may add its own before it opens anything.
"""


class EmbeddingCard(BaseModel):
    """The `[tools.memory]` table: what finds memories by their meaning."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    provider: str
    """openai (and all that speaks its embeddings) or google."""
    model: str = Field(min_length=1)
    """The provider's own name of the model."""
    base_url: str | None = None
    """None: the provider's public endpoint."""
    api_key_env: str | None = None
    """Name of the key's variable; None: the SDK's usual one, or no key where `base_url` names an endpoint
    that speaks as OpenAI does."""
    dims: int | None = Field(default=None, ge=1)
    """Numbers in a vector, where the model can be asked for fewer; None: as many as it gives."""
    timeout_s: float = Field(default=10, gt=0, le=600)
    """Seconds one request may take."""

    @field_validator("provider")
    @classmethod
    def _has_embeddings(cls, name: str) -> str:
        able = [each for each in MODULES if provider(each).embed]
        if name not in able:
            raise ValueError(f"unknown provider {name!r}; those with embeddings are {', '.join(able)}")
        return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What a provider declares; its package loads when it opens a model."""

    open: Callable[[ModelCard, str | None], BaseChatModel]
    """Opens a model with its key; None: it has none. Runs in a thread; the client is to make no retries."""
    embed: Callable[[EmbeddingCard, str | None], Embeddings] | None = None
    """Opens a model of embeddings as `open` does; None: it has none."""
    title: str = ""
    """What `twobrain init` calls it; empty: nobody is asked for it."""
    key_page: str = ""
    """Where a person gets a key."""
    key_prefixes: tuple[str, ...] = ()
    """How its keys begin, by which one that was meant for another is known."""
    program: str = ""
    """The program that answers in a key's place."""
    address_variable: str = ""
    """The variable of another address than its own, for the models it detects."""
    model_variable: str = ""
    """The variable that names the model it detects."""
    key_variables: tuple[str, ...] = ()
    """Environment variables of its key, in its SDK's order; empty: it takes none."""
    needs_key: bool = True
    """False: the key may be missing."""
    needs_model: bool = True
    """False: a card need not name a model."""
    telemetry_name: str = ""
    """Its name in OpenTelemetry's conventions; empty: that of its module."""
    is_protocol: bool = False
    """True: others speak as it does; one at a `base_url` needs no key, and is never sent this provider's."""
    is_free: bool = False
    """True: nothing is billed for a call."""
    price_id: Callable[[ModelCard], str | None] = lambda _: None
    """Gives a card's provider in the genai-prices package; None: not listed."""
    is_two_brain: bool = False
    """True: its models gather for another that writes, unless the context says otherwise."""
    plan_rank: int | None = 50
    """Place among the models that plan, where no roles are configured, the lowest first; None: it cannot."""
    write_rank: int | None = 50
    """The same for those that write answers."""
    writers: frozenset[str] | None = None
    """Its models that only write, all others only plan; None: each does both."""
    detect: Callable[[Settings], Mapping[str, ModelCard]] = lambda _: {}
    """Gives the models, by name, that there is a key or a program for, where none are configured."""
    is_stand_in: bool = False
    """True: what it detects is used only where nothing else was found that takes tools."""
    takes: frozenset[str] = MEDIA
    """What its client can send beside text; whether a model takes that, its server says."""
    lacks: Callable[[Settings], str | None] = lambda _: None
    """Says what is missing on this machine beside a key; None: nothing."""

    def is_own_key(self, key: str) -> bool:
        """Tell whether a key does not begin as another provider's."""
        begun = [
            (len(prefix), each)
            for each in map(provider, MODULES)
            for prefix in each.key_prefixes
            if key.startswith(prefix)
        ]
        return not begun or max(begun, key=lambda found: found[0])[1] is self

    def variables(self, base_url: str | None) -> tuple[str, ...]:
        """Return the key's variables at an address; None: the provider's own."""
        return () if base_url and self.is_protocol else self.key_variables

    def rank(self, card: ModelCard, *, writes: bool) -> int | None:
        """Return a model's rank as writer or planner; None: it is none."""
        if self.writers is not None and writes != (card.model in self.writers):
            return None
        return self.write_rank if writes else self.plan_rank


def provider(name: str) -> Provider:
    """Return a provider by its name; raises KeyError where there is none."""
    found: Provider = import_module(MODULES[name]).PROVIDER
    return found


def given(**options: Any) -> dict[str, Any]:
    """Return the options that are not None."""
    return {name: value for name, value in options.items() if value is not None}
