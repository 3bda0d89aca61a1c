"""AgentDojo's tools as we would declare them.

Classified by two questions, asked of each tool and not of where the suites plant their injections:
what does it do to the world, and who wrote the text that it returns? Untrusted is whatever others can
write: mails, invitations, shared files, pages, chats, reviews, transfers' subjects, and what companies
say of themselves. Tools that change something return what they changed, others' text in it included.
"""

from collections.abc import Mapping
from typing import Any

from tools.declaration import Effect, Here, Tool

_SENDS: tuple[str, ...] = (
    *("send_email", "share_file", "create_calendar_event", "add_calendar_event_participants"),
    *("cancel_calendar_event", "reschedule_calendar_event"),  # participants are told by mail
    *("send_money", "schedule_transaction", "update_scheduled_transaction"),
    *("reserve_hotel", "reserve_car_rental", "reserve_restaurant"),
    *("send_direct_message", "send_channel_message", "invite_user_to_slack", "add_user_to_channel"),
    "post_webpage",
)
_WRITES: tuple[str, ...] = (
    *("delete_email", "append_to_file", "create_file", "delete_file"),
    *("update_password", "update_user_info", "remove_user_from_slack"),
)
_ONES_OWN: Mapping[str, str] = {
    "the clock": "get_current_day",
    "the person's own address book": "search_contacts_by_name search_contacts_by_email",
    "the person's own profile": "get_user_information get_user_info update_user_info",
    "the person's own account": "get_iban get_scheduled_transactions",
    "numbers": "get_balance get_hotels_prices get_price_for_restaurants get_car_price_per_day",
    "a fixed sentence": "update_password send_money schedule_transaction update_scheduled_transaction",
    "a sentence of the call's own words": "reserve_hotel reserve_restaurant reserve_car_rental",
    "nothing": "send_direct_message send_channel_message post_webpage add_user_to_channel "
    "invite_user_to_slack remove_user_from_slack",
}
"""What nobody else can write, and the tools whose output it is."""
_OUTBOUND: tuple[str, ...] = ("get_webpage",)
"""Reads whose arguments reach whoever they name."""


def declared(function: Any) -> Tool:
    """Return the declaration of a suite's function; it is never run through it."""

    async def run(_here: Here, _args: dict[str, Any]) -> None:
        raise NotImplementedError

    name = function.name
    effect = _effect(name)
    return Tool(
        name=name,
        description=function.description,
        parameters=function.parameters.model_json_schema(),
        run=run,
        check=dict,
        effect=effect,
        confirm=effect != "read",
        untrusted=name not in " ".join(_ONES_OWN.values()).split(),
        outbound=name in _OUTBOUND,
    )


def _effect(name: str) -> Effect:
    if name in _SENDS:
        return "send"
    return "write" if name in _WRITES else "read"
