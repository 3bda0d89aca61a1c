"""Which models there are, which role uses which, and what is missing to use one."""

import shutil
from collections.abc import Mapping
from typing import NoReturn

from base.errors import ConfigurationError, MissingKeyError, UnknownModelError
from base.settings import ModelCard, Settings, where

KEY_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "claude-code": ("CLAUDE_CODE_OAUTH_TOKEN",),
}
"""Provider to the variables its own SDK reads, in the SDK's order."""

_GATHERS = ("google", "openai", "anthropic", "offline")
_WRITES = ("anthropic", "claude-code", "openai", "google", "offline")
_NATIVE_TWO_BRAIN = ("google", "offline")


class Registry:
    """The model cards by name, and the roles that name them.

    Without cards in the settings, the keys and programs that are present choose.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._claude = shutil.which("claude", path=settings.secret("PATH") or "")
        self._cards = dict(settings.models) or _detect(settings, claude=self._claude is not None)
        self.roles: dict[str, tuple[str, ...]] = {
            "orchestrator": self._ordered(_GATHERS),
            "chat": self._ordered(_WRITES),
            **settings.roles,
        }
        """Role to model names: the first is used, the others are its fallbacks."""
        self._check_names()

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
        """Return the card of the first model of a role that this user can use, or of its first.

        Raises:
            UnknownModelError: no role or model has that name.
        """
        return self.card(self.first_name(role, user))

    def first_name(self, role: str, user: str) -> str:
        """Return the name of that model; raises as `first` does."""
        names = self.resolve(role)
        return next((name for name in names if self.missing(name, user) is None), names[0])

    def resolve(self, name: str) -> tuple[str, ...]:
        """Return the models to try, in order, for the name of a role or of a model.

        Raises:
            UnknownModelError: neither a role nor a model has that name.
        """
        if name in self.roles:
            return self.roles[name]
        if name in self._cards:
            return (name,)
        raise UnknownModelError(
            f"There is no role or model {name!r}. Roles there are: {', '.join(self.roles)}; "
            f"models there are: {', '.join(self._cards)}."
        )

    def is_two_brain(self, role: str, user: str) -> bool:
        """Return whether the model of this role gathers for another that writes, unless told otherwise."""
        return self.first(role, user).provider in _NATIVE_TWO_BRAIN

    def key_variable(self, name: str, user: str) -> str | None:
        """Return the variable that holds this user's key for a model; None where it needs none."""
        card = self.card(name)
        if own := self._settings.user(user).keys.get(name):
            return own
        if card.api_key_env:
            return card.api_key_env
        if card.provider == "openai" and card.base_url:
            return None  # a key of OpenAI's is not sent to whoever speaks the same protocol
        usual = KEY_VARIABLES.get(card.provider, ())
        present = [variable for variable in usual if self._settings.secret(variable)]
        return next(iter((*present, *usual)), None)

    def missing(self, name: str, user: str = "local") -> str | None:
        """Return what a model lacks before it can be used, in words; None where nothing is missing."""
        card = self.card(name)
        if card.provider == "claude-code":
            return None if self._claude else "the program `claude` is not on PATH"
        variable = self.key_variable(name, user)
        if variable and not self._settings.secret(variable):
            return f"the environment variable {variable} is not set"
        return None

    def require(self, role: str, user: str) -> None:
        """Check that a role has a model that can be used.

        Raises:
            UnknownModelError: no role or model has that name.
            MissingKeyError: every model of the role lacks its key or program.
        """
        lacking = {name: self.missing(name, user) for name in self.resolve(role)}
        if all(lacking.values()):
            reasons = "; ".join(f"model {name!r}: {what}" for name, what in lacking.items())
            raise MissingKeyError(
                f"No model of {role!r} can be used: {reasons}. Set it, or name another model."
            )

    def _check_names(self) -> None:
        """Check that roles and users name models that there are.

        Raises:
            ConfigurationError: one does not; the message names its place in twobrain.toml.
        """
        for role, names in self._settings.roles.items():
            if not names:
                self._refuse(("roles", role), "an empty list; name at least one model")
            for name in names:
                self._check_name(("roles", role), name)
        for user, card in self._settings.users.items():
            for name in card.keys:
                self._check_name(("users", user, "keys"), name)

    def _check_name(self, place: tuple[str, ...], name: str) -> None:
        if name not in self._cards:
            self._refuse(place, f"unknown model {name!r}")

    def _refuse(self, place: tuple[str, ...], what: str) -> NoReturn:
        known = ", ".join(self._cards)
        raise ConfigurationError(f"{where(self._settings.source, place)}: {what}. Models there are: {known}.")

    def _ordered(self, providers: tuple[str, ...]) -> tuple[str, ...]:
        fit = [name for name, card in self._cards.items() if card.provider in providers]
        fit.sort(key=lambda name: providers.index(self._cards[name].provider))
        usable = [name for name in fit if not _is_brain_of_other_kind(self._cards[name], providers)]
        return tuple(usable) or tuple(self._cards)


def _is_brain_of_other_kind(card: ModelCard, providers: tuple[str, ...]) -> bool:
    """Return whether an offline card is the planner where a writer is wanted, or the reverse."""
    return card.provider == "offline" and (card.model == "writer") == (providers is _GATHERS)


def _detect(settings: Settings, *, claude: bool) -> dict[str, ModelCard]:
    """Return a card for each provider whose key or program is present; the offline pair fills the gaps."""
    cards: dict[str, ModelCard] = {}
    if settings.secret("GEMINI_API_KEY") or settings.secret("GOOGLE_API_KEY"):
        cards["gemini"] = ModelCard(
            provider="google",
            model=settings.secret("GEMINI_MODEL") or "gemini-3-flash-preview",
            base_url=settings.secret("GOOGLE_GEMINI_BASE_URL"),
            context_window=1_000_000,
        )
    if settings.secret("ANTHROPIC_API_KEY"):
        cards["claude"] = ModelCard(
            provider="anthropic",
            model=settings.secret("ANTHROPIC_MODEL") or "claude-sonnet-4-6",
            base_url=settings.secret("ANTHROPIC_BASE_URL"),
            context_window=200_000,
        )
    if claude:
        cards["claude-code"] = ModelCard(provider="claude-code", context_window=200_000, tools=False)
    if settings.secret("OPENAI_API_KEY") or settings.secret("OPENAI_BASE_URL"):
        cards["openai"] = ModelCard(
            provider="openai",
            model=settings.secret("OPENAI_MODEL") or "gpt-5-mini",
            api_key_env="OPENAI_API_KEY" if settings.secret("OPENAI_API_KEY") else None,
            base_url=settings.secret("OPENAI_BASE_URL"),
        )
    providers = {card.provider for card in cards.values()}
    if not providers & set(_GATHERS):
        cards["offline-planner"] = ModelCard(provider="offline", model="planner")
    if not providers - {"claude-code"} & set(_WRITES):  # the program may be there and not logged in
        cards["offline-writer"] = ModelCard(provider="offline", model="writer")
    return cards
