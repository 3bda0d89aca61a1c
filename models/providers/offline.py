"""The offline models: a planner and a writer of rules, without keys.

Both are functions of the messages: asked again, they say the same again.
"""

import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCall, tool_call, tool_call_chunk
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool

from base.settings import ModelCard, Settings
from models.providers import Provider
from models.providers.offline_phrases import NOT_UNDERSTOOD, NOTE, OfflineCall, explanation, report, rounds_of

_WRITER = "writer"
_SUMMARY = re.compile(r"<summary>(.*?)</summary>", re.DOTALL)
_PROPOSED = re.compile(r'<proposed tool="([^"]*)">(.*?)</proposed>', re.DOTALL)
_CALL = re.compile(
    r'<call tool="([^"]*)" status="([^"]*)">\s*'
    r"<arguments>(.*?)</arguments>\s*<result>(.*?)</result>\s*</call>",
    re.DOTALL,
)
_FENCED = re.compile(r'\s*<untrusted mark="(\w+)">\n[^\n]*\n(.*)\n</untrusted mark="\1">\s*', re.DOTALL)


class _Rules(BaseChatModel):
    """A chat model whose reply follows from the messages; tokens are estimated."""

    model: str
    note: bool
    """Whether answers say that they come from rules, and how to get a language model."""

    @property
    def _llm_type(self) -> str:
        return f"twobrain-offline-{self.model}"

    @abstractmethod
    def _reply(self, messages: Sequence[BaseMessage], tools: frozenset[str]) -> AIMessage: ...

    def _answer(self, text: str) -> AIMessage:
        return AIMessage(f"{text}\n\n{NOTE}" if self.note else text)

    def _complete(self, messages: Sequence[BaseMessage], options: dict[str, Any]) -> AIMessage:
        offered = [] if options.get("tool_choice") == "none" else options.get("tools", [])
        names = frozenset(str(tool["function"]["name"]) for tool in offered)
        message = self._reply(messages, names)
        read, written = count_tokens_approximately(messages), count_tokens_approximately([message])
        message.usage_metadata = UsageMetadata(
            input_tokens=read, output_tokens=written, total_tokens=read + written
        )
        message.response_metadata = {"model_name": self.model, "finish_reason": "stop"}
        return message

    def _generate(self, messages: list[BaseMessage], *_: Any, **options: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._complete(messages, options))])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **options: Any) -> ChatResult:
        return self._generate(messages, **options)

    def _stream(self, messages: list[BaseMessage], *_: Any, **options: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(self._complete(messages, options)):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **options: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages, **options):
            yield chunk


class OfflinePlanner(_Rules):
    """Plans the calls that a request names, then reports their results."""

    model: str = "planner"
    note: bool = False

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any) -> Any:
        """Return the planner with these tools; any other is not available.

        `tool_choice` may be `none` for no calls; nothing else changes what the rules do.
        """
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], tool_choice=tool_choice, **kwargs)

    def _reply(self, messages: Sequence[BaseMessage], tools: frozenset[str]) -> AIMessage:
        text, turn = _turn(messages)
        prompt = _read(text)
        if not tools and prompt.proposals:
            return AIMessage(explanation(prompt.proposals, prompt.request))
        if not tools and prompt.calls:
            return self._answer(report(prompt.calls))
        wanted = rounds_of(prompt.request)
        lacking = sorted({call.tool for calls in wanted for call in calls} - tools)
        missing = " ".join(f"The tool `{tool}` isn't available." for tool in lacking)
        rounds = [able for calls in wanted if (able := [call for call in calls if call.tool in tools])]
        done = sum(1 for message in turn if isinstance(message, AIMessage) and message.tool_calls)
        if done < len(rounds):
            return AIMessage("" if done else missing, tool_calls=_calls(rounds[done], messages, done))
        said = "\n\n".join(filter(None, (report(_outcomes(turn)), missing)))
        return self._answer(said or NOT_UNDERSTOOD)


class OfflineWriter(_Rules):
    """Writes what the person reads from the calls that were made."""

    model: str = _WRITER
    note: bool = True

    def _reply(self, messages: Sequence[BaseMessage], tools: frozenset[str]) -> AIMessage:  # noqa: ARG002
        prompt = _read(_turn(messages)[0])
        said = report(prompt.calls)
        news = [part for part in prompt.summary.split("\n\n") if part not in f"{said}\n{NOTE}"]
        return self._answer("\n\n".join(filter(None, (said, *news))) or NOT_UNDERSTOOD)


@dataclass(frozen=True, slots=True)
class _TurnPrompt:
    """What a human message holds; without tags all is the request."""

    request: str
    calls: list[OfflineCall] = field(default_factory=list)
    proposals: list[OfflineCall] = field(default_factory=list)
    summary: str = ""


def _read(text: str) -> _TurnPrompt:
    """Read from the last request tag: what people type was not done."""
    end = text.rfind("</request>")
    start = text.rfind("<request>", 0, max(end, 0))
    if start < 0:
        return _TurnPrompt(text.strip())
    rest = text[end:]
    summary = _SUMMARY.search(rest)
    return _TurnPrompt(
        request=text[start + len("<request>") : end].strip(),
        calls=[
            OfflineCall(tool, _object(args), status, _unfenced(result))
            for tool, status, args, result in _CALL.findall(rest)
        ],
        proposals=[OfflineCall(tool, _object(args)) for tool, args in _PROPOSED.findall(rest)],
        summary=summary[1].strip() if summary else "",
    )


def _unfenced(result: str) -> str:
    found = _FENCED.fullmatch(result)
    return found[2] if found else result


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _turn(messages: Sequence[BaseMessage]) -> tuple[str, Sequence[BaseMessage]]:
    """Return the text of the last human message, and what follows it.

    The rules follow its first text, and no file that comes with it.
    """
    for back, message in enumerate(reversed(messages)):
        if isinstance(message, HumanMessage):
            texts = (block["text"] for block in message.content_blocks if block["type"] == "text")
            return next(texts, ""), messages[len(messages) - back :]
    return "", messages


def _outcomes(turn: Sequence[BaseMessage]) -> list[OfflineCall]:
    """Return the turn's calls that have results, in their order."""
    results = {message.tool_call_id: message for message in turn if isinstance(message, ToolMessage)}
    calls = [call for message in turn if isinstance(message, AIMessage) for call in message.tool_calls]
    outcomes = []
    for call in calls:
        if result := results.get(call["id"] or ""):
            artifact = result.artifact if isinstance(result.artifact, dict) else {}
            usual = "executed" if result.status == "success" else "failed"
            status = "denied" if result.text.startswith("Action denied") else usual
            args, status = artifact.get("args", call["args"]), artifact.get("status", status)
            outcomes.append(OfflineCall(call["name"], args, status, _unfenced(result.text)))
    return outcomes


def _calls(wanted: list[OfflineCall], messages: Sequence[BaseMessage], done: int) -> list[ToolCall]:
    """Return a round's calls; their ids hash all that sets it apart."""
    said = [(m.type, m.id, m.text) for m in messages if m.type in {"human", "ai"}]
    made = [call["id"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]
    seed = json.dumps([said, made, done])
    calls = []
    for index, call in enumerate(wanted):
        digest = hashlib.sha256(json.dumps([seed, index, call.tool, call.args]).encode()).hexdigest()
        calls.append(tool_call(name=call.tool, args=dict(call.args), id=f"call_{digest[:24]}"))
    return calls


def _chunks(message: AIMessage) -> Iterator[AIMessageChunk]:
    """Cut a reply into its words, then its calls, then its usage."""
    for word in re.findall(r"\S+\s*|\s+", message.text):
        yield AIMessageChunk(content=word)
    for index, call in enumerate(message.tool_calls):
        part = tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=index)
        yield AIMessageChunk(content="", tool_call_chunks=[part])
    yield AIMessageChunk(
        content="",
        usage_metadata=message.usage_metadata,
        response_metadata=message.response_metadata,
        chunk_position="last",
    )


def _detect(_: Settings) -> Mapping[str, ModelCard]:
    return {
        "offline-planner": ModelCard(provider="offline", model="planner"),
        "offline-writer": ModelCard(provider="offline", model=_WRITER),
    }


PROVIDER = Provider(
    open=lambda card, _: OfflineWriter() if card.model == _WRITER else OfflinePlanner(note=True),
    needs_model=False,
    is_free=True,
    is_two_brain=True,
    plan_rank=90,
    write_rank=90,
    writers=frozenset({_WRITER}),
    takes=frozenset(),
    detect=_detect,
    is_stand_in=True,
)
