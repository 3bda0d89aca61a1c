"""Events of Matrix: what they bring, and texts as events."""

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from channels.messenger import Button, File, Incoming, segments

_LONGEST_FORMATTED = 12_000
"""Bytes of a text's form: with the text twice, an event has to stay below 65,536 (spec.matrix.org)."""
_FILES = {"m.image": "picture", "m.file": "file", "m.audio": "sound", "m.video": "film"}
"""What a message can bring, and what it is called where it has no name."""
_TEXT_KINDS = ("m.text", "m.emote")
_EVENT_KINDS = ("m.room.message", "m.room.encrypted", "m.sticker")
_COMMAND = re.compile(r"\A!(?=(?:new|stop|help)\b)")
"""Clients keep to themselves what begins with a slash."""
_QUOTE = re.compile(r"\A> (?:\* )?<@[^>\n]*>[^\n]*\n(?:>[^\n]*\n)*\n?")
"""What older clients put before a reply."""
_APPROVES, _REJECTS = "\U0001f44d", "\u274c"
_REACTIONS = {_APPROVES: _APPROVES, "\u2705": _APPROVES, _REJECTS: _REJECTS}
"""Reactions that answer a question, and the button that each stands for."""
_SHADES = re.compile("[\ufe0f\U0001f3fb-\U0001f3ff]")
_KIND_NOT_READ = "Messages of that kind are not read here: text, pictures, files, sound and film are."


def part(content: Any, name: str) -> Mapping[str, Any]:
    """Return an object within an object from others; empty: there is none."""
    found = content.get(name) if isinstance(content, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def clean(text: str) -> str:
    """Return a text that UTF-8 can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def length(text: str) -> int:
    """Return a text's bytes within an event."""
    return len(json.dumps(clean(text), ensure_ascii=False).encode()) - 2


def is_message(event: Mapping[str, Any]) -> bool:
    """Tell whether an event is a message; edits and notices are not."""
    content = part(event, "content")
    is_edit = part(content, "m.relates_to").get("rel_type") == "m.replace"
    is_notice = content.get("msgtype") == "m.notice"
    return event.get("type") in _EVENT_KINDS and bool(content) and not (is_edit or is_notice)


def read(event: Mapping[str, Any], came: Incoming) -> Incoming | None:
    """Return what an event brings; None: nothing that is acted on.

    Args:
        event: as the homeserver tells it.
        came: who sent it where.
    """
    content = part(event, "content")
    relation = part(content, "m.relates_to")
    if event.get("type") == "m.reaction":
        return _reaction(relation, came)
    if not is_message(event):
        return None
    answers = "" if relation.get("is_falling_back") else _text(part(relation, "m.in_reply_to"), "event_id")
    text, files = _said(content)
    text = _QUOTE.sub("", text, count=1) if answers else text
    if not (text.strip() or files):
        return replace(came, refused=_KIND_NOT_READ)
    return replace(came, text=_COMMAND.sub("/", text, count=1), files=files, reply_to=answers)


def _reaction(relation: Mapping[str, Any], came: Incoming) -> Incoming | None:
    sign = _REACTIONS.get(_SHADES.sub("", _text(relation, "key")))
    on = _text(relation, "event_id")
    if relation.get("rel_type") != "m.annotation" or not (sign and on):
        return None
    return replace(came, pressed=sign, message=on)


def _said(content: Mapping[str, Any]) -> tuple[str, tuple[File, ...]]:
    """Return a message's words and files; neither: another kind."""
    kind, body, named = content.get("msgtype"), _text(content, "body"), _text(content, "filename")
    if kind in _TEXT_KINDS:
        return body, ()
    place, info = _text(content, "url"), part(content, "info")
    if kind not in _FILES or not place.startswith("mxc://"):
        return "", ()
    size = info.get("size")
    known = size if type(size) is int and size >= 0 else None
    file = File(place, named or body or _FILES[kind], _text(info, "mimetype"), known)
    return body if named and named != body else "", (file,)


def _text(content: Mapping[str, Any], name: str) -> str:
    found = content.get(name)
    return found if isinstance(found, str) else ""


def content_of(text: str, buttons: Sequence[Sequence[Button]] = ()) -> dict[str, Any]:
    """Return an event's content, with the reactions for its buttons.

    It is shown as it is: only code fences have a form. It mentions nobody.
    """
    signs = [f"{each.sign} {each.label}" for row in buttons for each in row if each.sign]
    body = clean(f"{text}\n\nOr react to this message: {' · '.join(signs)}." if signs else text)
    content = {"msgtype": "m.text", "body": body, "m.mentions": {}}
    if formatted := _formatted(body):
        content |= {"format": "org.matrix.custom.html", "formatted_body": formatted}
    return content


def edit_of(event: str, text: str, buttons: Sequence[Sequence[Button]] = ()) -> dict[str, Any]:
    """Return the content of an event that edits another."""
    content = content_of(text, buttons)
    return {
        "msgtype": "m.text",
        "body": f"* {content['body']}",
        "m.mentions": {},
        "m.new_content": content,
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    }


def _formatted(text: str) -> str:
    """Return a text as HTML; empty: no code, or too long."""
    parts = segments(text)
    shown = "".join(_html(each, is_code=is_code) for each, is_code in parts)
    return shown if any(is_code for _, is_code in parts) and length(shown) <= _LONGEST_FORMATTED else ""


def _html(text: str, *, is_code: bool) -> str:
    shown = html.escape(text, quote=False)
    return f"<pre><code>{shown}</code></pre>" if is_code else shown.strip("\n").replace("\n", "<br>")
