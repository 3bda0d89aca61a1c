"""Destinations: where people are told, and what bars one."""

from collections.abc import Mapping

from base.errors import RequestError
from base.settings import Settings, UserCard
from ledger.threads import PAGE

NOWHERE = "nowhere"
TOKENS = {"telegram": "TELEGRAM_BOT_TOKEN", "matrix": "MATRIX_ACCESS_TOKEN"}
"""By messenger: the variable with its token, where its table names no other."""
_REFUSED = "{place!r} cannot be told: {why}. There are: {known}; or name a variable with an apprise URL."


def check_place(settings: Settings, user: str, place: str) -> None:
    """Refuse a place where somebody cannot be told; empty: where they chose.

    Raises:
        RequestError: it says why, and which there are.
    """
    if place and (why := barred(settings, user, place)):
        known = ", ".join(_known(settings, user))
        raise RequestError(_REFUSED.format(place=place, why=why, known=known))


def barred(settings: Settings, user: str, place: str) -> str | None:
    """Return why nobody tells a user there; None: they can be told."""
    if place in {PAGE, NOWHERE}:
        return None
    if place in TOKENS:
        card = settings.users.get(user)
        return _why_unserved(settings, place) or (
            None if getattr(card, place, None) else f"[users.{user}] has no {place}"
        )
    if not place.isupper():
        return "there is no such place"
    url = settings.secret(place)
    if url is None:
        return f"the variable {place} is not set"
    return None if "://" in url else f"the variable {place} holds no apprise URL, such as ntfys://…"


def is_served(settings: Settings, messenger: str) -> bool:
    """Tell whether a messenger is configured, and has its token."""
    return messenger in TOKENS and _why_unserved(settings, messenger) is None


def destinations(settings: Settings, user: str, chosen: str) -> Mapping[str, bool]:
    """Return where somebody is told, and whether they can be there.

    Args:
        settings: what twobrain.toml says.
        user: who is told.
        chosen: the place that a schedule names; empty: where the user is told of things.

    Returns:
        Also the page where one of the places is barred, so that what came of it is not lost.
    """
    if chosen == NOWHERE:
        return {}
    card = settings.users.get(user)
    theirs = [name for name in settings.channels if getattr(card, name, None)]
    named = [chosen] if chosen else (card.notify if card else ()) or theirs or [PAGE]
    found = {place: barred(settings, user, place) is None for place in named}
    return found if all(found.values()) else {**found, PAGE: True}


def _why_unserved(settings: Settings, messenger: str) -> str | None:
    table = settings.channels.get(messenger)
    if table is None:
        return f"twobrain.toml has no [channels.{messenger}]"
    variable = table.get("token_env", TOKENS[messenger])
    return (
        None if settings.secret(variable) else f"the variable {variable} with {messenger}'s token is not set"
    )


def _known(settings: Settings, user: str) -> list[str]:
    """Return the places where somebody can be told."""
    card = settings.users.get(user, UserCard())
    named = (*TOKENS, *card.notify, *settings.tools.get("notify", {}).get("urls_env", ()))
    return [
        PAGE,
        NOWHERE,
        *dict.fromkeys(each for each in named if not barred(settings, user, each) and each != PAGE),
    ]
