"""Every tool there is, by name."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from base.environment import where
from base.errors import ConfigurationError, UnknownToolError
from base.settings import Settings
from base.texts import name_key
from base.users import Role
from ledger.records import fingerprint
from tools import (
    calculator,
    clock,
    command,
    find_tools,
    memory,
    notify,
    read_result,
    schedule,
    search_conversations,
)
from tools.calendar import tools as calendar
from tools.declaration import Tool
from tools.files import tools as files
from tools.mail import drafts, inbox
from tools.mail import tools as mail
from tools.skills import tools as skills
from tools.web import http_request
from tools.web import tools as web


class Registry:
    """An unchanging set of tools, in the order they were declared.

    Raises:
        ConfigurationError: two tools bear one name.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise ConfigurationError(f"Two tools are named {tool.name!r}; rename one of them.")
            self._tools[tool.name] = tool

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def get(self, name: str) -> Tool | None:
        """Return the tool of exactly that name."""
        return self._tools.get(name)

    def find(self, name: str) -> Tool | None:
        """Return it, else the only one alike but for case and separators."""
        if name in self._tools:
            return self._tools[name]
        alike = [tool for tool in self if name_key(tool.name) == name_key(name)]
        return alike[0] if len(alike) == 1 else None

    def label(self, name: str) -> str:
        """Return what a person reads for a tool's name."""
        tool = self.find(name)
        return (tool.label if tool else "") or name

    def fingerprint(self, name: str, args: Mapping[str, Any]) -> str:
        """Return what is the same for calls that a tool takes alike."""
        tool = self.find(name)
        return tool.fingerprint(args) if tool else fingerprint(name, args)

    @cached_property
    def specs(self) -> Mapping[str, dict[str, Any]]:
        """Each tool in OpenAI's format, shared by all requests: read-only."""
        return {tool.name: tool.spec() for tool in self}

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Characters of each tool's spec, as JSON in its own list."""
        return {name: len(json.dumps([spec], ensure_ascii=False)) for name, spec in self.specs.items()}

    def offered(self, role: Role, allow: Collection[str] | None, settings: Settings) -> list[Tool]:
        """Return the tools available to a role and allow-list (None: all)."""
        allowed = (tool for tool in self if tool.open_to(role) and (allow is None or tool.name in allow))
        return [tool for tool in allowed if tool.missing(settings) is None]

    def require(self, names: Iterable[str]) -> None:
        """Check that each name is a tool's.

        Raises:
            UnknownToolError: one is not; the message names the tools there are.
        """
        unknown = [name for name in names if name not in self._tools]
        if unknown:
            raise UnknownToolError(
                f"Unknown {'tools' if len(unknown) > 1 else 'tool'} {', '.join(map(repr, unknown))}. "
                f"Tools there are: {', '.join(sorted(self._tools))}."
            )


def open_registry(settings: Settings) -> Registry:
    """Return the tools of this installation.

    A new family is one file and one line here.

    Raises:
        ConfigurationError: two tools bear one name, or a `[tools.NAME]` table is not as its family expects.
    """
    registry = Registry(
        [
            *clock.TOOLS,
            *calculator.TOOLS,
            *files.tools(settings),
            *web.TOOLS,
            *http_request.TOOLS,
            *memory.TOOLS,
            *schedule.TOOLS,
            *search_conversations.TOOLS,
            *skills.TOOLS,
            *command.tools(settings),
            *mail.TOOLS,
            *inbox.TOOLS,
            *drafts.TOOLS,
            *notify.TOOLS,
            *calendar.tools(settings),
            *read_result.TOOLS,
            *find_tools.TOOLS,
        ]
    )
    for user, card in settings.users.items():
        unknown = [name for name in card.tools or () if name not in registry]
        if unknown and not settings.mcp:  # whose tools are known once its servers are asked
            place = where(settings.source, ("users", user, "tools"))
            raise UnknownToolError(f"{place}: there is no tool {unknown[0]!r}; `twobrain tools` lists them.")
    for tool in registry:
        tool.missing(settings)  # reads its table: what cannot be used fails now, not within a turn
    return registry
