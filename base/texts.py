"""Texts fit for storage, names compared, numbers and times in words."""

import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Any

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of what cannot be seen, but may end a line, or turn it around."""


def mended(text: str) -> str:
    """Return the text as files, databases and requests can hold it.

    Each lone surrogate, which is half a character, and each NUL becomes the mark U+FFFD.
    """
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


def as_text(answer: Any) -> str:
    """Return an answer as JSON, which is understood as the answer itself.

    LangGraph drops None and {}, takes some objects for its own, and has no room for large integers.
    """
    try:
        return mended(json.dumps(answer, default=repr, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return ""


def visible(text: str, besides: str = "") -> str:
    r"""Return a text with unseen characters written out, as in `\x1b`.

    Those of `besides` stay. So no name in a list begins a line of its own.
    """
    unseen = {char for char in set(text) - set(besides) if unicodedata.category(char) in UNSEEN}
    return "".join(char.encode("unicode_escape").decode() if char in unseen else char for char in text)


ESCAPES = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS
    r"|\x1b[ -/]*[0-Z\\^-~]"
)
"""Pattern of what steers a terminal and is not shown."""
_BLANK_LETTERS = frozenset(
    "\u115f\u1160\u2800\u3164\uffa0\ufffc\U00013441\U00013442\U0001d159"
    "\u2065\ufff0\ufff1\ufff2\ufff3\ufff4\ufff5\ufff6\ufff7\ufff8"
)
"""Letters and symbols that have no ink: Hangul's fillers, Braille's blank and the like, and what is shown as
nothing though it is not assigned (Unicode 16)."""


_INKLESS_MARKS = re.compile(
    "[\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f\U00016fe4\U000e0100-\U000e01ef]"
)
"""Marks that change nothing one sees, or nothing one notices (Default_Ignorable_Code_Point of Unicode 16)."""


def escaped(text: str) -> str:
    r"""Return a text with all that cannot be seen written out.

    As in `\u3164`, blanks other than a space too, for what a person agrees to; line breaks and tabs stay.
    """
    unseen = dict(_unseen(text))
    return "".join(unseen.get(char, char) for char in text)


def unseen_in(text: str) -> list[str]:
    r"""Return what of a text cannot be seen, as in `\u3164`."""
    return sorted(written for _, written in _unseen(text))


def _unseen(text: str) -> Iterator[tuple[str, str]]:
    for char in set(text) - set(" \n\t"):
        if not _shows(char):
            yield char, char.encode("unicode_escape").decode()


def _shows(char: str) -> bool:
    is_mark = unicodedata.category(char)[0] == "M"
    return not _INKLESS_MARKS.match(char) if is_mark else _has_ink(char)


def is_blank(text: str) -> bool:
    """Tell whether a text shows nothing, whatever it is made of.

    Marks that stand on no letter, controls, tags and what else has no ink are nothing; beside a letter or an
    emoji they are part of it.
    """
    return not any(map(_has_ink, set(re.sub(ESCAPES, "", text))))


def _has_ink(char: str) -> bool:
    if char in _BLANK_LETTERS or 0xE0000 <= ord(char) < 0xE1000 or ord(char) & 0xFFFE == 0xFFFE:  # noqa: PLR2004
        return False  # unassigned tags, and what is no character at all
    kind = unicodedata.category(char)
    return kind[0] not in "ZM" and kind not in {"Cc", "Cf"}


def one_line(text: str, most: int) -> str:
    """Return a text as one line of at most so many characters."""
    return " ".join(text.split())[:most]


def moment(at: float, zone: tzinfo = UTC) -> str:
    """Return Unix seconds as words, on a zone's clock."""
    return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d at %H:%M:%S %Z}"


_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u1aaf\u3005-\u3007\u3041-\u30fa\u30fc-\u31bf"
    "\u31f0-\u31ff\u3400-\u9fff\ua960-\ua9ff\uaa60-\uaadf\uac00-\ud7ff\uf900-\ufaff\U0001aff0-\U0001b16f"
    "\U00020000-\U000323af"
)
"""Blocks of scripts that write words together, or with their particles (Unicode 16)."""
_MARKS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0711\u0730-\u074a"
    "\u0900-\u0963\u0966-\u0dff\u0f71-\u0f84\u0f90-\u0fbc"
)
"""Vowels and accents that are part of a word, which `\\w` leaves out (Unicode 16)."""
_IDEOGRAPHS = "[\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]"


def words_of(text: str) -> frozenset[str]:
    """Return the words and numbers of a text, whatever their case."""
    return frozenset(re.findall(rf"[\w{_MARKS}{_UNSPACED}]+", text.casefold()))


def terms_of(text: str, *, sought: bool = False) -> frozenset[str]:
    """Return what a text is found by, whatever its case and width.

    Its words, and of scripts that write words together pairs of characters and single ones; of those a query
    (`sought`) has only what may be a word.
    """
    terms: set[str] = set()
    parts = rf"([{_UNSPACED}]+)|((?:[^\W_{_UNSPACED}]|[{_MARKS}])+)"
    for run, word in re.findall(parts, unicodedata.normalize("NFKC", text).casefold()):
        singles = re.findall(_IDEOGRAPHS, run) if sought and len(run) > 1 else run
        terms.update([word] if word else map("".join, pairwise(run)), singles)
    return frozenset(terms)


FILLERS = terms_of(
    """a about all an and any are as at be by can could do does every for from get has have how i if in
    into is it its make may me more my need no not of on one or our please should so some than that
    the them then there these they this to up use want was we what when where which who will with
    would you your
    的 了 是 在 我 你 他 她 它 们 這 这 那 有 和 也 都 就 不 吗 嗎 呢 吧 什么 什麼 哪里 哪裡 怎么 怎麼 谁 誰
    何 です ます した でした ました ですか ますか ません して ない から こと""",
    sought=True,
)
"""Words that say nothing about what is looked for."""


def name_key(name: str) -> str:
    """Return a name without case and separators, for comparison."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def count(number: float, thing: str) -> str:
    """Return a number of things, such as `1 round` or `1,200 tokens`."""
    whole = f"{number:,.0f}" if number == int(number) else f"{number:g}"
    return f"{whole} {thing}{'' if number == 1 else 's'}"


def dollars(amount: float) -> str:
    """Return US dollars, of less than one four digits after the point."""
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.4f}"


def local_time(at: float, zone: tzinfo) -> str:
    """Return a time, in seconds since the epoch, on a person's clock."""
    return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M}"
