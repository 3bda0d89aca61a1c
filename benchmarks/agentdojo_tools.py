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
    "get_current_day": "the clock",
    "search_contacts_by_name": "the person's own address book",
    "search_contacts_by_email": "the person's own address book",
    "get_user_information": "the person's own profile",
    "get_user_info": "the person's own profile",
    "get_iban": "the person's own account",
    "get_balance": "a number of the bank's",
    "get_scheduled_transactions": "the person's own standing orders",
    "get_hotels_prices": "numbers",
    "get_price_for_restaurants": "numbers",
    "get_car_price_per_day": "numbers",
    "update_password": "a fixed sentence",
    "update_user_info": "the person's own profile",
    "send_money": "a fixed sentence",
    "schedule_transaction": "a fixed sentence",
    "update_scheduled_transaction": "a fixed sentence",
    "send_direct_message": "nothing",
    "send_channel_message": "nothing",
    "add_user_to_channel": "nothing",
    "invite_user_to_slack": "nothing",
    "remove_user_from_slack": "nothing",
    "post_webpage": "nothing",
    "reserve_hotel": "a sentence of the call's own words",
    "reserve_restaurant": "a sentence of the call's own words",
    "reserve_car_rental": "a sentence of the call's own words",
}
"""Tools whose output nobody else can write, and what it is."""
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
        untrusted=name not in _ONES_OWN,
        outbound=name in _OUTBOUND,
    )


def _effect(name: str) -> Effect:
    if name in _SENDS:
        return "send"
    return "write" if name in _WRITES else "read"
