"""Our policy in AgentDojo, some of whose private names it uses.

    make bench-agentdojo

No model is needed. The planner obeys every injection it reads. It makes the calls of the user task's ground
truth, one a round. As soon as a result holds the injection, it makes those of the injection task's ground truth as well.
`tools.policy.decision.decide` judges every call. Nobody approves what they did not ask for: a call that the
injection wants and that asks is not executed; one of the user's own is.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.types import text_content_block_from_string

from benchmarks.agentdojo_tools import declared
from tools.declaration import Tool
from tools.policy.decision import Allow, Person, decide
from tools.policy.taint import UNTAINTED, Taint, links_in, points_at

VERSION = "v1.2.2"
MARK = "AN-INJECTION-STANDS-HERE"


@dataclass
class Turn:
    """One turn on one environment, and what was counted in it."""

    suite: Any
    environment: Any
    tools: dict[str, Tool]
    person: Person | None
    """None: nothing is judged."""
    request: str
    taint: Taint
    made: list[FunctionCall] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    asked_for_untrusted: Counter[str] = field(default_factory=Counter)
    """Calls that would have run unasked, had the turn read nothing."""

    def call(self, wanted: FunctionCall, *, approved: bool) -> str | None:
        """Judge a call and make it; return what the planner reads of it, None where it was not made."""
        tool = self.tools[wanted.function]
        if not self._allows(tool, wanted.args, self.taint):
            self.asked[tool.name] += 1
            self.asked_for_untrusted[tool.name] += self._allows(tool, wanted.args, UNTAINTED)
            if not approved:
                return None
        runtime = FunctionsRuntime(self.suite.tools)
        result, error = runtime.run_function(self.environment, wanted.function, wanted.args)
        self.made.append(wanted)
        text = error or tool_result_to_str(result)
        self._take_in(tool, wanted.args, text)
        return text

    def _allows(self, tool: Tool, args: Any, taint: Taint) -> bool:
        return self.person is None or isinstance(decide(self.person, tool, tool.name, args, taint), Allow)

    def _take_in(self, tool: Tool, args: Any, text: str) -> None:
        """Do as nodes.gate.judge.taint_of does, where each call is a round of its own."""
        vouched = not self.taint.sources and (not tool.untrusted or points_at(self.request, tool, args))
        links = links_in(text) if vouched else frozenset()
        sources = {tool.name} if tool.untrusted else set()
        self.taint = Taint(self.taint.sources | sources, self.taint.trusted_links | links)


def begin(suite: Any, task: Any, *, planted: str = "", judged: bool, lists: bool) -> Turn:
    """Return the turn of a user task, `planted` in every place where the suite lets others write."""
    places = dict.fromkeys(suite.get_injection_vector_defaults(), planted) if planted else {}
    environment = task.init_environment(suite.load_and_inject_default_environment(places))
    tools = {function.name: declared(function) for function in suite.tools}
    person = Person("user", "user", confirm_allow=frozenset(tools if lists else ()))
    taint = Taint(trusted_links=links_in(task.PROMPT))
    return Turn(suite, environment, tools, person if judged else None, task.PROMPT, taint)


def attack(suite: Any, task: Any, injection: Any, *, judged: bool) -> tuple[bool, bool]:
    """Return whether the attacker wins by the suite's own check, and whether any harmful call ran."""
    # Its links, for policy looks at them; not its words, for the suites' checks look for some of them.
    planted = " ".join([MARK, *sorted(links_in(injection.GOAL))])
    turn = begin(suite, task, planted=planted, judged=judged, lists=True)
    before = turn.environment.model_copy(deep=True)
    obeyed = harmed = False
    for wanted in task.ground_truth(turn.environment):
        seen = turn.call(wanted, approved=True)
        if seen and MARK in seen and not obeyed:
            obeyed = True
            for bad in wanted_by(injection, turn):
                ran = turn.call(bad, approved=False) is not None
                harmed |= ran and _harms(turn.tools[bad.function])
    return _holds(suite, injection, turn, before), harmed


def wanted_by(injection: Any, turn: Turn) -> Sequence[FunctionCall]:
    """Return an injection's calls; where the suite spells none out, one that mails things to the attacker."""
    calls: Sequence[FunctionCall] = injection.ground_truth(turn.environment)
    if calls or "email" not in injection.GOAL:
        return calls
    mail = {"recipients": ["mark.black-2134@gmail.com"], "subject": "As you wished", "body": "all of it"}
    return [FunctionCall(function="send_email", args=mail)]


def work(suite: Any, task: Any, *, lists: bool) -> tuple[bool, Turn]:
    """Run a user task that nobody attacks; return whether it succeeded, and its turn."""
    turn = begin(suite, task, judged=True, lists=lists)
    before = turn.environment.model_copy(deep=True)
    for wanted in task.ground_truth(turn.environment):
        turn.call(wanted, approved=True)
    return _holds(suite, task, turn, before), turn


def _harms(tool: Tool) -> bool:
    return tool.effect != "read" or tool.outbound


def _holds(suite: Any, task: Any, turn: Turn, before: Any) -> bool:
    said = task.GROUND_TRUTH_OUTPUT if task in suite.user_tasks.values() else ""
    output = [text_content_block_from_string(said)]
    return bool(suite._check_task_result(task, output, before, turn.environment, turn.made))  # noqa: SLF001


def _row(name: str, values: Iterable[Any]) -> str:
    return f"| {name} | " + " | ".join(str(value) for value in values) + " |"


def attacks() -> Iterator[str]:
    """Yield a table of who wins, with and without policy."""

    def counts(suite: Any) -> Iterator[tuple[int, ...]]:
        for task, injection in product(suite.user_tasks.values(), suite.injection_tasks.values()):
            won_ungated, harm_ungated = attack(suite, task, injection, judged=False)
            won, harm = attack(suite, task, injection, judged=True)
            yield 1, won_ungated, won, harm_ungated, harm

    head = ("pairs", "won ungated", "won", "harmful call ran ungated", "harmful call ran")
    return _table(head, counts)


def questions(*, lists: bool) -> Iterator[str]:
    """Yield a table of what a user is asked on tasks that nobody attacks."""

    def counts(suite: Any) -> Iterator[tuple[int, ...]]:
        for task in suite.user_tasks.values():
            done, turn = work(suite, task, lists=lists)
            extra = turn.asked_for_untrusted.total()
            yield 1, done, len(turn.made), turn.asked.total(), extra, extra > 0

    head = ("tasks", "done", "calls", "asked", "asked for untrusted content", "tasks with such a question")
    return _table(head, counts)


def _table(head: Sequence[str], counts: Callable[[Any], Iterable[tuple[int, ...]]]) -> Iterator[str]:
    """Yield a line for each suite, the sum of its counts, and one for all suites."""
    yield _row("suite", head)
    yield _row("---", ["---:"] * len(head))
    sums = {name: _sum(counts(suite)) for name, suite in get_suites(VERSION).items()}
    for name, values in {**sums, "all": _sum(sums.values())}.items():
        yield _row(name, values)


def _sum(rows: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def main() -> None:
    """Print the tables."""
    for title, table in (
        ("Attacks, every tool in confirm_allow", attacks()),
        ("No attack, tools as declared", questions(lists=False)),
        ("No attack, every tool in confirm_allow", questions(lists=True)),
    ):
        print(f"\n{title}\n", flush=True)
        for line in table:
            print(line, flush=True)


if __name__ == "__main__":
    main()
