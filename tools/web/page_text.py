"""A program that reads the text of one HTML page, within limits.

    python -P tools/web/page_text.py URL [links] < page.html

Hostile HTML keeps a parser busy for hours, hence a program of its own.
It writes one JSON object: title, text, and whether the text is whole.
"""

import json
import sys
from contextlib import suppress

_LONGEST = 2_000_000
"""Characters."""
_MEMORY = 1_500_000_000
"""Bytes."""
_CPU_S = 20
"""For when nobody is left to stop it."""


def _limit() -> None:
    with suppress(ImportError, ValueError, OSError):  # not every system has every limit
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _read(html: str, url: str, *, links: bool) -> tuple[str, str]:
    from trafilatura import extract, html2txt, load_html

    tree = load_html(html)
    if tree is None:
        return "", ""
    title = " ".join((tree.findtext(".//title") or tree.findtext(".//h1") or "").split())
    text = extract(
        html, url=url, include_links=links, include_comments=False, output_format="markdown"
    ) or html2txt(html)
    return title, text


def _main() -> None:
    _limit()
    url, *flags = sys.argv[1:]
    title, text = _read(sys.stdin.buffer.read().decode(), url, links="links" in flags)
    json.dump({"title": title[:300], "text": text[:_LONGEST], "whole": len(text) <= _LONGEST}, sys.stdout)


if __name__ == "__main__":
    _main()
