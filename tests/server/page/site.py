"""The page over real HTTP in this process, and a browser's part of it."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
import uvicorn
from fastapi import FastAPI

from base.settings import load_settings
from graphs.session import Orchestrator, open_orchestrator, shared_orchestrator
from nodes.resources import open_resources, open_steps, share, shared
from server.app import app
from server.page.page import open_page

LAST = {"done", "failed"}


@contextmanager
def served(environ: Mapping[str, str]) -> Iterator[str]:
    """Serve our app over HTTP in this process, without an engine around it; yield its address."""
    before, opened = shared[:], threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    @asynccontextmanager
    async def life(serving: FastAPI) -> AsyncIterator[None]:
        res = await open_resources(await asyncio.to_thread(load_settings, environ))
        try:
            async with open_steps(res) as saver:
                share(res := replace(res, checkpoints=saver))
                async with shared_orchestrator() as orchestrator, open_page(res, orchestrator) as page:
                    serving.state.orchestrator, serving.state.page = orchestrator, page
                    opened.set()
                    yield
        finally:
            await res.close()

    serving = FastAPI(lifespan=life, middleware=app.user_middleware, openapi_url=None)
    serving.router.routes = app.router.routes
    server = uvicorn.Server(uvicorn.Config(serving, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        assert opened.wait(60)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        shared[:] = before


class Site:
    """The page on a data directory; it can be ended and started again."""

    def __init__(self, folder: Path, config: str) -> None:
        self.data_dir = folder / "data"
        self.workspace = self.data_dir / "workspace"
        self.config = folder / "twobrain.toml"
        self.config.write_text(config)
        self.url = ""
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve it on a port of its own."""
        self.url = self._running.enter_context(served(self.environ))

    def stop(self) -> None:
        """End it as a server is ended; again is harmless."""
        self._running.close()

    @property
    def environ(self) -> dict[str, str]:
        return {"TWOBRAIN_DATA_DIR": str(self.data_dir), "TWOBRAIN_CONFIG": str(self.config)}

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[Orchestrator]:
        """Open what the terminal opens, on the same data."""
        async with open_orchestrator(await asyncio.to_thread(load_settings, self.environ)) as orchestrator:
            yield orchestrator


class Visitor:
    """One browser: its cookies, and what the page asks for."""

    def __init__(self, site: Site, **headers: str) -> None:
        self.site = site
        self.http = httpx.Client(base_url=site.url, headers=headers, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request to the page's own routes."""
        return self.http.request(method, f"/app/api/{path}", **options)

    def get(self, path: str, **params: Any) -> Any:
        """Return what a route tells."""
        answer = self.call("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sign_in(self, token: str) -> httpx.Response:
        return self.call("POST", "session", json={"token": token})

    def begin(self, text: str, **options: Any) -> str:
        """Begin a conversation; return its id."""
        answer = self.call("POST", "conversations", json={"text": text, **options})
        assert answer.status_code == 202, answer.text
        found: str = answer.json()["id"]
        return found

    def say(self, thread: str, text: str) -> httpx.Response:
        return self.call("POST", f"{place_of(thread)}/turns", json={"text": text})

    def ask(self, text: str, **options: Any) -> tuple[str, dict[str, Any]]:
        """Begin a conversation and hear its turn; return its id and the last event."""
        thread = self.begin(text, **options)
        return thread, self.hear(thread)[-1]

    def wait_for(self, text: str) -> tuple[str, dict[str, Any]]:
        """Begin a conversation whose call waits; return its id, and the entry of what waits."""
        thread, _ = self.ask(text)
        [entry] = [each for each in self.get("waiting") if each["id"] == thread]
        return thread, entry

    def answer(self, entry: dict[str, Any], kind: str = "approve", **more: Any) -> httpx.Response:
        """Answer all that an entry of what waits asks."""
        decisions = [
            {"type": kind, "tool_call_id": action["tool_call_id"], **more}
            for action in entry["request"]["action_requests"]
        ]
        body = {"question": entry["question"], "decisions": decisions}
        return self.call("POST", f"{place_of(entry['id'])}/answer", json=body)

    def hear(self, thread: str, **headers: str) -> list[dict[str, Any]]:
        """Return a turn's events, to its end."""
        with self.listening(thread, **headers) as events:
            return [event for _, event in events]

    @contextmanager
    def listening(self, thread: str, **headers: str) -> Iterator[Iterator[tuple[int | None, Any]]]:
        """Listen to a turn: ids and events, up to its last."""
        with self.stream(f"{place_of(thread)}/events", **headers) as events:
            yield _to_the_last(events)

    @contextmanager
    def stream(self, path: str, **headers: str) -> Iterator[Iterator[tuple[int | None, Any]]]:
        with self.http.stream("GET", f"/app/api/{path}", headers=headers) as answer:
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield _events(answer.iter_lines())


def place_of(thread: str) -> str:
    return f"conversations/{quote(thread, safe='')}"


def _events(lines: Iterator[str]) -> Iterator[tuple[int | None, Any]]:
    number = None
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            number = int(value)
        elif name == "data":
            yield number, json.loads(value)
            number = None


def _to_the_last(events: Iterator[tuple[int | None, Any]]) -> Iterator[tuple[int | None, Any]]:
    for number, event in events:
        yield number, event
        if event["event"] in LAST:
            return
