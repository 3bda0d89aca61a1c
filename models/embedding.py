"""Embeddings of texts, their provider's package loaded at the first need."""

import asyncio
from collections.abc import Callable, Sequence

from langchain_core.embeddings import Embeddings

from base.errors import MissingKeyError
from base.settings import Settings
from models.providers import EmbeddingCard, provider

Embed = Callable[[EmbeddingCard, str | None], Embeddings]


class Embedder:
    """Turns texts into vectors. It belongs to one event loop."""

    def __init__(
        self,
        card: EmbeddingCard,
        embed: Callable[[EmbeddingCard, str | None], Embeddings],
        settings: Settings,
    ) -> None:
        self._card = card
        self._embed = embed
        self._settings = settings
        self._model: Embeddings | None = None
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        """What its vectors can be compared by: those of one name with each other."""
        return f"{self._card.provider}:{self._card.model}"

    async def of_query(self, text: str) -> list[float]:
        """Return the vector of what is looked for; raises what its provider's client does."""
        model = await self._opened()
        async with asyncio.timeout(self._card.timeout_s):
            return await model.aembed_query(text)

    async def of_texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vector of each text that may be found; raises what its provider's client does."""
        model = await self._opened()
        async with asyncio.timeout(self._card.timeout_s):
            return await model.aembed_documents(list(texts))

    async def _opened(self) -> Embeddings:
        async with self._opening:
            if self._model is None:
                self._model = await asyncio.to_thread(self._embed, self._card, self._key())
        return self._model

    def _key(self) -> str | None:
        card, known = self._card, self._settings.secret
        usual = provider(card.provider).variables(card.base_url)
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
    embed = provider(card.provider).embed if card else None
    return Embedder(card, embed, settings) if card and embed else None
