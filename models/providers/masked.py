"""An error that hides in the body of a 200, as gateways pass it on: it gets back the status it tells of."""

from typing import Any

_OK, _LEAST_ERROR, _UNTOLD = 200, 400, 500


async def unmask(response: Any) -> None:
    """Give a response whose whole body is an error the status of that error; a hook of an httpx client.

    Google's client makes a blank answer of it, and what went wrong is lost. Its streams it reads rightly.
    """
    if response.status_code != _OK or "json" not in response.headers.get("content-type", ""):
        return
    await response.aread()
    if error := _error_in(response):
        code = error.get("code") if isinstance(error, dict) else None
        response.status_code = code if isinstance(code, int) and code >= _LEAST_ERROR else _UNTOLD


def _error_in(response: Any) -> Any:
    try:
        body = response.json()
    except ValueError:
        return None
    return body.get("error") if isinstance(body, dict) and "candidates" not in body else None
