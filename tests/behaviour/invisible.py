"""Texts that show nothing, and texts of the same characters that do."""

INVISIBLE = {
    "zero width space": "\u200b",
    "word joiners": "\u2060\ufeff\u2064",
    "soft hyphen": "\xad",
    "Hangul filler": "\u3164",
    "half and jamo fillers": "\uffa0\u115f\u1160",
    "tags": "".join(chr(0xE0000 + ord(char)) for char in "hello") + "\U000e007f\U000e0080",
    "bidi marks": "\u200e\u200f\u202e\u2066\u2069\u061c",
    "variation selectors": "\ufe0f\U000e0100\u180b",
    "combining marks alone": "\u0301\u20e3\u034f",
    "Braille's blank": "\u2800",
    "null notehead": "\U0001d159",
    "spaces and separators": " \u3000\u2028\u2029\x85\n",
    "colours": "\x1b[31m\x1b[0m",
    "a title": "\x1b]0;pwned\x07",
    "controls": "\x00\x07\x1b\x7f",
    "ignored though unassigned": "\u2065\ufff0\ufff8",
    "a placeholder and a filler": "\ufffc\U00016fe4",
    "no characters": "\uffff\U0010fffe",
}
VISIBLE = {
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a flag of tags": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "a keycap": "1\ufe0f\u20e3",
    "Arabic with bidi marks": "\u200f\u0645\u0631\u062d\u0628\u0627\u200f",
    "Hindi with a joiner": "\u0915\u094d\u200d\u0937",
    "Hangul": "\u1112\u1161\u11ab",
    "a letter in colours": "\x1b[31mx\x1b[0m",
    "a full stop": ".",
    "a character of a later Unicode": "\U0001fadc",
}
