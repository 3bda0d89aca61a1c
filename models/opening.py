"""Open a model: from its card to a LangChain chat model, its provider's package loaded only then."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from base.settings import ModelCard, Provider, Settings
from models.providers.masked import unmask
from models.raw_calls import anthropic_client, openai_client
from models.registry import Registry

PUBLIC = {
    "google": "https://generativelanguage.googleapis.com",
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
}
"""Named to the clients, which would else take an address from the process's environment."""
NO_KEY = "not-needed"
"""Sent to endpoints that take no key: the OpenAI client refuses to start without one."""

_Opened = dict[tuple[str, str | None], BaseChatModel]


class Opener:
    """Opens each model once for each event loop and key, and keeps it."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._opened: WeakKeyDictionary[asyncio.AbstractEventLoop, _Opened] = WeakKeyDictionary()

    async def open(self, name: str, user: str) -> BaseChatModel:
        """Return the chat model of that name with the key of that user.

        Raises:
            UnknownModelError: no model has that name.
        """
        opened = self._opened.setdefault(asyncio.get_running_loop(), {})
        variable = self._registry.key_variable(name, user)
        if (name, variable) not in opened:
            card = self._registry.card(name)
            key = self._settings.secret(variable) if variable else None
            # Provider packages take seconds to import: never on the event loop.
            model = await asyncio.to_thread(open_model, card, key)
            opened.setdefault((name, variable), model)
        return opened[name, variable]

    async def close(self) -> None:
        """Close the connections of the running loop's models; one that is opened after that opens its own."""
        for model in self._opened.pop(asyncio.get_running_loop(), {}).values():
            if aclose := getattr(model, "aclose", None):
                await aclose()


def open_model(card: ModelCard, key: str | None) -> BaseChatModel:
    """Return a LangChain chat model for a card. Retries are ours, so every client is told to make none."""
    model = _OPEN[card.provider](card, key)
    model.disable_streaming = not card.streaming
    return model


def _google(card: ModelCard, key: str | None) -> BaseChatModel:
    from langchain_google_genai import ChatGoogleGenerativeAI

    # In each call it warns of every schema's `additionalProperties`, which Gemini does not know.
    logging.getLogger("langchain_google_genai._function_utils").setLevel(logging.ERROR)
    return ChatGoogleGenerativeAI(
        model=card.model,
        api_key=SecretStr(key or ""),
        base_url=card.base_url or PUBLIC["google"],
        timeout=card.timeout_s,
        max_retries=1,  # attempts, not repeats: 0 would mean the SDK's own default
        client_args={"event_hooks": {"response": [unmask]}},
        **_given(temperature=card.temperature, max_output_tokens=card.max_output_tokens),
    )


def _openai(card: ModelCard, key: str | None) -> BaseChatModel:
    from openai import DefaultAsyncHttpxClient

    async def secret() -> str:
        return key or NO_KEY

    base_url = card.base_url or PUBLIC["openai"]
    if card.host == "openwebui":
        base_url = f"{base_url.rstrip('/')}/api"
    with ThreadPoolExecutor(1) as aside:  # it reads the certificates while the other package is imported
        http = aside.submit(DefaultAsyncHttpxClient, timeout=card.timeout_s)
        client = openai_client()
    return client(
        model=card.model,
        api_key=secret,  # a coroutine: no client for synchronous calls is made, with certificates of its own
        base_url=base_url,
        http_async_client=http.result(),  # else one for all event loops
        timeout=card.timeout_s,
        max_retries=0,
        use_responses_api=False,
        stream_usage=True,
        **_given(temperature=card.temperature, max_completion_tokens=card.max_output_tokens),
    )


def _anthropic(card: ModelCard, key: str | None) -> BaseChatModel:
    return anthropic_client()(
        model_name=card.model,
        api_key=SecretStr(key or ""),
        base_url=card.base_url or PUBLIC["anthropic"],
        timeout=card.timeout_s,
        max_retries=0,
        stop=None,
        **_given(temperature=card.temperature, max_tokens_to_sample=card.max_output_tokens),
    )


def _claude_code(card: ModelCard, key: str | None) -> BaseChatModel:
    from models.providers.claude_code import ChatClaudeCode

    login = SecretStr(key) if key else None
    return ChatClaudeCode(model=card.model, login=login, timeout_s=card.timeout_s)


def _offline(card: ModelCard, _key: str | None) -> BaseChatModel:
    from models.providers.offline import OfflinePlanner, OfflineWriter

    return OfflineWriter() if card.model == "writer" else OfflinePlanner(note=True)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


_OPEN: dict[Provider, Callable[[ModelCard, str | None], BaseChatModel]] = {
    "google": _google,
    "openai": _openai,
    "anthropic": _anthropic,
    "claude-code": _claude_code,
    "offline": _offline,
}
