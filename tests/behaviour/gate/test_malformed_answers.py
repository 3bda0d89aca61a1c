"""A thousand answers to a confirmation, most of them nonsense: only consent runs a call, no thread is stuck.

What was consent is decided here by a reading of its own, written from the forms that the README lists.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command

from graphs.session import Orchestrator
from nodes.context import Context
from tools.declaration import Here, tool
from tools.registry import Registry

QUICK = Context(confirmation="template")
YES = frozenset({"approve", "approved", "accept", "yes", "y", "ok", "true", "yes!", "ja", "да"})
FIRST, SECOND = "id of the first", "id of the second"
"""Stand for the call ids, which are known only when the answer is given."""


@tool(effect="write")
def write_file(here: Here, path: str, content: str) -> str:
    """Leave a line for each write, with what was written."""
    with (here.settings.data_dir / "written").open("a") as file:
        file.write(json.dumps({"path": path, "content": content}) + "\n")
    return "wrote it"


KINDS = ["approve", "accept", "edit", "reject", "response", "ignore", "Approve", " approve ", "aprove"]
KEYS = ["type", "decisions", "tool_call_id", "args", "edited_action", "name", "message", "resume", "0" * 32]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from([*KINDS, *KEYS, "yes", "true", FIRST, SECOND]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)
ARGS = st.fixed_dictionaries(
    {},
    optional={
        "path": st.just("edited.txt") | ANYTHING,
        "content": st.text(max_size=5) | ANYTHING,
        "mode": st.just("w"),
    },
)
NAMES = st.sampled_from(["write_file", "delete_file", "Write_file", "", None, 7])
EDITS = st.fixed_dictionaries({}, optional={"name": NAMES, "action": NAMES, "args": ARGS, "arguments": ARGS})
NO_RULE = st.sampled_from([True, {}, {"where": {}}, {"where": {"path": "elsewhere*"}}, {"uses": 3}])
"""None of them can be remembered: what later threads are asked must not hang on it."""
DECISIONS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*KINDS, "edit", "yes", "", None, True, 1, ["approve"]]),
        "tool_call_id": st.sampled_from([FIRST, SECOND, "c9", "", None, 1]),
        "edited_action": EDITS | ANYTHING,
        "args": EDITS | ANYTHING,
        "message": ANYTHING,
        "remember": NO_RULE,
    },
)
WHOLE = st.sampled_from(
    [
        {"type": "approve"},
        {"type": "approve", "tool_call_id": SECOND},
        {"type": "edit", "edited_action": {"name": "write_file", "args": {"path": "e", "content": "f"}}},
        {"type": "edit", "args": {"action": "write_file", "args": {"path": 1, "content": "f"}}},
        {"type": "edit", "edited_action": {"name": "write_file", "args": {"path": "e"}}},
        {"type": "edit", "edited_action": {"name": "delete_file", "args": {"path": "e", "content": "f"}}},
        {"type": "reject", "message": "approve"},
    ]
)
LISTS = st.lists(DECISIONS | WHOLE, max_size=4) | st.lists(DECISIONS | ANYTHING, max_size=3)
OBJECTS = DECISIONS | LISTS | st.fixed_dictionaries({"decisions": LISTS | ANYTHING}) | ANYTHING


def _text(value: Any) -> str:
    return json.dumps(value, default=repr)


NEARLY = st.sampled_from(
    [
        {"type": "aprove"},
        {"type": "approve", "tool_call_id": "c9"},
        {"type": ["approve"]},
        {"type": "edit", "edited_action": {"name": "delete_file", "args": {"path": "e", "content": "f"}}},
        {"type": "edit", "edited_action": {"name": "write_file", "args": {"path": "e", "content": None}}},
        {"type": "edit", "edited_action": {"name": "write_file", "args": {"path": "e"}}},
        {"type": "edit", "edited_action": {"args": {"path": "e", "content": "f"}}},
        {"type": "approve", "remember": {"where": {}}},
        {"action": "approve"},
    ]
)
ANSWERS = st.one_of(
    NEARLY,
    WHOLE,
    st.lists(NEARLY | WHOLE, min_size=1, max_size=3),
    OBJECTS,
    OBJECTS.map(_text),
    OBJECTS.map(_text).map(_text),
    st.builds(lambda value, cut: _text(value)[:cut], OBJECTS, st.integers(0, 60)),
    st.sampled_from(["yes please", "YES!", "approve all", "1", "null", "on", "ja", "\ud800", "yes\0", "да"]),
    st.sampled_from([b"yes", ("approve",), (), Command(resume=True), {"resume": True}, {1: 2}, {"a": {1}}]),
    st.sampled_from(["[" * 100_000, "yes" * 100_000, [[]] * 5_000, {"decisions": [True] * 5_000}, 10**400]),
    st.integers(1, 400).map(lambda depth: json.loads('{"decisions": [' * depth + "]}" * depth)),
)


def consented(answer: Any, waiting: Sequence[Mapping[str, Any]], depth: int = 3) -> dict[str, dict[str, str]]:
    """Return, by call id, what a person has agreed to run with this answer, and with which arguments."""
    if isinstance(answer, str):
        word = answer.strip().lower()
        if word in YES:
            return consented(answer=True, waiting=waiting)
        try:
            return consented(json.loads(answer), waiting, depth - 1) if depth else {}
        except (ValueError, RecursionError):
            return {}
    if answer is True:
        return {call["tool_call_id"]: call["args"] for call in waiting}
    inner = answer.get("decisions", [answer]) if isinstance(answer, dict) else answer
    if not isinstance(inner, list | tuple) or not _fits(inner, len(waiting)):
        return {}
    agreed = {}
    for decision, call in zip(inner, waiting, strict=False):
        named = _named(decision, waiting, call)
        if named and (args := _agreed(decision, named)) is not None:
            agreed[named["tool_call_id"]] = args
    return agreed


def _fits(decisions: Sequence[Any], calls: int) -> bool:
    names_calls = all(isinstance(each, dict) and each.get("tool_call_id") is not None for each in decisions)
    return len(decisions) == calls or (len(decisions) < calls and names_calls)


def _named(decision: Any, waiting: Sequence[Mapping[str, Any]], in_order: Mapping[str, Any]) -> Any:
    if not isinstance(decision, dict):
        return None
    wanted = decision.get("tool_call_id")
    return in_order if wanted is None else next((c for c in waiting if c["tool_call_id"] == wanted), None)


def _agreed(decision: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, str] | None:
    kind = str(decision.get("type")).strip().lower()
    if decision.get("remember") is not None:
        return None  # none that is given here can be remembered
    if kind in {"approve", "accept"}:
        return call["args"]
    edit = decision.get("edited_action", decision.get("args"))
    if kind != "edit" or not isinstance(edit, dict) or edit.get("name", edit.get("action")) != "write_file":
        return None
    args = edit.get("args", edit.get("arguments"))
    if not isinstance(args, dict) or args.keys() != {"path", "content"}:
        return None
    whole = all(isinstance(v, str | int | float) and not isinstance(v, bool) for v in args.values())
    return {key: str(value) for key, value in args.items()} if whole else None


def _with_ids(answer: Any, ids: Sequence[str]) -> Any:
    """Put the real call ids where they were stood in for."""
    match answer:
        case str():
            return answer.replace(FIRST, ids[0]).replace(SECOND, ids[-1])
        case dict():
            return {_with_ids(key, ids): _with_ids(value, ids) for key, value in answer.items()}
        case list():
            return [_with_ids(value, ids) for value in answer]
        case _:
            return answer


Send = Callable[[str, Any], Awaitable[None]]


@dataclass
class Gate:
    """Threads that wait for two writes each, and the file that holds what was written."""

    orchestrator: Orchestrator
    send: Send
    written: Path
    threads: int = 0
    answers: int = 0
    malformed: int = 0
    """Answers that decided nothing."""
    consents: int = 0
    """Answers that, whole after all, let a call run."""

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.written.read_text().splitlines()]

    async def waiting(self, thread: str) -> list[Any]:
        pending = (await self.orchestrator.result(thread)).pending
        return pending["action_requests"] if pending else []

    async def check(self, answers: Sequence[Any]) -> None:
        """Give the answers to a new thread, one after the other, and then the right one."""
        self.threads += 1
        thread, before = str(self.threads), len(self.lines())
        text = f'write "x" to {thread}a.txt and write "y" to {thread}b.txt'
        await self.orchestrator.ask(text, thread_id=thread, context=QUICK)
        asked = await self.waiting(thread)
        agreed: dict[str, list[dict[str, str]]] = {action["tool_call_id"]: [] for action in asked}
        for raw in answers:
            if not (open_ := await self.waiting(thread)):
                break
            answer = _with_ids(raw, [action["tool_call_id"] for action in open_])
            await self.send(thread, answer)
            self.answers += 1
            agrees = consented(answer, open_)
            left = [action["tool_call_id"] for action in await self.waiting(thread)]
            self.malformed += len(left) == len(open_) and agrees.keys() <= {*left}
            self.consents += bool(agrees) and agrees.keys().isdisjoint(left)
            for call_id, args in agrees.items():
                agreed[call_id].append(args)
        assert not await self.waiting(thread) or len(self.lines()) == before
        while left := await self.waiting(thread):
            for call_id, args in consented(answer=True, waiting=left).items():
                agreed[call_id].append(args)
            await self.send(thread, {"decisions": [{"type": "approve"}] * len(left)})
        await self._check_ended(thread, agreed, before)

    async def _check_ended(self, thread: str, agreed: Mapping[str, Any], before: int) -> None:
        result = await self.orchestrator.result(thread)
        assert result.stop_reason == "answered"
        executed = [call for call in result.tool_calls if call["status"] == "executed"]
        for call in executed:
            assert call["args"] in agreed[call["call_id"]]
        assert _sorted(call["args"] for call in executed) == _sorted(self.lines()[before:])


def _sorted(values: Iterable[Any]) -> list[str]:
    return sorted(json.dumps(value, sort_keys=True) for value in values)


@asynccontextmanager
async def _gate(home: Any, way: str) -> Any:
    res = await home.resources()
    res = replace(res, tools=Registry([write_file]))
    orchestrator = Orchestrator(res, InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None)))

    async def resume(thread: str, answer: Any) -> None:
        asked = (await orchestrator.result(thread)).pending["action_requests"]
        pending = (await orchestrator.resume(thread, answer)).pending
        is_next = len(asked) == 1 and pending is not None and pending["action_requests"] != asked
        assert pending is None or pending.get("problem") or is_next

    async def invoke(thread: str, answer: Any) -> None:
        with suppress(TypeError, UnboundLocalError, ValueError, RecursionError):
            # The platform has no way to keep some values: such an answer never reaches the thread.
            await orchestrator.graph.ainvoke(Command(resume=answer), orchestrator.config(thread))

    written = home.data / "written"
    written.touch()
    yield Gate(orchestrator, {"resume": resume, "ainvoke": invoke}[way], written)
    await res.ledger.close()


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.parametrize("way", [pytest.param("resume", marks=pytest.mark.prove(sampled=False)), "ainvoke"])
def test_1000_malformed_answers_run_nothing_without_consent_and_every_thread_stays_answerable(
    home, way, proving, tell
):
    with asyncio.Runner() as loop:
        opened = _gate(home, way)
        gate: Gate = loop.run(opened.__aenter__())

        @settings(
            max_examples=250 if proving else 25,
            database=None,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(ANSWERS, min_size=6, max_size=12))
        def check(answers: list[Any]) -> None:
            loop.run(gate.check(answers))

        check()
        loop.run(opened.__aexit__(None, None, None))
    assert gate.malformed >= (1_000 if proving else 100)
    assert gate.consents
    tell(
        f"by {way}: {gate.malformed:,} malformed answers among {gate.answers:,} on {gate.threads} threads: "
        f"0 calls without consent ({gate.consents} answers were consent), 0 threads stuck"
    )
