"""Sources of turns that twobrain.toml declares: hooks, rules for mail."""

from base.settings import LOCAL, Settings
from schedules.recurrence import Recurrence


def table_of(settings: Settings, user: str, recurrence: Recurrence) -> str | None:
    """Return the table that declares a user's source; None: there is none."""
    if recurrence.kind != "event":
        return None
    kind, _, name = recurrence.rule.partition(" ")
    if kind == "hook":
        card = settings.hooks.get(name)
        return f"[hooks.{name}]" if card is not None and card.get("user", LOCAL) == user else None
    inbox = settings.tools.get("inbox", {}).get(user, {})
    names = [rule.get("name") for rule in inbox.get("rules", ())]
    return f"the rule {name!r} of [[tools.inbox.{user}.rules]]" if name in names else None
