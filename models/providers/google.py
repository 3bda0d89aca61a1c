"""Google: Gemini through Google's own client. Uses private names of google-genai."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from base.settings import ModelCard, Settings
from models.providers import EmbeddingCard, Provider, given
from models.providers.parameters import PLAIN, in_keywords
from models.reply_bodies import hooks
from models.responses import in_order

if TYPE_CHECKING:
    from langchain_google_genai import ChatGoogleGenerativeAI

ADDRESS = "https://generativelanguage.googleapis.com"
"""Named to the client, which would else take an address from the process's environment."""
_M = TypeVar("_M")
_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_MODEL, _ADDRESS = "GEMINI_MODEL", "GOOGLE_GEMINI_BASE_URL"


def _open(card: ModelCard, key: str | None) -> BaseChatModel:
    model = _client()(
        model=card.model,
        api_key=SecretStr(key or ""),
        base_url=card.base_url or ADDRESS,
        timeout=card.timeout_s,
        max_retries=1,  # attempts, not repeats: 0 would mean the SDK's own default
        client_args={"event_hooks": hooks(in_order(dict))},
        **given(temperature=card.temperature, max_output_tokens=card.max_output_tokens),
    )
    return over_httpx(model)


@cache
def _client() -> "type[ChatGoogleGenerativeAI]":
    """Return LangChain's client, which declares tools by their JSON Schema.

    LangChain's translates it into Google's own, and says another thing by it: an object without names becomes
    a text, each argument of an inner object a required one, and bounds get lost.
    """
    from google.genai.types import FunctionDeclaration, Tool
    from langchain_google_genai import ChatGoogleGenerativeAI

    class Declaration(FunctionDeclaration):
        def model_dump(self, **options: Any) -> dict[str, Any]:
            return super().model_dump(**{**options, "by_alias": True})  # the wire's names, not Python's

    class GeminiChat(ChatGoogleGenerativeAI):
        def bind_tools(self, tools: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
            if not all(isinstance(each, dict) and "function" in each for each in tools):
                return super().bind_tools(tools, *args, **kwargs)
            declared = [Declaration(**_declaration(each["function"])) for each in tools]
            bound: Any = super().bind_tools([], *args, **kwargs)
            return bound.bind(tools=[Tool(function_declarations=declared)])

    return GeminiChat


def _declaration(function: Mapping[str, Any]) -> dict[str, Any]:
    declared = {"name": function["name"], "description": function.get("description")}
    parameters = function.get("parameters", {})
    if not parameters.get("properties") and not isinstance(parameters.get("additionalProperties"), Mapping):
        return declared  # Gemini refuses an object without names
    return {**declared, "parametersJsonSchema": in_keywords(parameters, PLAIN)}


def _embed(card: EmbeddingCard, key: str | None) -> Embeddings:
    from langchain_google_genai import GoogleGenerativeAIEmbeddings

    model = GoogleGenerativeAIEmbeddings(
        model=card.model,
        api_key=SecretStr(key or ""),
        base_url=card.base_url or ADDRESS,
        output_dimensionality=card.dims,
        vertexai=False,
        client_args={"follow_redirects": False},  # the key would go with it
    )
    return over_httpx(model)


def over_httpx(model: _M) -> _M:
    """Have a model's client send through httpx, whose arguments hold.

    Where aiohttp is installed, as Matrix needs it, it would send through that, and know neither our hooks nor
    that it is to follow no redirect.
    """
    client: Any = model
    client.client._api_client._use_aiohttp = lambda: False  # noqa: SLF001
    return model


def _detect(settings: Settings) -> Mapping[str, ModelCard]:
    if not any(settings.secret(variable) for variable in _KEYS):
        return {}
    model = settings.secret(_MODEL) or "gemini-3-flash-preview"
    base_url = settings.secret(_ADDRESS)
    return {"gemini": ModelCard(provider="google", model=model, base_url=base_url, context_window=1_000_000)}


PROVIDER = Provider(
    open=_open,
    embed=_embed,
    title="Gemini, which plans and works with tools",
    key_page="https://aistudio.google.com/apikey",
    key_prefixes=("AIza",),
    address_variable=_ADDRESS,
    model_variable=_MODEL,
    key_variables=_KEYS,
    price_id=lambda _: "google",
    telemetry_name="gcp.gemini",
    is_two_brain=True,
    plan_rank=10,
    write_rank=40,
    detect=_detect,
)
