"""Links in a text, each in the one form in which two that lead to the same place are equal."""

import re

import httpx

_LINK = re.compile(
    r"""https?://[^\s<>"'`]+"""
    r"""|(?<![\w@./:-])(?:[\w-]+\.)+[a-z]{2,}(?::\d+)?(?:[/?][^\s<>"'`]*)?""",
    re.IGNORECASE,
)
_AFTERWARDS = ".,;:!?)]}*_"
"""What may stand behind a link in a sentence without being part of it."""


def links_in(text: str) -> frozenset[str]:
    """Return every link that a text names, with and without what the sentence may have put behind it."""
    spelled = [match[0] for match in _LINK.finditer(text)]
    found = {link_of(each) for each in [*spelled, *(each.rstrip(_AFTERWARDS) for each in spelled)]}
    return frozenset(each for each in found if each)


def link_of(text: str) -> str | None:
    """Return a link's one form: as httpx would request it, without scheme, fragment and final slash.

    Returns:
        None where it is no link, or one that holds a password.
    """
    text = text.strip()
    try:
        url = httpx.URL(text if "://" in text else f"https://{text}")
        host = url.raw_host.decode()
    except (httpx.InvalidURL, TypeError, ValueError):
        return None
    if url.scheme not in {"http", "https"} or not host or url.userinfo:
        return None
    port = f":{url.port}" if url.port else ""
    return f"{host}{port}{url.raw_path.decode()}".rstrip("/")
