"""What any provider's request says, and what a stand-in model answers, free of any wire.

A brain is a plain function of what it heard: asked the same again, it says the same again.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["gemini", "openai", "anthropic"]


@dataclass(frozen=True)
class Raw:
    """Arguments put on the wire exactly as they are: a JSON text cut short, None, a bare string."""

    value: Any


@dataclass(frozen=True)
class Call:
    """A tool call, asked for or remembered."""

    name: str
    args: Any
    """A dict, or `Raw` for a fault."""
    id: str | None = None
    """None: the wire makes one up; it is the same whenever the same request is heard again."""


@dataclass(frozen=True)
class ToolResult:
    """What the client says a call gave."""

    call_id: str
    name: str
    text: str


@dataclass(frozen=True)
class Turn:
    """One message of the history; Gemini's missing call ids are filled in as `turn.position`."""

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    calls: tuple[Call, ...] = ()
    results: tuple[ToolResult, ...] = ()


@dataclass(frozen=True)
class Heard:
    """A request that passed the wire's rules."""

    wire: Kind
    model: str
    system: str
    turns: tuple[Turn, ...]
    tools: Mapping[str, Mapping[str, Any]]
    """Tool name to its JSON schema, as declared."""
    stream: bool
    tools_off: bool = False
    """True where tools are declared and the request forbids calling any."""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def request(self) -> str:
        """The last user text; where it holds `<request>` sections, the last one's inside."""
        text = next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "")
        sections = re.findall(r"<request>(.*?)</request>", text, re.DOTALL)
        return sections[-1].strip() if sections else text

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """The results since the last user text."""
        return tuple(result for turn in self._this_turn() for result in turn.results)

    def _this_turn(self) -> Iterator[Turn]:
        last = max((i for i, turn in enumerate(self.turns) if turn.role == "user"), default=-1)
        yield from self.turns[last + 1 :]


@dataclass(frozen=True)
class Reply:
    """What the provider answers; the token counts mean the same on every wire."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    input_tokens: int | None = 100
    """Cached ones included; None: the wire reports no usage at all."""
    output_tokens: int = 20
    """Reasoning included."""
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    finish: str | None = None
    """The provider's own word for why it stopped; None: the usual one."""
    status: int = 200
    error: str | Mapping[str, Any] | None = None
    """A message put into the provider's own error body, or that whole body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | tuple[str, ...] | None = None
    """Sent instead of all the above: a whole body, or the texts of stream events, `event:` lines included."""
    pieces: int = 3
    """In which the JSON of each call is streamed."""
    cut: bool = False
    """The connection is dropped halfway through the answer."""
    delay_s: float = 0.0
    """Seconds before the first byte."""
    chunk_delay_s: float = 0.0
    """Seconds before each event of a streamed answer."""


Brain = Callable[[Heard], Reply]


class RefusedError(Exception):
    """A request that the real provider would answer with an error."""

    def __init__(self, message: str, status: int = 400, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


HOUSE_CALLS: Mapping[str, Call] = {
    "time": Call("get_time", {"timezone": "Asia/Tokyo"}),
    "list": Call("list_files", {"path": "."}),
    "write": Call("write_file", {"path": "notes.txt", "content": "buy milk"}),
    "delete": Call("delete_file", {"path": "notes.txt"}),
}
"""The word that asks for it, and the call that `conversation` makes."""


def conversation(heard: Heard) -> Reply:
    """Answer as planner and as writer: call what the request names, then tell what came back.

    Several words in one request are parallel calls of one reply; tools not declared are not called.
    """
    if heard.results:
        return Reply(text=" ".join(_tell(result) for result in heard.results))
    calls = tuple(
        call
        for word, call in HOUSE_CALLS.items()
        if call.name in heard.tools and re.search(rf"\b{word}\b", heard.request, re.IGNORECASE)
    )
    if calls and not heard.tools_off:
        return Reply(calls=calls)
    user = next((turn.text for turn in reversed(heard.turns) if turn.role == "user"), "")
    return Reply(text=f"Answer: {user}")


def call_id(prefix: str, heard: Heard, position: int) -> str:
    """Make up the id of a reply's call: the same for the same history, another for any other."""
    digest = hashlib.sha256(repr((heard.turns, position)).encode()).hexdigest()
    return f"{prefix}_{digest[:24]}"


def words(text: str) -> list[str]:
    """Cut an answer into the pieces it is streamed in."""
    return re.findall(r"\S+\s*|\s+", text)


def fragments(text: str, count: int = 3) -> list[str]:
    """Cut a call's JSON into the pieces it is streamed in, so that none of them is whole."""
    step = max(1, -(-len(text) // count))
    return [text[start : start + step] for start in range(0, len(text), step)]


def _tell(result: ToolResult) -> str:
    if "denied" in result.text.lower():
        return f"{result.name} was denied: {result.text}"
    return f"{result.name} gave: {result.text}"
