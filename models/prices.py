"""What a call cost, in US dollars."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from base.settings import ModelCard

_LISTED = {"google": "google", "anthropic": "anthropic", "openai": "openai"}
_MILLION = 1_000_000


def cost_of(card: ModelCard, usage: Mapping[str, Any] | None) -> float | None:
    """Return the cost of a call from its usage metadata; None where price or usage is unknown.

    Nothing is billed for offline models, nor per call for a Claude subscription. Listed prices
    come from the genai-prices package and hold for the providers' own endpoints only.
    """
    if card.provider in {"offline", "claude-code"}:
        return 0.0
    if not usage:
        return None
    cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
    if card.price:
        fresh = usage["input_tokens"] - cached
        cached_price = card.price.input if card.price.cached is None else card.price.cached
        total = fresh * card.price.input + cached * cached_price + usage["output_tokens"] * card.price.output
        return float(total / _MILLION)
    return _listed(card, usage, cached)


def _listed(card: ModelCard, usage: Mapping[str, Any], cached: int) -> float | None:
    if card.provider == "openai" and card.base_url and "openrouter" not in card.base_url:
        return None
    from genai_prices import Usage, calc_price

    tokens = Usage(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cache_read_tokens=cached or None,
    )
    provider = "openrouter" if card.base_url and card.provider == "openai" else _LISTED[card.provider]
    try:
        price: Decimal = calc_price(tokens, card.model, provider_id=provider).total_price
    except (LookupError, ValueError):  # not listed, or counts that do not add up
        return None
    return float(price)
