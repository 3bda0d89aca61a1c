"""A person with files, memories and a calendar, whose assistant does what it is told."""

import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from base.settings import load_settings
from graphs.session import Orchestrator, open_orchestrator
from nodes.context import Context
from tests.tools.loopback import open_calendars

ALLOW = ["write_file", "delete_file", "add_event", "remember", "forget"]
MKCALENDAR = '<c:mkcalendar xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"/>'


@dataclass
class Place:
    """All that outlives a process, and the calendar's own side."""

    folder: Path
    calendar: httpx.Client | None = None
    environ: dict[str, str] = field(default_factory=dict)
    users: str = ""

    @property
    def workspace(self) -> Path:
        return self.folder / "data" / "workspace"

    def open(self) -> AbstractAsyncContextManager[Orchestrator]:
        toml = self.folder / "twobrain.toml"
        table = ""
        if self.calendar:
            url = self.calendar.base_url
            table = f'[tools.calendar]\nurl = "{url}"\nuser = "ada"\npassword_env = "CALENDAR_PASSWORD"\n'
        toml.write_text(table + self.users)
        own = {
            "TWOBRAIN_CONFIG": str(toml),
            "TWOBRAIN_DATA_DIR": str(self.folder / "data"),
            "CALENDAR_PASSWORD": "swordfish",
            "PATH": "/nowhere",
        }
        return open_orchestrator(load_settings({**own, **self.environ}))

    def events(self) -> dict[str, str]:
        """Return the events of the calendar, by file name."""
        assert self.calendar
        listed = self.calendar.request("PROPFIND", "home/", headers={"Depth": "1"}).text
        names = {
            part.split(".ics")[0].rsplit("/", 1)[-1] for part in listed.split("<href>") if ".ics" in part
        }
        return {name: self.calendar.get(f"home/{name}.ics").text for name in names}


async def did(
    orchestrator: Orchestrator, tool: str, *, thread: str = "t", user: str | None = None, **args: Any
) -> str:
    """Let the assistant make a call; return its id."""
    choices = {"confirm_allow": ALLOW, "confirmation": "template", **({"user": user} if user else {})}
    text = f"use {tool} {json.dumps(args)}"
    result = await orchestrator.ask(text, thread_id=thread, context=Context(**choices))
    if result.pending:
        by = {"user": "alice"} if user else {}
        result = await orchestrator.resume(thread, answer=True, context=Context(**by))
    assert [call["status"] for call in result.tool_calls] == ["executed"], result.tool_calls
    return str(result.tool_calls[0]["call_id"])


@contextmanager
def calendars(folder: Path) -> Iterator[httpx.Client]:
    with (
        open_calendars(folder / "calendars", "ada") as url,
        httpx.Client(base_url=f"{url}/ada/", auth=("ada", "swordfish"), trust_env=False) as client,
    ):
        assert client.request("MKCALENDAR", "home/", content=MKCALENDAR).status_code == 201
        yield client


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def dated(tmp_path: Path) -> Iterator[Place]:
    """Return a place with a calendar."""
    with calendars(tmp_path) as client:
        yield Place(tmp_path, client)
