"""How files hold text: encodings, byte order marks, line ends."""

import codecs
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # begins as UTF-16's does
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_DAILY = {
    "cp932": (*range(0x82, 0x84), *range(0x88, 0x98)),
    "cp949": range(0xB0, 0xC9),
    "gb18030": range(0xB0, 0xD8),
    "euc_jp": (0xA4, 0xA5, *range(0xB0, 0xD0)),
    "big5": range(0xA4, 0xC7),
}
"""The first bytes of characters in daily use (kana, Hangul, the first level of ideographs)."""
_LETTERS = ("cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r", "cp874")
"""Encodings of one byte a character, the likeliest first."""
_LABELS = {"cp932": "Shift-JIS", "cp949": "EUC-KR"}
_SAMPLE_BYTES = 16_384
"""Bytes by which an encoding is guessed."""
_LEAST_BYTES = 8
"""Bytes beyond ASCII; of fewer, each by itself, `5 €` or `café` is likelier than any other reading."""
_LEAST_CHARS = 3
"""Characters of UTF-16 without a mark; of fewer, any two bytes are some."""
_EAST_ASIAN = {0x00, 0x20, 0x30, 0xFF, *range(0x4E, 0xA0), *range(0xAC, 0xD8)}
"""First bytes in UTF-16 of ideographs, kana, Hangul, and what stands beside them."""
_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")
"""Bytes that no text in an encoding to be guessed holds."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and how a file holds it."""

    text: str
    codec: str = "utf-8"
    """The encoding, as Python names it."""
    mark: bytes = b""
    """The byte order mark; empty: there is none, and other than UTF-8 is a guess."""

    def __str__(self) -> str:
        how = " with a byte order mark" if self.mark else "" if self.codec == "utf-8" else " (a guess)"
        ends = sorted(self._ends)
        written = " and ".join(end.encode("unicode_escape").decode() for end in ends)
        return f"{self.label}{how}" + (f", line ends {written}" if "".join(ends).strip("\n") else "")

    @property
    def label(self) -> str:
        """The encoding, as people name it."""
        return _LABELS.get(self.codec) or self.codec.upper().replace("CP", "Windows-").replace("_", "-")

    @property
    def usual_end(self) -> str:
        r"""The end of all its lines; `\n` where they differ."""
        return next(iter(self._ends)) if len(self._ends) == 1 else "\n"

    @property
    def _ends(self) -> set[str]:
        return set(re.findall(r"\r\n|\r|\n", self.text))

    @property
    def data(self) -> bytes:
        """The file's bytes.

        Raises:
            UnicodeEncodeError: the encoding lacks a character.
        """
        return self.mark + self.text.encode(self.codec)


def replacement(old: Text | None, content: str) -> Text:
    r"""Return what a file holds once its text is replaced.

    None: it held no text. Its line ends stay where they are of one kind, unless the content holds a `\r`; its
    encoding stays unless that lacks a character: then all becomes UTF-8.
    """
    if not old:
        return Text(content)
    kept = content if "\r" in content else content.replace("\n", old.usual_end)
    new = replace(old, text=kept.removeprefix("\N{BOM}") if old.mark else kept)
    try:
        new.text.encode(new.codec)
    except UnicodeEncodeError:
        return Text(kept)
    return new


def lines(text: str) -> list[str]:
    r"""Return lines with their ends: `\n`, `\r\n` and `\r`, as in editors."""
    return list(io.StringIO(text, newline=""))


def read(data: bytes) -> Text | None:
    """Return bytes as text that becomes them again; None: they are none."""
    mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
    for codec in [_MARKS[mark]] if mark else chain(["utf-8"], _unmarked(data), _guesses(data)):
        with suppress(UnicodeError):
            found = Text(data[len(mark) :].decode(codec), codec, mark)
            if "\0" not in found.text and found.data == data:
                return found
    return None


def _unmarked(data: bytes) -> list[str]:
    """Return the one way in which unmarked UTF-16 makes sense."""
    if b"\0" not in data:  # of a blank or a line end
        return []
    found = [codec for codec in ("utf-16-le", "utf-16-be") if _makes_sense(data, codec)]
    return found if len(found) == 1 else []


def _makes_sense(data: bytes, codec: str) -> bool:
    """Tell whether UTF-16 is text of one or two scripts."""
    try:
        text = Counter(data.decode(codec))
    except UnicodeError:
        return False
    if any(unicodedata.category(char) in {"Cc", "Cn", "Co"} for char in text.keys() - {*"\t\n\f\r"}):
        return False
    first, last = Counter[int](), Counter[int]()
    for char, times in text.items():
        first[ord(char) >> 8] += times
        last[ord(char) & 0xFF] += times
    if first.keys() != {0} and _is_list(data):
        return False
    most = first.total()
    is_one_script = first.keys() <= _EAST_ASIAN or sum(n for _, n in first.most_common(2)) > 0.9 * most
    return most >= _LEAST_CHARS and 0 in first and last[0] < most / 4 and is_one_script


def _is_list(data: bytes) -> bool:
    """Tell whether it may be names that NULs end."""
    with suppress(UnicodeError):
        return not _CONTROLS.search(data.decode().replace("\0", "").encode())
    return False


def _guesses(data: bytes) -> Iterator[str]:
    """Return the encodings that text may be in, the likeliest first."""
    if _CONTROLS.search(data):
        return
    beyond = re.findall(rb"[\x80-\xff]+", data)
    if len(beyond) == len(b"".join(beyond)) < _LEAST_BYTES:
        yield "cp1252"
    from charset_normalizer import from_bytes

    telling = dict.fromkeys(line.strip() for line in data.splitlines() if not line.isascii())
    joined = re.sub(rb"^[\0-\x7f]*(?=[\0-\x7f]{80})", b"", b"\n".join(telling))
    # The one may be cut within a character, the other then is not.
    samples = dict.fromkeys(joined[:most] for most in (_SAMPLE_BYTES, _SAMPLE_BYTES + 1))
    guess = partial(from_bytes, cp_isolation=[*_DAILY, *_LETTERS], enable_fallback=False)
    found = {
        codec: (match.chaos, -match.coherence, -_daily(str(match), codec), (*_DAILY, *_LETTERS).index(codec))
        for sample in samples
        for match in guess(sample)
        for codec in match.could_be_from_charset
        if codec in _DAILY or codec in _LETTERS
    }
    yield from sorted(found, key=found.__getitem__)


def _daily(text: str, codec: str) -> float:
    """Return the share of characters in daily use, of those beyond ASCII."""
    if codec in _LETTERS:
        return 0.5
    telling = [char.encode(codec, "replace")[0] for char in text if not char.isascii()]
    return sum(first in _DAILY[codec] for first in telling) / max(1, len(telling))
