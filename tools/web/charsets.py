"""The text of a page, whatever alphabet its bytes are in."""

import codecs
import re

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_DECLARED = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_IN_PAGE = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]+)",
    re.IGNORECASE,
)
_HEAD = 4_096
"""Bytes in which a page says what alphabet it is in."""
_SAMPLE = 32_768
"""Bytes by which one that does not say is judged."""

_WIDER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "utf-16": "utf-16-le",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "x-gbk": "gb18030",
    "x-sjis": "cp932",
}
"""What browsers read for a name, being what pages of that name hold (WHATWG Encoding Standard, 4.2)."""
_ALPHABETS = re.compile(
    r"utf-8|utf-16-[bl]e|iso8859-\d+|cp\d+|koi8-[ru]|mac-\w+|gb18030|big5|big5hkscs|euc_jp|iso2022_jp"
)
"""Python has more: some are no alphabets, and some take hours on a megabyte."""


def decode(body: bytes, content_type: str) -> str:
    """Return the text; what no alphabet explains becomes replacement characters.

    A byte order mark wins over what the server declares, that over what the page declares, and where
    nothing is said it is UTF-8 if it can be, else what it looks like.
    """
    for mark, charset in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(charset, errors="replace")
    charset = _declared(content_type) or _in_page(body) or ("utf-8" if _is_utf8(body) else _looks_like(body))
    return body.decode(charset, errors="replace")


def _declared(content_type: str) -> str | None:
    found = _DECLARED.search(content_type)
    return _known(found[1]) if found else None


def _in_page(body: bytes) -> str | None:
    found = _IN_PAGE.search(body[:_HEAD])
    charset = _known((found[1] or found[2]).decode("ascii", errors="replace")) if found else None
    # Whoever could read the declaration as ASCII does not read UTF-16.
    return "utf-8" if charset and charset.startswith("utf-16") else charset


def _known(label: str) -> str | None:
    try:
        name = _WIDER.get(label.lower()) or codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    name = _WIDER.get(name, name)
    return name if _ALPHABETS.fullmatch(name) else None


def _is_utf8(body: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(body)  # it may end within a character
    except UnicodeDecodeError:
        return False
    return True


def _looks_like(body: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(body[:_SAMPLE]).best()
    return (_known(best.encoding) if best else None) or "cp1252"
