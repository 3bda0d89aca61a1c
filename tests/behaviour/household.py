"""A house with its models at the wires, and brains that do as the request says."""

import json
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from base.settings import load_settings
from graphs.session import Orchestrator, open_orchestrator
from nodes.context import Context
from tests.wires.brain import Call, Heard, Kind, Reply
from tests.wires.serve import Wire
from tools.declaration import Here, tool

LAYOUTS: Mapping[str, tuple[Kind, ...]] = {
    "gemini+anthropic": ("gemini", "anthropic"),
    "openai+gemini": ("openai", "gemini"),
    "anthropic+openai": ("anthropic", "openai"),
    "gemini": ("gemini",),
    "openai": ("openai",),
    "anthropic": ("anthropic",),
}
"""The wires of planner and writer on the two-brain path; of the one model on the single path."""


def obedient(heard: Heard) -> Reply:
    """Make the calls that the request spells out, then tell what came back.

    `read_file {"path": "a"} & get_time {} then list_files {}`: two calls in one round, one in the next.
    """
    last = max((i for i, turn in enumerate(heard.turns) if turn.role == "user"), default=-1)
    done = sum(turn.role == "tool" for turn in heard.turns[last + 1 :])
    counts = {"input_tokens": 100 + 10 * len(heard.turns) + len(heard.tools), "output_tokens": 20 + done}
    counts |= {"cached_tokens": 40 + done, "reasoning_tokens": 10 + done}
    rounds = [calls for part in heard.request.split(" then ") if (calls := _calls(part))]
    if heard.tools and done < len(rounds):
        return Reply(text="One moment.", calls=rounds[done], **counts)
    if heard.results:
        return Reply(text="Found: " + " ".join(result.text for result in heard.results), **counts)
    return Reply(text=f"Answer to: {heard.request}", **counts)


def _calls(part: str) -> tuple[Call, ...]:
    spelled = (re.fullmatch(r"\s*(\w+) (\{.*\})\s*", text, re.DOTALL) for text in part.split(" & "))
    return tuple(Call(found[1], json.loads(found[2])) for found in spelled if found)


@tool(effect="write")
def ring_bell(here: Here, times: Annotated[int, "how often"], room: Annotated[str, "where"] = "hall") -> str:
    """Ring the bell of a room."""
    here.settings.workspace.mkdir(parents=True, exist_ok=True)
    with (here.settings.workspace / "bell.log").open("a") as log:
        log.write(f"{times} {room}\n")
    return f"Rang {times} times in the {room}."


@dataclass(frozen=True)
class House:
    """A folder, the wires of its models by name, and what its process would find in the environment."""

    folder: Path
    wires: Mapping[str, Wire]
    environ: Mapping[str, str]

    def open(self) -> AbstractAsyncContextManager[Orchestrator]:
        return open_orchestrator(load_settings(self.environ))

    @property
    def workspace(self) -> Path:
        return self.folder / "data" / "workspace"

    @property
    def planner(self) -> Wire:
        return self.wires["planner"]

    @property
    def writer(self) -> Wire:
        """The wire that the answer comes from: the planner's own on the single path."""
        return self.wires.get("writer", self.planner)

    def context(self, **choices: Any) -> Context:
        """Return the context that takes this house's path, with further choices."""
        path = "two-brain" if "writer" in self.wires else "single"
        return Context(**{"path": path, "user_role": "admin", **choices})

    def rung(self) -> list[str]:
        """Return how often the bell really rang, and where."""
        log = self.workspace / "bell.log"
        return log.read_text().splitlines() if log.exists() else []

    def stored(self) -> list[Path]:
        """Return the files of the long results that are stored."""
        return [path for path in (self.folder / "data" / "artifacts").rglob("*") if path.is_file()]

    def rejected(self) -> list[str]:
        """Return every request that a provider would have refused."""
        return [reason for wire in self.wires.values() for reason in wire.rejected]
