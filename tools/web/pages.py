"""Pages and other answers as text that a model can read."""

import codecs
import json
import os
import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import webencodings  # type: ignore[import-untyped]

from base.processes import MOST_OUTPUT, Output, run
from base.texts import is_blank
from base.worker_threads import in_thread
from tools.declaration import ToolFailure
from tools.web.download import CUT, LIMIT, Downloaded

_READER = Path(__file__).with_name("page_text.py")
_READING_S = 12.0
"""For one page; the longest ones of the web take about five."""

_HTML = {"text/html", "application/xhtml+xml"}
_TEXT = {f"application/{kind}" for kind in ("json", "xml", "javascript", "yaml", "toml")}
_DECLARED = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_IN_PAGE = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]+)",
    re.IGNORECASE,
)
_DECLARATION = 4_096
"""Bytes in which a page says what its encoding is."""
_ENCODING_BYTES = 32_768
"""Bytes by which the encoding of one that does not say is judged."""
_KIND_BYTES = 1_024
"""Bytes by which the kind of an answer is judged."""
_LOOK_ELSEWHERE = "Look for a page that says the same."
_WHY_BLANK = {"pdf": "its pages may be pictures", "html": "it may need JavaScript or a login"}
_MORE_TEXT = "\n\n[Cut here: there is more text on the page.]"


class _Page(NamedTuple):
    title: str
    """Empty where it has none."""
    text: str
    whole: bool = True
    problem: str = ""
    """Why a PDF cannot be read, in one word; empty: it can."""


@dataclass(frozen=True, slots=True)
class Document:
    """Bytes that may be a text, a page or a PDF."""

    name: str
    """What it is called to a model: its URL, or a file's name."""
    content_type: str
    """As declared, such as `text/html; charset=utf-8`; empty where it was not."""
    body: bytes
    whole: bool = True
    """False: it went on."""
    advice: str = ""
    """What else helps where it cannot be read."""

    @property
    def kind(self) -> str:
        """The media type alone, in lower case."""
        return self.content_type.partition(";")[0].strip().lower()


async def read_answer(answer: Downloaded, *, links: bool = False, seconds: float = _READING_S) -> str:
    """Return an answer as text under its title and URL.

    `links`: keep the addresses of the links on a page. `seconds` are for reading an HTML page or a PDF.

    Raises:
        ToolFailure: it is no text, or holds none.
    """
    document = Document(str(answer.url), answer.content_type, answer.body, answer.whole, _LOOK_ELSEWHERE)
    title, text = await read_document(document, links=links, seconds=seconds)
    heading = f"Title: {title}\n" if title else ""
    return f"{heading}URL: {answer.url}\n\n{text}"


async def read_document(
    document: Document, *, links: bool = False, seconds: float = _READING_S
) -> tuple[str, str]:
    """Return the title, empty where it has none, and the text.

    Raises:
        ToolFailure: it is no text, or holds none.
    """
    form, name = form_of(document), document.name
    if form == "binary":
        what = f"binary data ({document.kind[:80] or 'of no declared type'})"
        raise ToolFailure(f"{name} is no page or text but {what}; it was not read. {document.advice}".strip())
    if form == "pdf":
        page = await _read_apart(document.body, name, "pdf", seconds)
    else:
        text = await in_thread(partial(decode, document.body, document.content_type))
        flag, given = "links" if links else "", text.encode(errors="replace")
        page = await _read_apart(given, name, flag, seconds) if form == "html" else _Page("", text)
    if page.problem:
        cut = "" if document.whole else f" Only its first {LIMIT:,} bytes were read, and there are more."
        why = f"{name} is a PDF document that is {'cut off' if cut else page.problem}"
        raise ToolFailure(f"{why}; it was not read.{cut} {document.advice}".strip())
    if is_blank(page.text):
        why = _WHY_BLANK.get(form, "it is blank")
        raise ToolFailure(f"{name} holds no readable text; {why}.")
    end = CUT if not document.whole else "" if page.whole else _MORE_TEXT
    return page.title, f"{page.text.strip()}{end}"


def decode(body: bytes, content_type: str) -> str:
    """Return bytes as text; what no encoding explains becomes replacement characters.

    A byte order mark wins over what the server declares, that over what the page declares, and where
    nothing is said it is UTF-8 if it can be, else what it looks like.
    """
    found = _DECLARED.search(content_type)
    declared = webencodings.lookup(found[1]) if found else None
    text, _ = webencodings.decode(body, declared or _in_page(body) or _looks_like(body), errors="replace")
    return str(text)


def _in_page(body: bytes) -> Any:
    found = _IN_PAGE.search(body[:_DECLARATION])
    declared = webencodings.lookup((found[1] or found[2]).decode(errors="replace")) if found else None
    # Whoever could read the declaration as ASCII does not read UTF-16.
    return webencodings.UTF8 if declared and declared.name.startswith("utf-16") else declared


def _looks_like(body: bytes) -> Any:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(body)  # it may end within a character
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        best = from_bytes(body[:_ENCODING_BYTES]).best()
        names = [name.replace("_", "-") for name in best.could_be_from_charset] if best else []
        return next(filter(None, map(webencodings.lookup, [*names, "windows-1252"])))
    return webencodings.UTF8


def form_of(answer: Document | Downloaded) -> Literal["html", "text", "pdf", "binary"]:
    """Tell what an answer is, by its body and its declaration."""
    head = answer.body[:_KIND_BYTES]
    is_utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff")) or "utf-16" in answer.content_type.lower()
    if head.lstrip().startswith(b"%PDF-") or answer.kind == "application/pdf":
        return "pdf"
    if b"\0" in head and not is_utf16:
        return "binary"
    looks_html = head.lstrip().lower().startswith((b"<!doctype html", b"<html"))
    if answer.kind in _HTML or (not answer.kind and looks_html):
        return "html"
    is_text = answer.kind.startswith("text/") or answer.kind.endswith(("+json", "+xml"))
    return "text" if not answer.kind or is_text or answer.kind in _TEXT else "binary"


async def _read_apart(given: bytes, url: str, flag: str, seconds: float) -> _Page:
    command = [sys.executable, "-P", "-X", "utf8", str(_READER), url, flag]
    # Its own environment: what reads a stranger's page needs our packages, but none of our secrets.
    env = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    output = Output(most=MOST_OUTPUT)
    status, _ = await run(*command, env=env, limit_s=seconds, output=output, errors=Output(), given=given)
    if status is None:
        raise ToolFailure(f"{url} is too tangled to read within {seconds:g} s.")
    if status:
        raise ToolFailure(f"{url} is too tangled to read.")
    return _Page(**await in_thread(partial(json.loads, output.head)))
