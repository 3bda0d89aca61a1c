"""Read yes and no words, and decisions as programs send them.

What is not understood is not consent: a yes that says anything besides, twice, or in letters that only look
like it, is none. An approval may say which further calls are to run unasked:

    {"where": {"path": "notes/*"}, "until": "2026-12-01T00:00:00Z", "uses": 20}

`until` and `uses` may be null or left out: for good, and any number.
"""

import json
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ledger.records import plain
from models.replies import storable
from tools.declaration import ArgumentsError
from tools.policy.rules import covers
from tools.registry import Registry

_YES_AND_NO = {
    "what clients send": ("approve approved accept true", "reject rejected deny denied ignore false"),
    "en": ("yes y ok okay", "no n"),
    "de da fi sv nb is nl et": ("ja jah já jo kyllä joo", "nein nej nei nee ei"),
    "fr it es ca pt gl ro": ("oui sì sí sim da", "non no não nu"),
    "cs sk pl sl hr lt lv hu": ("ano áno tak taip jā igen", "ne nie nē nem"),
    "ru uk bg sr mk be el": ("да так ναι", "нет ні не няма όχι"),  # noqa: RUF001
    "tr az vi id fil sw": (
        "evet bəli hə có ya opo ndiyo",
        "hayır hayir xeyr yox không tidak hindi hapana",  # noqa: RUF001
    ),
    "eo ku uz sq": ("jes erê ҳа", "ez na йўқ jo"),
    "hy ka kk ky mn": ("այո დიახ კი иә ооба тийм", "ոչ არა жоқ жок үгүй"),  # noqa: RUF001
    "bn mr ne gu pa": ("হ্যাঁ होय हो હા ਹਾਂ", "না नाही होइन ના નહીં ਨਹੀਂ"),
    "ta te kn ml si": ("ஆம் అవును ಹೌದು ഉവ്വ് ඔව්", "இல்லை వద్దు లేదు ಇಲ್ಲ അല്ല නැත"),
    "am my lo yue": ("አዎ አዎን ဟုတ်တယ် ແມ່ນ 係", "አይ မဟုတ်ဘူး ບໍ່ແມ່ນ 唔係"),
    "ar fa ur he hi th": ("نعم بله ہاں כן हाँ हां ใช่", "لا خیر نه نہیں לא नहीं ไม่ ไม่ใช่"),
    "zh ja ko": ("是 是的 好 好的 可以 はい 네 예", "否 不 不是 不行 不要 いいえ 아니요 아니오"),
    "signs": ("👍 ✅ ✔ ✓", "👎 ❌ ✘ ✗"),
}
"""Whole answers by language, yes and no: CLDR's and glibc's `yesstr` and `nostr`, without single letters, and
what people write beside them. What is a yes in one language and a no in another is neither."""
_SAYS_YES, _SAYS_NO = ({word for said in _YES_AND_NO.values() for word in said[at].split()} for at in (0, 1))
_YES, _NO = _SAYS_YES - _SAYS_NO, _SAYS_NO - _SAYS_YES
_STOPS = ".!\u3002\uff01\uff0e\uff61\u06d4\u0964\u0589\u1362\u104b"
"""Ends of a sentence; before them French leaves a blank."""
_SKIN_TONES = dict.fromkeys(range(0x1F3FB, 0x1F400))
_APPROVING = {"approve", "accept"}
_REJECTING = {"reject", "respond", "response", "ignore"}
_ABOUT = {"type", "tool_call_id"}
_CAMEL_CASE = {"editedAction": "edited_action", "toolCallId": "tool_call_id"}
_FORMS = 'Answer yes, no or {"decisions": [{"type": "approve" | "edit" | "reject", …}]}, one for each call.'
_DEEPEST_JSON = 3
_WHICH = (
    "For {calls} calls {answers}, and nothing says which it is about: programs differ in what they show. So "
    "none is decided, and they are asked one by one."
)
_LAST = datetime(9000, 1, 1, tzinfo=UTC)
"""Short of where calendars of other programs end."""


class Remember(BaseModel):
    """Which further calls of a tool are to run unasked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    where: dict[str, str] = Field(min_length=1)
    """Argument to the pattern that its text must match."""
    until: AwareDatetime | None = Field(default=None, strict=False, lt=_LAST)
    """With a time zone; None: for good."""
    uses: int | None = Field(default=None, ge=1, le=1_000_000)
    """None: any number."""


@dataclass(frozen=True, slots=True)
class Approve:
    """Run it as it stands."""

    remember: Remember | None = None
    """Which further calls are to run unasked; None: none."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Run it with these arguments."""

    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reject:
    """Do not run it."""

    message: str = ""


Choice = Approve | Edit | Reject
Check = Callable[[str, dict[str, Any]], str | None]
"""Tool name and edited arguments to what is wrong with them; None where nothing is."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was understood of an answer."""

    choices: dict[str, Choice] = field(default_factory=dict)
    """By call id; a call that is missing here is still undecided."""
    problem: str = ""
    """Why something was not understood, for the person; empty where all was."""
    names_calls: bool = False
    """Each decision says which call it is about, so that it is meant for that, whenever it comes."""
    one_by_one: bool = False
    """It may have been meant for any of several calls: each is to be asked about alone."""


class _NotUnderstoodError(Exception):
    pass


def read(answer: Any, actions: Sequence[Mapping[str, Any]], check: Check) -> Reading:
    """Read an answer to a confirmation request.

    Args:
        answer: whatever a client sent.
        actions: the request's `action_requests` that are still undecided, in order.
        check: validates edited arguments.
    """
    try:
        decisions = _decisions(answer, len(actions))
        if len(decisions) < len(actions) and not all(map(_names_its_call, decisions)):
            answers = "there came one answer" if len(decisions) == 1 else f"came {len(decisions)} answers"
            return Reading(problem=_WHICH.format(calls=len(actions), answers=answers), one_by_one=True)
        placed = _placed(decisions, actions)
    except _NotUnderstoodError as error:
        return Reading(problem=f"{error} {_FORMS}")
    choices: dict[str, Choice] = {}
    problems: list[str] = []
    for action, decision in placed:
        try:
            choices[action["tool_call_id"]] = _choice(decision, action, check)
        except _NotUnderstoodError as error:
            problems.append(f"{action['name']}: {error}")
    if not problems and len(choices) < len(actions):
        problems.append(f"{len(actions) - len(choices)} of {len(actions)} calls are still undecided.")
    return Reading(choices, " ".join(problems), all(map(_names_its_call, decisions)))


def _names_its_call(decision: Any) -> bool:
    return isinstance(decision, Mapping) and decision.get("tool_call_id") is not None


def _decisions(answer: Any, count: int, depth: int = 0) -> list[Any]:
    """Return the answer as a list of decisions."""
    if isinstance(answer, bool):
        return [{"type": "approve" if answer else "reject"}] * count
    if isinstance(answer, str):
        return _from_text(answer, count, depth)
    if isinstance(answer, Mapping):
        if "decisions" not in answer:
            return [_in_snake_case(answer)]
        if answer.keys() != {"decisions"} or not isinstance(answer["decisions"], list):
            raise _NotUnderstoodError("`decisions` is not a list, or not all that the answer holds.")
        return [_in_snake_case(decision) for decision in answer["decisions"]]
    if isinstance(answer, list | tuple) and answer:
        return [_in_snake_case(decision) for decision in answer]
    raise _NotUnderstoodError("The answer was not understood.")


def _in_snake_case(decision: Any) -> Any:
    """Return a decision of a JavaScript client as any other."""
    if not isinstance(decision, Mapping):
        return decision
    named = [(_CAMEL_CASE.get(name, name), value) for name, value in decision.items()]
    if len(dict(named)) < len(named):
        raise _NotUnderstoodError("A decision names something twice.")
    return dict(named)


def _from_text(answer: str, count: int, depth: int) -> list[Any]:
    if (is_yes := plain_answer(answer)) is not None:
        return _decisions(is_yes, count)
    if depth >= _DEEPEST_JSON:
        raise _NotUnderstoodError("The answer was not understood.")
    try:
        inner = read_json(answer)
    except (ValueError, RecursionError):
        raise _NotUnderstoodError(f"The answer {answer[:80]!r} was not understood.") from None
    return _decisions(inner, count, depth + 1)


def plain_answer(text: str) -> bool | None:
    """Tell whether a plain word is a yes; None: it is neither.

    A full stop and a skin tone are no part of it. A letter is no other that it becomes in small letters.
    """
    whole = text.strip(" \t\r\n\u3000").removeprefix("\N{INVERTED EXCLAMATION MARK}")
    said = whole.rstrip(_STOPS)
    said = said.rstrip(" \u00a0\u202f") if said != whole else said
    sign = said.translate(_SKIN_TONES).removesuffix("\N{VARIATION SELECTOR-16}")
    small = unicodedata.normalize("NFC", sign).lower()
    if small.isascii() != said.isascii() or small not in _YES | _NO:
        return None
    return small in _YES


def read_json(text: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: it is none, or names something twice in one object.
    """
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it names something twice")
    return found


def _word(text: Any) -> str:
    """Return a word in small letters; empty where it is not ASCII."""
    return text.strip(" \t\r\n").lower() if isinstance(text, str) and text.isascii() else ""


def _placed(
    decisions: list[Any], actions: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return each decision with its action, by call id or in order."""
    if len(decisions) > len(actions):
        raise _NotUnderstoodError(f"{len(decisions)} decisions came for {len(actions)} calls.")
    by_id = {action["tool_call_id"]: action for action in actions}
    placed: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
    for number, decision in enumerate(decisions):
        if not isinstance(decision, Mapping):
            raise _NotUnderstoodError("A decision is not an object with a type.")
        call_id = decision.get("tool_call_id")
        if call_id is not None and (not isinstance(call_id, str) or call_id not in by_id):
            raise _NotUnderstoodError(f"No waiting call has the id {call_id!r}.")
        action = by_id[call_id] if call_id is not None else actions[number]
        if action["tool_call_id"] in placed:
            raise _NotUnderstoodError(f"Two decisions are about the call {action['tool_call_id']!r}.")
        placed[action["tool_call_id"]] = (action, decision)
    return list(placed.values())


def _choice(decision: Mapping[str, Any], action: Mapping[str, Any], check: Check) -> Choice:
    kind = decision.get("type")
    word = _word(kind)
    if word in _APPROVING:
        _require_no_more(decision, {*_ABOUT, "remember", "args"})
        _require_the_same(decision.get("args"), action)
        if decision.get("remember") is not None and {"attempt", "always_asks"} & action.keys():
            raise _NotUnderstoodError("such a call is approved for this once, and asks again.")
        return Approve(_remember(decision, action))
    if decision.get("remember") is not None:
        raise _NotUnderstoodError("only an approval as it stands can be remembered.")
    if word in _REJECTING:
        return Reject(_reason(decision))
    if word == "edit":
        return _edit(decision, action, check)
    raise _NotUnderstoodError(f"{kind!r} is not one of approve, edit, reject.")


def _require_no_more(said: Mapping[str, Any], known: set[str]) -> None:
    """Refuse a consent that says more; None and empty say nothing."""
    if others := [name for name, value in said.items() if name not in known and value not in (None, "")]:
        raise _NotUnderstoodError(f"beside a consent, {others[0]!r} is not understood.")


def _require_the_same(args: Any, action: Mapping[str, Any]) -> None:
    """Refuse an approval that repeats the call otherwise than it stands."""
    if args is None or args == {}:
        return
    if not isinstance(args, Mapping) or args.keys() != {"action", "args"} or args["action"] != action["name"]:
        raise _NotUnderstoodError("an approval is of the call as it stands.")
    if args["args"] and not _is_same(args["args"], action["args"]):
        raise _NotUnderstoodError("an approval is of the call as it stands: to change it, edit it.")


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether values are the same as JSON; true is not 1."""
    try:
        return json.dumps(plain(one), sort_keys=True) == json.dumps(plain(other), sort_keys=True)
    except (TypeError, ValueError, RecursionError):  # one is no JSON
        return False


def _remember(decision: Mapping[str, Any], action: Mapping[str, Any]) -> Remember | None:
    said = decision.get("remember")
    if said is None:
        return None
    try:
        return _read_remember(said, action, time.time())
    except _NotUnderstoodError as error:
        raise _NotUnderstoodError(f"what to remember was not understood: {error}") from None


def _reason(decision: Mapping[str, Any]) -> str:
    said = decision.get("message", decision.get("args", ""))
    return said.strip() if isinstance(said, str) else ""


def _edit(decision: Mapping[str, Any], action: Mapping[str, Any], check: Check) -> Choice:
    """Read `edited_action: {name, args}`, and the old `args: {action, args}`."""
    edited = _one_of(decision, "edited_action", "args")
    if not isinstance(edited, Mapping):
        raise _NotUnderstoodError("an edit needs edited_action with name and args.")
    _require_no_more(decision, {*_ABOUT, "edited_action", "args"})
    _require_no_more(edited, {"name", "action", "args", "arguments"})
    name = _one_of(edited, "name", "action")
    args = _one_of(edited, "args", "arguments")
    if name != action["name"]:
        raise _NotUnderstoodError(f"an edit cannot turn it into {name!r}.")
    if not isinstance(args, Mapping):
        raise _NotUnderstoodError("the edited arguments are not an object.")
    args = dict(args)
    if storable(args) != args:
        raise _NotUnderstoodError(
            "the edited arguments hold an integer of more than 64 bits, or half a character."
        )
    if problem := check(action["name"], args):
        raise _NotUnderstoodError(f"the edited arguments do not fit: {problem}")
    if _is_same(args, action["args"]):
        return Approve()
    if "attempt" in action:
        raise _NotUnderstoodError("it may have happened already, so it cannot be edited: approve or reject.")
    return Edit(args)


def _one_of(said: Mapping[str, Any], *names: str) -> Any:
    """Return what stands under one name, or the same under both."""
    found = [said[name] for name in names if said.get(name) is not None]
    if any(not _is_same(one, found[0]) for one in found):
        raise _NotUnderstoodError(f"{' and '.join(names)} say different things.")
    return found[0] if found else None


def _read_remember(said: Any, action: Mapping[str, Any], now: float) -> Remember:
    """Return what an approval of a call wants remembered.

    What was offered covers the call in its one form, if not as it is written.
    """
    if isinstance(said, Mapping) and not isinstance(said.get("until"), str | None):
        raise _NotUnderstoodError("until is a text such as 2026-12-01T00:00:00Z.")
    try:
        remember = Remember.model_validate(said)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise _NotUnderstoodError(f"{place}: {problem['msg']}." if place else f"{problem['msg']}.") from None
    if remember.until and remember.until.timestamp() <= now:
        raise _NotUnderstoodError(f"until {_shown(remember.until)} is over already.")
    offered = action.get("offer", {}).get("remember", {})
    if remember.where != offered.get("where") and not covers(remember.where, action["args"]):
        raise _NotUnderstoodError("the rule would not cover this call itself.")
    return remember


def _shown(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")


def fault(tools: Registry, name: str, args: dict[str, Any]) -> str | None:
    """Return what is wrong with edited arguments, None where nothing is."""
    tool = tools.find(name)
    if tool is None:
        return f"there is no tool {name!r}"
    try:
        tool.check(args)
    except ArgumentsError as error:
        return error.problem
    return None
