"""Google: Gemini through Google's own client."""

import logging
from collections.abc import Mapping

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from base.settings import ModelCard, Settings
from models.error_bodies import restore_status
from models.providers import EmbeddingCard, Provider, given

ADDRESS = "https://generativelanguage.googleapis.com"
"""Named to the client, which would else take an address from the process's environment."""
_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")


def _open(card: ModelCard, key: str | None) -> BaseChatModel:
    from langchain_google_genai import ChatGoogleGenerativeAI

    # In each call it warns of every schema's `additionalProperties`, which Gemini does not know.
    logging.getLogger("langchain_google_genai._function_utils").setLevel(logging.ERROR)
    return ChatGoogleGenerativeAI(
        model=card.model,
        api_key=SecretStr(key or ""),
        base_url=card.base_url or ADDRESS,
        timeout=card.timeout_s,
        max_retries=1,  # attempts, not repeats: 0 would mean the SDK's own default
        client_args={"event_hooks": {"response": [restore_status]}},
        **given(temperature=card.temperature, max_output_tokens=card.max_output_tokens),
    )


def _embed(card: EmbeddingCard, key: str | None) -> Embeddings:
    from langchain_google_genai import GoogleGenerativeAIEmbeddings

    return GoogleGenerativeAIEmbeddings(
        model=card.model,
        api_key=SecretStr(key or ""),
        base_url=card.base_url or ADDRESS,
        output_dimensionality=card.dims,
        vertexai=False,
    )


def _detect(settings: Settings) -> Mapping[str, ModelCard]:
    if not any(settings.secret(variable) for variable in _KEYS):
        return {}
    model = settings.secret("GEMINI_MODEL") or "gemini-3-flash-preview"
    base_url = settings.secret("GOOGLE_GEMINI_BASE_URL")
    return {"gemini": ModelCard(provider="google", model=model, base_url=base_url, context_window=1_000_000)}


PROVIDER = Provider(
    open=_open,
    embed=_embed,
    key_variables=_KEYS,
    price_id=lambda _: "google",
    is_two_brain=True,
    plan_rank=10,
    write_rank=40,
    detect=_detect,
)
