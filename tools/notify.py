"""The tool notify, and how apprise sends, for notices, too."""

from typing import Annotated

from pydantic import Field

from base.settings import Card, Settings
from base.texts import is_blank
from tools.declaration import Here, Kind, OutcomeUnknown, ToolFailure, tool


class NotifyCard(Card):
    """The `[tools.notify]` table."""

    urls_env: tuple[str, ...] = Field(min_length=1)
    """Names of environment variables that each hold an apprise URL, such as `ntfys://…`: it is a secret."""


def _missing(settings: Settings) -> str | None:
    variables = _variables(settings)
    if not variables:
        return "set urls_env in [tools.notify] of twobrain.toml to the names of variables with apprise URLs"
    unset = [variable for variable in variables if not settings.secret(variable)]
    return f"set the variable {unset[0]} to an apprise URL" if unset else None


def _variables(settings: Settings) -> tuple[str, ...]:
    card = settings.read_table(("tools", "notify"), NotifyCard)
    return card.urls_env if card else ()


def _preview(here: Here, message: str) -> str:
    return f"Send to {', '.join(_variables(here.settings))}:\n{message}"


@tool(
    effect="send",
    preview=_preview,
    missing=_missing,
    kind=Kind("Notifications to your own devices", {"message": "any"}),
)
def notify(here: Here, message: Annotated[str, "short plain text"]) -> str:
    """Send a notification to the person's own devices."""
    if is_blank(message):
        raise ToolFailure("The message is empty.")
    variables = _variables(here.settings)
    failed = [each for each in variables if not sent_to(here.settings.secret(each) or "", message)]
    reached = [each for each in variables if each not in failed]
    if not reached:
        raise OutcomeUnknown(
            f"the service of {', '.join(failed)} cannot be reached, refused it, or took it in silence."
        )
    rest = f" Whether to {', '.join(failed)} is unknown: it gave no word of it." if failed else ""
    return f"Sent to {', '.join(reached)}.{rest}"


def sent_to(url: str, message: str) -> bool:
    """Send to an apprise URL; False: it may not arrive; blocks."""
    from apprise import Apprise, NotifyFormat

    service = Apprise()
    return bool(service.add(url) and service.notify(body=message, body_format=NotifyFormat.TEXT))


TOOLS = (notify,)
