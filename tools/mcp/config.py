"""The `[mcp.servers.NAME]` tables: servers, their timeouts, how far each is trusted."""

import re
from collections.abc import Mapping
from typing import Self

from pydantic import Field, field_validator, model_validator

from base.settings import Card, Settings
from base.users import Role
from tools.declaration import Effect
from tools.web.guard import read_url

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


class ToolCard(Card):
    """One `[mcp.servers.NAME.tools.TOOL]` table. None: as the server's table says."""

    label: str = Field(default="", max_length=60)
    """What people read in a terminal; empty: its name."""
    role: Role | None = None
    """The least trusted role that may use it."""
    confirm: bool | None = None
    """False: it runs unasked, whatever it says of itself, until its definition changes."""
    effect: Effect | None = None
    """read, write, send or execute."""
    outbound: bool | None = None
    """False: what it is given stays with it."""
    at_once: int | None = Field(default=None, ge=1)
    """Its calls at work at once in this process; None: no limit of its own."""
    enabled: bool = True
    """False: it is not offered."""


class ServerCard(Card):
    """One `[mcp.servers.NAME]` table: a program to start, or a URL."""

    command: str | None = Field(default=None, min_length=1)
    """The program, spoken to over its input and output."""
    args: tuple[str, ...] = ()
    """The program's arguments."""
    env_from: tuple[str, ...] = ()
    """Names of the environment variables that the program gets, besides PATH, HOME and the like."""
    cwd: str | None = None
    """The folder it is started in; None: ours."""
    url: str | None = None
    """Where a server speaks streamable HTTP."""
    headers_env: Mapping[str, str] = {}
    """HTTP header to the environment variable that holds its whole value, such as `Bearer …`."""
    timeout_s: float = Field(default=60, gt=0, le=3_600)
    """Seconds a call may take."""
    connect_timeout_s: float = Field(default=10, gt=0, le=300)
    """Seconds it may take to start and to list its tools; a turn goes on without it after that."""
    role: Role = "user"
    """The least trusted role that may use its tools."""
    confirm: bool = True
    """False: its tools run unasked, but those that call themselves destructive, that are new or changed."""
    effect: Effect = "write"
    """What its tools do; those that call themselves destructive do at least write."""
    trusted: bool = False
    """True: what it says of its tools, as they are first met, is yours: it makes no other call ask."""
    outbound: bool = True
    """False: what its tools are given stays with them; True: a call of theirs may carry it to strangers."""
    tools: Mapping[str, ToolCard] = {}
    """What holds for single tools, by the server's own names for them."""

    @field_validator("url")
    @classmethod
    def _is_a_web_address(cls, url: str | None) -> str | None:
        if url is not None:
            read_url(url)
        return url

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("name either a command or a url")
        idle = {"args", "env_from", "cwd"} if self.url else {"headers_env"}
        if given := sorted(idle & self.model_fields_set):
            raise ValueError(f"{given[0]} is of no use with {'a url' if self.url else 'a command'}")
        return self


class _Servers(Card):
    servers: Mapping[str, ServerCard] = {}

    @field_validator("servers")
    @classmethod
    def _are_well_named(cls, servers: Mapping[str, ServerCard]) -> Mapping[str, ServerCard]:
        for name in servers:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a server: up to 32 letters, digits, - and _")
        return servers


def read_servers(settings: Settings) -> Mapping[str, ServerCard]:
    """Return the configured servers by name.

    Raises:
        ConfigurationError: a table is not as it should be; the message names file and line.
    """
    return (settings.read_table(("mcp",), _Servers) or _Servers()).servers
