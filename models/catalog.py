"""Which models there are, which role uses which, what one lacks."""

import asyncio
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from base.environment import where
from base.errors import ConfigurationError, MissingKeyError, UnknownModelError
from base.settings import ModelCard, Settings
from models.providers import MODULES, EmbeddingCard, provider


class ModelRegistry:
    """The model cards by name, and the roles that name them.

    Without cards in the settings, the keys and programs that are present choose.

    Raises:
        ConfigurationError: a card names no provider, or a role or user no model, that there is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cards = dict(settings.models) or _detect(settings)
        for place, what in self._mistakes():
            raise ConfigurationError(f"{where(settings.source, place)}: {what}")
        self._lacking = {card.provider: provider(card.provider).lacks(settings) for _, card in self.cards()}
        self._variables = {name: self._variable_of(card) for name, card in self.cards()}
        self.roles: dict[str, tuple[str, ...]] = {
            "orchestrator": self._ordered(writes=False),
            "chat": self._ordered(writes=True),
            **settings.roles,
        }
        """Role to model names: the first is used, the others are its fallbacks."""
        for place, what in self._wrong_choices():
            raise ConfigurationError(f"{where(settings.source, place)}: {what}")

    def cards(self) -> list[tuple[str, ModelCard]]:
        """Return every model with its name, in the order of their declaration."""
        return list(self._cards.items())

    def card(self, name: str) -> ModelCard:
        """Return a model's card.

        Raises:
            UnknownModelError: no model has that name.
        """
        if name not in self._cards:
            raise UnknownModelError(
                f"There is no model {name!r}. Models there are: {', '.join(self._cards)}."
            )
        return self._cards[name]

    def first(self, role: str, user: str) -> ModelCard:
        """Return the card of a role's first model usable by this user.

        Where it can use none, that of the first.

        Raises:
            UnknownModelError: no role or model has that name.
        """
        return self.card(self.first_name(role, user))

    def first_name(self, role: str, user: str) -> str:
        """Return the name of that model; raises as `first` does."""
        names = self.resolve(role, user)
        return next((name for name in names if self.missing(name, user) is None), names[0])

    def resolve(self, name: str, user: str) -> tuple[str, ...]:
        """Return a role's models, as a user tries them, or that model.

        Raises:
            UnknownModelError: neither a role nor a model of this user has that name.
        """
        own = self._settings.user(user).roles
        roles = {**self.roles, **own}
        models = dict.fromkeys(each for names in roles.values() for each in names) if own else self._cards
        if name in roles:
            return roles[name]
        if name in models:
            return (name,)
        raise UnknownModelError(
            f"There is no role or model {name!r}. Roles there are: {', '.join(roles)}; "
            f"models there are: {', '.join(models)}."
        )

    def is_offered(self, name: str, user: str) -> bool:
        """Tell whether a user may choose a usable model."""
        try:
            return self.resolve(name, user) == (name,) and self.missing(name, user) is None
        except UnknownModelError:
            return False

    def is_two_brain(self, role: str, user: str) -> bool:
        """Return whether this role's model gathers for another that writes by default."""
        return provider(self.first(role, user).provider).is_two_brain

    def key_variable(self, name: str, user: str) -> str | None:
        """Return the variable of this user's key; None where none is needed."""
        self.card(name)
        return self._settings.user(user).keys.get(name) or self._variables[name]

    def _variable_of(self, card: ModelCard) -> str | None:
        """Return the key's variable for those without a key of their own."""
        if card.api_key_env:
            return card.api_key_env
        usual = provider(card.provider).variables(card.base_url)
        present = [variable for variable in usual if self._settings.secret(variable)]
        return next(iter((*present, *usual)), None)

    def missing(self, name: str, user: str = "local") -> str | None:
        """Return in words what a model lacks to be used; None: nothing."""
        card = self.card(name)
        if lacking := self._lacking[card.provider]:
            return lacking
        variable = self.key_variable(name, user)
        if variable and provider(card.provider).needs_key and not self._settings.secret(variable):
            return f"the environment variable {variable} is not set"
        return None

    @property
    def is_offline(self) -> bool:
        """True: nothing was found but the stand-ins."""
        return all(provider(card.provider).is_stand_in for card in self._cards.values())

    def require(self, role: str, user: str) -> None:
        """Check that a role has a model that can be used.

        Raises:
            UnknownModelError: no role or model has that name.
            MissingKeyError: every model of the role lacks its key or program.
        """
        lacking = {name: self.missing(name, user) for name in self.resolve(role, user)}
        if all(lacking.values()):
            reasons = "; ".join(f"model {name!r}: {what}" for name, what in lacking.items())
            raise MissingKeyError(
                f"No model of {role!r} can be used: {reasons}. Set it, or name another model."
            )

    def _mistakes(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield each wrong name's keys in twobrain.toml, and what is wrong."""
        for name, card in self._cards.items():
            if card.provider not in MODULES:
                known = ", ".join(map(repr, MODULES))
                what = f"unknown provider {card.provider!r}. Providers there are: {known}."
                yield ("models", name, "provider"), what
            elif not card.model and provider(card.provider).needs_model:
                yield ("models", name), f"model is required for provider {card.provider!r}."
        roles, users = self._settings.roles, self._settings.users
        named: list[tuple[tuple[str, ...], str]] = [
            *((("roles", role), name) for role, names in roles.items() for name in names or [""]),
            *((("users", user, "keys"), name) for user, card in users.items() for name in card.keys),
            *(
                (("users", user, "roles", role), name)
                for user, card in users.items()
                for role, names in card.roles.items()
                for name in names or [""]
            ),
        ]
        for place, name in named:
            if name not in self._cards:
                what = f"unknown model {name!r}" if name else "an empty list; name at least one model"
                yield place, f"{what}. Models there are: {', '.join(self._cards)}."

    def _wrong_choices(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield the keys of users' own choices that they cannot make."""
        for user, card in self._settings.users.items():
            for key, name in (("model", card.model), ("writer", card.writer)):
                try:
                    self.resolve(name or "chat", user)
                except UnknownModelError as error:
                    yield ("users", user, key), str(error)

    def _ordered(self, *, writes: bool) -> tuple[str, ...]:
        """Return the models that write or plan, best first; else all."""
        ranks = {name: provider(card.provider).rank(card, writes=writes) for name, card in self.cards()}
        fit = {name: rank for name, rank in ranks.items() if rank is not None}
        return tuple(sorted(fit, key=fit.__getitem__)) or tuple(self._cards)


class Clients:
    """The models' clients, each opened once for each event loop and key."""

    def __init__(self, settings: Settings, registry: ModelRegistry) -> None:
        self._settings = settings
        self._registry = registry
        self._opened: WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[tuple[str, str | None], BaseChatModel]
        ] = WeakKeyDictionary()

    async def open(self, name: str, user: str) -> BaseChatModel:
        """Return the chat model of that name with that user's key.

        Raises:
            UnknownModelError: no model has that name.
        """
        opened = self._opened.setdefault(asyncio.get_running_loop(), {})
        variable = self._registry.key_variable(name, user)
        if (name, variable) not in opened:
            key = self._settings.secret(variable) if variable else None
            # Provider packages take seconds to import: never on the event loop.
            model = await asyncio.to_thread(open_model, self._registry.card(name), key)
            opened.setdefault((name, variable), model)
        return opened[name, variable]

    async def close(self) -> None:
        """Close the running loop's models; those opened later connect anew."""
        for model in self._opened.pop(asyncio.get_running_loop(), {}).values():
            if aclose := getattr(model, "aclose", None):
                await aclose()


def open_model(card: ModelCard, key: str | None) -> BaseChatModel:
    """Return a card's LangChain chat model; key None: it has none."""
    model = provider(card.provider).open(card, key)
    model.disable_streaming = not card.streaming
    return model


def _detect(settings: Settings) -> dict[str, ModelCard]:
    """Return usable models' cards, a stand-in's only where no other takes tools."""
    cards: dict[str, ModelCard] = {}
    for each in sorted(map(provider, MODULES), key=lambda each: each.is_stand_in):
        if not (each.is_stand_in and any(card.tools for card in cards.values())):
            cards.update(each.detect(settings))
    return cards


class Embedder:
    """Turns texts into vectors. It belongs to one event loop."""

    def __init__(self, card: EmbeddingCard, settings: Settings) -> None:
        self._card = card
        self._settings = settings
        self._model: Embeddings | None = None
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        """Name of the model: vectors of one name are comparable."""
        return f"{self._card.provider}:{self._card.model}"

    async def of_query(self, text: str) -> list[float]:
        """Return a query's vector; raises what its provider's client does."""
        model = await self._opened()
        async with asyncio.timeout(self._card.timeout_s):
            return await model.aembed_query(text)

    async def of_texts(self, texts: Sequence[str]) -> list[list[float]]:
        """Return each text's vector; raises what its provider's client does."""
        model = await self._opened()
        async with asyncio.timeout(self._card.timeout_s):
            return await model.aembed_documents(list(texts))

    async def _opened(self) -> Embeddings:
        async with self._opening:
            if self._model is None:
                self._model = await asyncio.to_thread(self._open)
        return self._model

    def _open(self) -> Embeddings:
        card, found = self._card, provider(self._card.provider)
        variables = (card.api_key_env,) if card.api_key_env else found.variables(card.base_url)
        key = next(filter(None, map(self._settings.secret, variables)), None)
        if variables and key is None:
            raise MissingKeyError(f"The environment variable {variables[0]} is not set.")
        assert found.embed, "the card names a provider that has embeddings"  # noqa: S101 (for mypy)
        return found.embed(card, key)


def open_embedder(settings: Settings) -> Embedder | None:
    """Return the memories' embedder; None where `[tools.memory]` names no model.

    Raises:
        ConfigurationError: that table is not as it should be.
    """
    card = settings.read_table(("tools", "memory"), EmbeddingCard)
    return Embedder(card, settings) if card else None
