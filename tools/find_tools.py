"""Search of tools by words, where too many to show them all."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from base.texts import FILLERS, terms_of
from tools.declaration import Here, Tool, Untrusted, tool

_MOST_FOUND = 8
_LEAST_FIT = 4
"""How many times better the best may fit than the last that is found."""
_IN_THE_NAME = 3
"""How much more a word weighs in a name than in a description."""


# A guest finds what a guest may use.
@tool(effect="read", label="Look for tools", role="guest")
async def find_tools(
    here: Here, query: Annotated[str, "what the tool should do, in a few English words"]
) -> str:
    """Find more tools: not all there are is shown. What is found can be called from the next round on."""
    found = matching(here.offered(), query)
    if not found:
        return f"No tool matches {query!r}. Try other words for what it should do."
    lines = [f"{each.name}: {each.description.strip().partition(chr(10))[0]}" for each in found]
    told = "\n".join(["You can now call:", *lines])
    return Untrusted(told) if any(each.untrusted_definition for each in found) else told


def matching(tools: Sequence[Tool], query: str) -> list[Tool]:
    """Return the tools that fit a query best, the best first."""
    scored = [pair for pair in _scored(tools, query) if pair[1] is not find_tools]
    return [tool for score, tool in scored[:_MOST_FOUND] if score * _LEAST_FIT >= scored[0][0]]


def ranked(tools: Sequence[Tool], text: str) -> list[Tool]:
    """Return the tools that share words with a text, the best first."""
    return [tool for _, tool in _scored(tools, text)]


def _scored(tools: Sequence[Tool], text: str) -> list[tuple[float, Tool]]:
    """Return the tools that fit a text with their scores, best first.

    A word counts the more the fewer tools have it.
    """
    wanted = _words(text, sought=True)
    shared = [
        dict.fromkeys(wanted & _words(tool.description), 1)
        | dict.fromkeys(wanted & _words(tool.name), _IN_THE_NAME)
        for tool in tools
    ]
    spread = Counter(word for words in shared for word in words)
    scores = [sum(weight / spread[word] for word, weight in words.items()) for words in shared]
    fitting = [(score, tool) for score, tool in zip(scores, tools, strict=True) if score]
    return sorted(fitting, key=lambda pair: -pair[0])


def _words(text: str, *, sought: bool = False) -> frozenset[str]:
    """Return a text's words without English endings; `listEvents` has two."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    words = terms_of(parted, sought=sought) - FILLERS
    stems = (re.sub(r"(?<=\w{3})(ing|ed|s)$", "", word) for word in words)
    return frozenset(re.sub(r"(?<=\w{4})e$", "", stem) for stem in stems)


TOOLS = (find_tools,)
