"""The model that places texts by their meaning, its provider's package loaded at the first need."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from base.errors import MissingKeyError
from base.settings import Settings
from models.opening import NO_KEY, PUBLIC
from models.registry import KEY_VARIABLES


class EmbeddingCard(BaseModel):
    """The `[tools.memory]` table: what finds memories by their meaning."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    provider: Literal["openai", "google"]
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


class Embedder:
    """Turns texts into vectors. It belongs to one event loop."""

    def __init__(self, card: EmbeddingCard, settings: Settings) -> None:
        self._card = card
        self._settings = settings
        self._model: Embeddings | None = None
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        """What its vectors can be compared by: those of one name with each other."""
        return f"{self._card.provider}:{self._card.model}"

    async def of_query(self, text: str) -> list[float]:
        """Return the vector of what is looked for; raises what its provider's client does."""
        async with asyncio.timeout(self._card.timeout_s):
            return await (await self._opened()).aembed_query(text)

    async def of_texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vector of each text that may be found; raises what its provider's client does."""
        async with asyncio.timeout(self._card.timeout_s):
            return await (await self._opened()).aembed_documents(list(texts))

    async def _opened(self) -> Embeddings:
        async with self._opening:
            if self._model is None:
                self._model = await asyncio.to_thread(_OPEN[self._card.provider], self._card, self._key())
        return self._model

    def _key(self) -> str | None:
        card, known = self._card, self._settings.secret
        usual = () if card.provider == "openai" and card.base_url else KEY_VARIABLES[card.provider]
        variables = (card.api_key_env,) if card.api_key_env else usual
        key = next((value for variable in variables if (value := known(variable))), None)
        if variables and key is None:
            raise MissingKeyError(f"The environment variable {variables[0]} is not set.")
        return key


def open_embedder(settings: Settings) -> Embedder | None:
    """Return what finds memories by their meaning; None where `[tools.memory]` names no model.

    Raises:
        ConfigurationError: that table is not as it should be.
    """
    card = settings.read_table(("tools", "memory"), EmbeddingCard)
    return Embedder(card, settings) if card else None


def _openai(card: EmbeddingCard, key: str | None) -> Embeddings:
    from langchain_openai import OpenAIEmbeddings
    from openai import DefaultAsyncHttpxClient

    return OpenAIEmbeddings(
        model=card.model,
        openai_api_key=SecretStr(key or NO_KEY),
        openai_api_base=card.base_url or PUBLIC["openai"],
        dimensions=card.dims,
        http_async_client=DefaultAsyncHttpxClient(timeout=card.timeout_s),
        max_retries=0,
        check_embedding_ctx_length=False,  # it would fetch a tokenizer, and send tokens instead of text
    )


def _google(card: EmbeddingCard, key: str | None) -> Embeddings:
    from langchain_google_genai import GoogleGenerativeAIEmbeddings

    return GoogleGenerativeAIEmbeddings(
        model=card.model,
        api_key=SecretStr(key or ""),
        base_url=card.base_url or PUBLIC["google"],
        output_dimensionality=card.dims,
        vertexai=False,
    )


_OPEN: dict[str, Callable[[EmbeddingCard, str | None], Embeddings]] = {"openai": _openai, "google": _google}
