"""HTTP responses of providers, put in order before client libraries read them."""

from contextlib import suppress
from typing import Any

from models.error_bodies import status_in, words_of

_ANSWERS = ("choices", "candidates", "content")
"""Keys of a body that holds an answer."""
_OK, _NOT_FOUND, _UNTOLD = 200, 404, 500


async def restore_status(response: Any) -> None:
    """Give a 200 that is an error its status; an httpx hook.

    Gateways pass errors on so, and clients make a blank answer of them, or one that cannot be read.
    """
    kind = response.headers.get("content-type", "")
    if response.status_code == _OK and "html" in kind:  # of a website: there is no API at this address
        response.status_code = _NOT_FOUND
    if response.status_code != _OK or "json" not in kind:
        return
    await response.aread()
    body: Any = None
    with suppress(ValueError):
        body = response.json()
    is_answer = isinstance(body, dict) and any(map(body.get, _ANSWERS))
    if isinstance(body, dict | list) and not is_answer and words_of(body):
        response.status_code = status_in(body) or _UNTOLD
