"""What a model is shown: computed for each call; the state keeps the truth.

Each view takes the characters that it may have, and leaves out what it can for them: never the request.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice, takewhile, zip_longest
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from nodes.context import Context
from nodes.kept import Kept
from nodes.prompt import instructions
from nodes.prompt.fences import fenced
from nodes.prompt.rounds import Look, length_of, rounds_view
from nodes.state import Planned, State
from nodes.turn.calls import Record, records_of, rounds_of, status_of

EARLIER_MESSAGES = 6
EARLIER_CHARS = 300
"""Of each earlier message, on the two-brain path."""
RESULT_CHARS = 2_000
"""At most, of each result, in what the responder reads."""


async def planner_view(
    state: State, context: Context, tools: Sequence[Mapping[str, Any]], look: Look, chars: int
) -> list[BaseMessage]:
    """Return what the planner is shown: rules, what came before, the request, and this turn's rounds.

    It hangs on the arguments alone: what `look` gives for a result and a size is always the same.
    """
    before = state.messages[: len(state.messages) - len(rounds_of(state))]
    hangs_on = (state.path, context, tools, chars)
    _, kept = _openings.get(state.turn, before) or (0, None)
    if kept is None or kept.hangs_on != hangs_on:
        made = _opening(state, context, tools, chars)
        kept = _openings.put(state.turn, before, _Opening(hangs_on, made, length_of(made, tools)))
    return [*kept.messages, *await rounds_view(state, chars - kept.taken, look)]


@dataclass(frozen=True, slots=True)
class _Opening:
    """What the planner is shown before the turn's rounds."""

    hangs_on: Any
    """All that it hangs on besides the messages."""
    messages: list[BaseMessage]
    taken: int
    """Characters, those of the tools too."""


_openings: Kept[_Opening] = Kept()


def _opening(
    state: State, context: Context, tools: Sequence[Mapping[str, Any]], chars: int
) -> list[BaseMessage]:
    request = _request(state)
    if state.path != "single":
        return [SystemMessage(instructions.GATHER), _set_apart(state, request, chars)]
    persona = context.system_prompt or instructions.PERSONA
    rules = SystemMessage(f"{persona}\n\n{instructions.DO_BOTH}" if tools else persona)
    return [rules, *_earlier(state, chars), request]


async def responder_view(state: State, context: Context, stopped: str, chars: int) -> list[BaseMessage]:
    """Return what the responder is shown: persona, conversation, and the request with what was done.

    `stopped` says why the turn ended early; it is empty where it did not.
    """
    persona = context.system_prompt or instructions.PERSONA
    if state.path == "direct":
        return [SystemMessage(persona), *_earlier(state, chars, most=None), _request(state)]
    found = f"{_called(state, *_each(state, chars), stopped)}\n<summary>\n{_safe(state.summary)}\n</summary>"
    return [
        SystemMessage(f"{persona}\n\n{instructions.WRITE}"),
        *_earlier(state, chars),
        _with_text(_request(state), f"{_tagged_request(state)}\n{found}"),
    ]


async def finishing_view(state: State, context: Context, stopped: str, chars: int) -> list[BaseMessage]:
    """Return what the planner is shown for its last call, as plain text that needs no tools declared."""
    persona = context.system_prompt or instructions.PERSONA if state.path == "single" else instructions.GATHER
    told = f"{_tagged_request(state)}\n{_called(state, *_each(state, chars), stopped)}"
    return [SystemMessage(f"{persona}\n\n{instructions.FINISH}"), _with_text(_request(state), told)]


def explaining_view(state: State, waiting: Iterable[Planned]) -> list[BaseMessage]:
    """Return what the planner is shown to put its proposed calls in words."""
    proposed = "\n".join(
        f'<proposed tool="{call["name"]}">{_safe(_json(call["args"]))}</proposed>' for call in waiting
    )
    told = f"{_tagged_request(state)}\n{_called(state, EARLIER_CHARS, EARLIER_CHARS)}\n{proposed}"
    return [SystemMessage(instructions.EXPLAIN), HumanMessage(told)]


def _earlier(state: State, chars: int, most: int | None = EARLIER_MESSAGES) -> list[BaseMessage]:
    """Return what person and assistant said before this turn, as far back as half the budget reaches.

    It begins with the person; a message is there whole or not at all.
    """
    said: list[BaseMessage] = []
    for message in state.messages:
        if message.id == state.turn:
            break
        spoken = isinstance(message, HumanMessage) or (
            isinstance(message, AIMessage) and not message.tool_calls
        )
        if spoken and (words := _as_said(message)).text.strip():  # some providers refuse a blank one
            said.append(words)
    said = said[-most:] if most else said
    while said and (isinstance(said[0], AIMessage) or length_of(said) > chars // 2):
        said = said[1:]
    return list(_by_turns(said, state))


def _by_turns(said: Sequence[BaseMessage], state: State) -> Iterator[BaseMessage]:
    """Yield what was said with a word in place of each answer that never came.

    Some providers join two messages of the person into one request, some chat templates refuse them. And no
    model is to think that what waited was done, or that what was done was not.
    """
    for message, following in zip_longest(said, said[1:]):
        yield message
        if isinstance(message, HumanMessage) and not isinstance(following, AIMessage):
            yield AIMessage(_unanswered(message, state))


def _unanswered(request: HumanMessage, state: State) -> str:
    after = islice(dropwhile(lambda m: m.id != request.id, state.messages), 1, None)
    turn = takewhile(lambda m: not isinstance(m, HumanMessage), after)
    became = ", ".join(f"{m.name}: {status_of(m)}" for m in turn if isinstance(m, ToolMessage))
    return f"{instructions.UNANSWERED} (What it called for: {became}.)" if became else instructions.UNANSWERED


def _as_said(message: BaseMessage) -> BaseMessage:
    """Return what was said as text: a picture that a model refuses would else end every later turn too."""
    if isinstance(message, AIMessage):
        return AIMessage(message.text)
    others = [] if isinstance(message.content, str) else [b for b in message.content if not _is_text(b)]
    text = "\n".join([message.text, *(["[with attachments]"] if others else [])]).strip()
    return HumanMessage(text, id=message.id)


def _is_text(block: Any) -> bool:
    return isinstance(block, str) or block.get("type") == "text"


def _set_apart(state: State, request: HumanMessage, chars: int) -> HumanMessage:
    said = _earlier(state, chars)
    if not said:
        return request
    lines = "\n".join(
        f"{'Person' if isinstance(m, HumanMessage) else 'Assistant'}: {_safe(_cut(m.text, EARLIER_CHARS))}"
        for m in said
    )
    return _with_text(request, f"<earlier>\n{lines}\n</earlier>\n{_tagged_request(state)}")


def _request(state: State) -> HumanMessage:
    found = next((m for m in reversed(state.messages) if m.id == state.turn), None)
    return HumanMessage(found.content if found else "", id=state.turn)


def _with_text(request: HumanMessage, text: str) -> HumanMessage:
    """Return the request with its text replaced; pictures and the like stay."""
    if isinstance(request.content, str):
        return HumanMessage(text, id=request.id)
    others = [block for block in request.content if not _is_text(block)]
    return HumanMessage([{"type": "text", "text": text}, *others], id=request.id)


def _tagged_request(state: State) -> str:
    return f"<request>\n{_safe(_request(state).text)}\n</request>"


def _called(state: State, most: int, most_args: int, stopped: str = "") -> str:
    calls = [
        f'<call tool="{r.tool}" status="{r.status}">\n'
        f"<arguments>{_safe(_cut(_json(r.args), most_args))}</arguments>\n"
        f"<result>{_told(r, state.turn, most)}</result>\n</call>"
        for r in records_of(state)
    ]
    return "\n".join([*calls, *([f"<stopped>{stopped}</stopped>"] if stopped else [])])


def _each(state: State, chars: int) -> tuple[int, int]:
    """Return how many characters to tell of each result, and of each call's arguments.

    So that all results take half of a prompt at most, and all arguments a quarter: the answer may be in them.
    """
    share = chars // 4 // max(1, len(records_of(state)))
    return min(RESULT_CHARS, 2 * share), share


def _told(record: Record, turn: str, most: int) -> str:
    text = _safe(_cut(record.text, most))
    return fenced(text, turn, record.call_id) if record.untrusted else text


def _cut(text: str, most: int) -> str:
    left = len(text) - most
    return f"{text[:most]}… [{left:,} more characters]" if left > 0 else text


def _safe(text: str) -> str:
    """Keep text from closing or opening a tag of ours."""
    for tag in ("request", "call", "result", "arguments", "summary", "proposed", "earlier", "stopped"):
        text = text.replace(f"<{tag}", f"<\\{tag}").replace(f"</{tag}", f"<\\/{tag}")
    return text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
