import asyncio
import hashlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

import openai
import pytest
import uvicorn
from fastapi import FastAPI

from base.settings import load_settings
from graphs.session import shared_orchestrator
from nodes.resources import open_resources, open_steps, share, shared
from server.app import app
from tests.behaviour.household import House

TOKENS = {name: f"token-of-{name}-6214" for name in ("alice", "bob", "kid", "mum")}
PEOPLE = "".join(
    f'[users.{name}]\nrole = "{role}"\ntoken_sha256 = "{hashlib.sha256(TOKENS[name].encode()).hexdigest()}"\n'
    for name, role in {"alice": "admin", "bob": "user", "mum": "admin", "kid": "user"}.items()
)
PEOPLE += 'approvers = ["mum"]\n'


@dataclass
class Door:
    """Our app without an engine around it, over HTTP in this process."""

    url: str
    house: House
    clients: ExitStack

    def client(self, name: str = "alice", **options) -> openai.OpenAI:
        """Return OpenAI's own client, as this user."""
        options = {"api_key": TOKENS[name], "max_retries": 0, "timeout": 60, **options}
        return self.clients.enter_context(openai.OpenAI(base_url=f"{self.url}/v1", **options))


@contextmanager
def serving(house: House) -> Iterator[Door]:
    before, opened = shared[:], threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    @asynccontextmanager
    async def life(served: FastAPI) -> AsyncIterator[None]:
        res = await open_resources(await asyncio.to_thread(load_settings, house.environ))
        try:
            async with open_steps(res) as saver:
                share(replace(res, checkpoints=saver))
                async with shared_orchestrator() as served.state.orchestrator:
                    opened.set()
                    yield
        finally:
            await res.close()

    served = FastAPI(lifespan=life, middleware=app.user_middleware, openapi_url=None)
    served.router.routes = app.router.routes
    server = uvicorn.Server(uvicorn.Config(served, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        assert opened.wait(60)
        port = listening.getsockname()[1]
        with ExitStack() as clients:
            yield Door(f"http://127.0.0.1:{port}", house, clients)
    finally:
        server.should_exit = True
        thread.join()
        shared[:] = before


@pytest.fixture
def serve() -> Iterator[Callable[[House], Door]]:
    with ExitStack() as served:
        yield lambda house: served.enter_context(serving(house))


@pytest.fixture
def door(settle, bell, serve) -> Door:
    """Return a door with people, whose brains do as the request says."""
    return serve(settle(more=PEOPLE))
