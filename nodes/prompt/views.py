"""What a model is shown, computed for each call.

Each view takes the characters that it may have, and leaves out what it can for them: never the request.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from base.texts import visible
from base.worker_threads import in_thread
from models.media import attached
from nodes.prompt import instructions
from nodes.prompt.compaction import shown_sizes
from nodes.prompt.fences import fenced
from nodes.state import JudgedCall
from nodes.turn.history import (
    AROUND,
    CallResult,
    FinishedCall,
    TurnHistory,
    Utterance,
    as_json,
    not_executed,
    said_before,
)
from nodes.turn.results import look
from nodes.turn.turn import Turn
from tools.skills.skills import told_of, usable_skills
from tools.skills.tools import read_skill

EARLIER_MESSAGES = 6
EARLIER_CHARS = 300
"""Of each earlier message, on the two-brain path."""
SKILLS_SHARE = 10
"""Into so many parts a prompt is divided, of which the descriptions of skills take one."""
_TAGS = ("request", "call", "result", "arguments", "summary", "proposed", "earlier", "stopped")


@dataclass(frozen=True, slots=True)
class ModelPrompt:
    """What a model is shown, and about how many characters it takes."""

    messages: list[BaseMessage]
    chars: int


Look = Callable[[CallResult, int], Awaitable[tuple[str, str]]]
"""From a result and how many bytes of it to show (0: next to none) to text and a note on what is left out."""
View = Callable[[int], Awaitable[ModelPrompt]]
"""From the characters that a prompt may take to the prompt."""


async def planner_view(turn: Turn, tools_chars: int, chars: int) -> ModelPrompt:
    """Show the planner rules, what came before, the request and the rounds.

    `tools_chars` is what the tools take that the planner is offered; 0: it is offered none.
    """
    opening = _opening(turn, chars, await _rules(turn, chars, has_tools=tools_chars > 0))
    taken = _chars_of(opening) + tools_chars
    opened = partial(look, turn.res.artifacts, turn.person.user)
    rounds = await _rounds(turn.history, chars - taken, opened)
    return ModelPrompt([*opening, *rounds.messages], taken + rounds.chars)


async def responder_view(turn: Turn, stopped: str, chars: int) -> ModelPrompt:
    """Show the responder persona, conversation, request and what was done.

    `stopped` is why the turn ended early; empty where it did not.
    """
    persona = _persona(turn)
    if turn.state.path == "direct":
        return _prompt([_system(turn, persona), *_earlier(turn, chars, most=None), _request(turn, chars)])
    found = f"{_calls(turn, chars, stopped)}\n<summary>\n{_safe(turn.state.summary)}\n</summary>"
    told = _request(turn, chars, f"{_tagged_request(turn)}\n{found}")
    rules = _system(turn, persona, instructions.WRITE)
    return _prompt([rules, *_earlier(turn, chars), told])


async def finishing_view(turn: Turn, stopped: str, chars: int) -> ModelPrompt:
    """Show the planner all for its last call, as plain text."""
    role = _persona(turn) if turn.state.path == "single" else instructions.GATHER
    told = f"{_tagged_request(turn)}\n{_calls(turn, chars, stopped)}"
    rules = _system(turn, role, instructions.FINISH)
    return _prompt([rules, _request(turn, chars, told)])


def explaining_prompt(turn: Turn, waiting: Iterable[JudgedCall]) -> list[BaseMessage]:
    """Return what the planner is to put its proposed calls in words."""
    proposed = "\n".join(
        f'<proposed tool="{call["name"]}">{_safe(as_json(call["args"]))}</proposed>' for call in waiting
    )
    calls = _calls_as(turn, EARLIER_CHARS, EARLIER_CHARS)
    return [
        _system(turn, instructions.EXPLAIN),
        HumanMessage(f"{_tagged_request(turn)}\n{calls}\n{proposed}"),
    ]


def _persona(turn: Turn) -> str:
    card = turn.res.settings.user(turn.person.user)
    said = [card.persona, turn.context.system_prompt]
    language = instructions.LANGUAGE.format(language=card.language) if card.language else ""
    return "\n\n".join([*(filter(None, said) if any(said) else [instructions.PERSONA]), language]).strip()


def _system(turn: Turn, *rules: str) -> SystemMessage:
    """Return the rules, and behind what never changes the person's day.

    Providers keep a prompt's beginning in their cache; this one is another but once a day.
    """
    zone = turn.res.settings.zone(turn.person.user)
    today = instructions.TODAY.format(day=datetime.now(zone), zone=zone)
    return SystemMessage("\n\n".join((*rules, today)))


def _prompt(messages: list[BaseMessage]) -> ModelPrompt:
    return ModelPrompt(messages, _chars_of(messages))


def _chars_of(messages: Iterable[BaseMessage]) -> int:
    return sum(AROUND + len(message.text) for message in messages)


async def _rules(turn: Turn, chars: int, *, has_tools: bool) -> SystemMessage:
    """Return what a planner goes by: its part, and its person's skills.

    They stand sorted, and nothing of them is another from turn to turn until somebody changes them.
    """
    if turn.state.path != "single":
        rules = [instructions.GATHER]
    else:
        rules = [_persona(turn), *([instructions.DO_BOTH] if has_tools else [])]
    if has_tools and any(tool.name == read_skill.name for tool in turn.offered):
        skills = await in_thread(partial(usable_skills, turn.res.settings, turn.person.user))
        listed = told_of(skills, chars // SKILLS_SHARE)
        rules += [instructions.SKILLS.format(listed=listed)] if skills else []
    return _system(turn, *rules)


def _opening(turn: Turn, chars: int, rules: SystemMessage) -> list[BaseMessage]:
    if turn.state.path != "single":
        return [rules, _set_apart(turn, chars)]
    return [rules, *_earlier(turn, chars), _request(turn, chars)]


async def _rounds(history: TurnHistory, room: int, look: Look) -> ModelPrompt:
    """Return the rounds, every call followed by its result, as room allows."""
    results = [history.results.get(call.id) or not_executed(call) for call in history.calls]
    calls = [each.chars if not n else 0 for each in history.rounds for n in range(len(each.calls))]
    sizes, taken = shown_sizes(results, calls, room)
    turn = history.request.id or ""
    messages: list[BaseMessage] = []
    number = 0
    for each in history.rounds:
        messages.append(each.message)
        for _ in each.calls:
            result, most = results[number], sizes[number]
            as_it_is = result.is_plain and result.length <= most
            messages.append(result.message if as_it_is else await _result(result, most, turn, look))
            number += 1
    return ModelPrompt(messages, taken)


async def _result(result: CallResult, most: int, turn: str, look: Look) -> ToolMessage:
    """Return a result of so many bytes, fenced where it is untrusted."""
    text, note = await look(result, most)
    if text and result.untrusted:
        text = fenced(text, turn, result.message.tool_call_id)
    content = "\n".join(part for part in (text, note) if part)
    if result.edited_args is not None:
        content = f"The person changed the arguments to {as_json(result.edited_args)}. Result:\n{content}"
    message = result.message
    return message if content == message.content else message.model_copy(update={"content": content})


def _said(turn: Turn, chars: int, most: int | None = EARLIER_MESSAGES) -> list[Utterance]:
    """Return what was said before, as far as half a prompt reaches."""
    return said_before(turn.state.messages, turn.history.before, most, chars // 2)


def _earlier(turn: Turn, chars: int, most: int | None = EARLIER_MESSAGES) -> list[BaseMessage]:
    """Return what was said before, with a word for each missing answer.

    Some providers join two messages of the person into one request, some chat templates refuse them. And no
    model is to think that what waited was done, or that what was done was not.
    """
    messages: list[BaseMessage] = []
    for each in _said(turn, chars, most):
        content = _content(each.text, each.attachments, turn.state.turn, chars)
        messages.append(HumanMessage(content) if each.by_person else AIMessage(each.text))
        if each.unanswered is not None:
            messages.append(AIMessage(_unanswered(each.unanswered)))
    return messages


def _unanswered(outcomes: str) -> str:
    called = f" (What it called for: {outcomes}.)" if outcomes else ""
    return f"{instructions.UNANSWERED}{called}"


def _set_apart(turn: Turn, chars: int) -> HumanMessage:
    lines, said = [], _said(turn, chars)
    for each in said:
        speaker = "Person" if each.by_person else "Assistant"
        lines.append(f"{speaker}: {_safe(_cut(each.text, EARLIER_CHARS))}")
        if each.unanswered is not None:
            lines.append(f"Assistant: {_safe(_cut(_unanswered(each.unanswered), EARLIER_CHARS))}")
    if not lines:
        return _request(turn, chars)
    earlier = "\n".join(lines)
    before = [block for each in said for block in each.attachments]
    return _request(turn, chars, f"<earlier>\n{earlier}\n</earlier>\n{_tagged_request(turn)}", before)


def _request(
    turn: Turn, chars: int, text: str | None = None, before: Iterable[Mapping[str, Any]] = ()
) -> HumanMessage:
    """Return the request, its text replaced (None: as it is), with attachments.

    `before` are those of earlier messages.
    """
    request = turn.history.request
    blocks = [*before, *(block for block, _ in attached(request.content))]
    said = request.text if text is None else text
    return HumanMessage(_content(said, blocks, turn.state.turn, chars), id=request.id)


def _content(text: str, blocks: Sequence[Mapping[str, Any]], turn: str, chars: int) -> str | list[Any]:
    """Return words and attachments, of which texts take half a prompt."""
    if not blocks:
        return text
    content: list[Any] = [{"type": "text", "text": text}] if text else []
    for number, (block, each) in enumerate(attached(list(blocks))):
        name = visible(each.name) or "a file"
        told = f"Attachment {name}:"
        if each.text is not None:
            told += "\n" + fenced(_cut(each.text, chars // 2 // len(blocks)), turn, f"attachment {number}")
        content += [{"type": "text", "text": told}, *([block] if each.text is None else [])]
    return content


def _tagged_request(turn: Turn) -> str:
    return f"<request>\n{_safe(turn.history.request.text)}\n</request>"


def _calls(turn: Turn, chars: int, stopped: str) -> str:
    """Return the turn's calls as text.

    All results take half of a prompt at most, and all arguments a quarter: the answer may be in them.
    """
    share = chars // 4 // max(1, len(turn.history.results))
    return _calls_as(turn, 2 * share, share, stopped)


def _calls_as(turn: Turn, most: int, most_args: int, stopped: str = "") -> str:
    calls = [
        f'<call tool="{each.call.name}" status="{each.result.status}">\n'
        f"<arguments>{_safe(_cut(as_json(each.args), most_args))}</arguments>\n"
        f"<result>{_told(each, turn.state.turn, most)}</result>\n</call>"
        for each in turn.history.finished()
    ]
    return "\n".join([*calls, *([f"<stopped>{stopped}</stopped>"] if stopped else [])])


def _told(each: FinishedCall, turn: str, most: int) -> str:
    text = _safe(_cut(each.result.text, most))
    return fenced(text, turn, each.call.id) if each.result.untrusted else text


def _cut(text: str, most: int) -> str:
    left = len(text) - most
    return f"{text[:most]}… [{left:,} more characters]" if left > 0 else text


def _safe(text: str) -> str:
    """Keep text from closing or opening a tag of ours."""
    for tag in _TAGS:
        text = text.replace(f"<{tag}", f"<\\{tag}").replace(f"</{tag}", f"<\\/{tag}")
    return text


async def messages_by(view: View, chars: int) -> list[BaseMessage]:
    """Return a prompt's messages, for a model that needs a shorter one."""
    return (await view(chars)).messages
