"""A program that reads one HTML page or PDF, within limits.

    python -P tools/web/page_text.py URL [links|pdf] < page.html

Hostile ones keep a parser busy for hours, hence a program of its own.
It writes one JSON object: title, text, whether the text is whole, and why a PDF cannot be read.
"""

import io
import json
import sys
import time
from contextlib import suppress
from typing import Any

from base.texts import mended

_LONGEST_TEXT = 2_000_000
"""Characters."""
_MEMORY_BYTES = 1_500_000_000
_CPU_S = 20
"""For when nobody is left to stop it."""
_PDF_S = 6
"""Seconds after which no further page of a PDF is begun."""


def _limit() -> None:
    with suppress(ImportError, ValueError, OSError):  # not every system has every limit
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


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


def _read_pdf(body: bytes) -> tuple[str, str, bool]:
    """Return the title, the text, and whether it is whole.

    Raises:
        PyPdfError: it is encrypted or damaged.
    """
    from pypdf import PdfReader

    ends = time.monotonic() + _PDF_S
    reader = PdfReader(io.BytesIO(body))
    pages: list[str] = []
    length = 0
    for page in reader.pages:
        if length > _LONGEST_TEXT or time.monotonic() > ends:
            return _title(reader), "\n\n".join(pages), False
        pages.append(page.extract_text())
        length += len(pages[-1])
    return _title(reader), "\n\n".join(pages), True


def _title(reader: Any) -> str:
    with suppress(Exception):  # of a document whose pages can be read
        return " ".join(str(reader.metadata.title or "").split())
    return ""


def _try_pdf(body: bytes) -> tuple[str, str, bool, str]:
    from pypdf.errors import FileNotDecryptedError

    try:
        return *_read_pdf(body), ""
    except FileNotDecryptedError:
        return "", "", True, "encrypted"
    except MemoryError:
        raise
    except Exception:  # a parser stumbles over damage in many ways
        return "", "", True, "damaged"


def _main() -> None:
    _limit()
    url, *flags = sys.argv[1:]
    body, whole, problem = sys.stdin.buffer.read(), True, ""
    if "pdf" in flags:
        title, text, whole, problem = _try_pdf(body)
    else:
        title, text = _read(body.decode(), url, links="links" in flags)
    whole = whole and len(text) <= _LONGEST_TEXT
    page = {
        "title": mended(title[:300]),
        "text": mended(text[:_LONGEST_TEXT]),
        "whole": whole,
        "problem": problem,
    }
    json.dump(page, sys.stdout)


if __name__ == "__main__":
    _main()
