"""What a call cost: by its card's `price`, else by genai-prices."""

from collections.abc import Mapping
from typing import Any

from base.settings import ModelCard
from models.providers import provider

_MILLION = 1_000_000


def cost_of(card: ModelCard, usage: Mapping[str, Any] | None) -> float | None:
    """Return a call's cost; None where price or usage is unknown.

    Nothing is billed for offline models, nor per call for a Claude subscription. Listed prices
    come from the genai-prices package and hold for the providers' own endpoints only.
    """
    if provider(card.provider).is_free:
        return 0.0
    if not usage or any(usage.get(count) is None for count in ("input_tokens", "output_tokens")):
        return None
    cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
    price = card.price
    if price is None:
        return _listed(card, usage, cached)
    cached_price = price.input if price.cached is None else price.cached
    fresh = (usage["input_tokens"] - cached) * price.input
    return float((fresh + cached * cached_price + usage["output_tokens"] * price.output) / _MILLION)


def _listed(card: ModelCard, usage: Mapping[str, Any], cached: int) -> float | None:
    listed = provider(card.provider).price_id(card)
    if listed is None:
        return None
    from genai_prices import Usage, calc_price

    try:
        tokens = Usage(
            input_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
            cache_read_tokens=cached or None,
        )
        return float(calc_price(tokens, card.model, provider_id=listed).total_price)
    except (LookupError, ValueError):  # not listed, or counts that do not add up
        return None
