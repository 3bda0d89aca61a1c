"""Amounts as people read them."""


def count(number: float, thing: str) -> str:
    """Return a number of things, such as `1 round` or `1,200 tokens`."""
    whole = f"{number:,.0f}" if number == int(number) else f"{number:g}"
    return f"{whole} {thing}{'' if number == 1 else 's'}"


def dollars(amount: float) -> str:
    """Return US dollars, of less than one four digits after the point."""
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.4f}"
