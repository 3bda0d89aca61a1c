import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import openai
import pytest

from tests.behaviour.household import House
from tests.server.page.site import served

TOKENS = {name: f"token-of-{name}-6214" for name in ("alice", "bob", "tim", "kid", "mum")}
PEOPLE = "".join(
    f'[users.{name}]\nrole = "{role}"\ntoken_sha256 = "{hashlib.sha256(TOKENS[name].encode()).hexdigest()}"\n'
    for name, role in {"alice": "admin", "bob": "user", "mum": "admin", "tim": "guest", "kid": "user"}.items()
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
    with served(house.environ) as url, ExitStack() as clients:
        yield Door(url, house, clients)


@pytest.fixture
def serve() -> Iterator[Callable[[House], Door]]:
    with ExitStack() as served:
        yield lambda house: served.enter_context(serving(house))


@pytest.fixture
def door(settle, bell, serve) -> Door:
    """Return a door with people, whose brains do as the request says."""
    return serve(settle(more=PEOPLE))
