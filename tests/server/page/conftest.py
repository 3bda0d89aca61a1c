import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.page.site import Site, Visitor

TOKENS = {name: f"token-of-{name}-5831" for name in ("alice", "bob", "kid", "dora", "tim")}
ROLES = {"alice": "admin", "bob": "user", "kid": "user", "dora": "admin", "tim": "guest"}
PEOPLE = """
[models.planner]
provider = "offline"
model = "planner"
[models.writer]
provider = "offline"
model = "writer"
[roles]
orchestrator = ["planner"]
chat = ["writer"]
[tools.run_command]
enabled = true
""" + "".join(
    f'[users.{name}]\nrole = "{role}"\ntoken_sha256 = "{hashlib.sha256(TOKENS[name].encode()).hexdigest()}"\n'
    + {"kid": 'approvers = ["alice"]\n', "dora": 'confirm_allow = ["run_command"]\n'}.get(name, "")
    for name, role in ROLES.items()
)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the page, served over HTTP in this process; its users have tokens."""
    with Site(tmp_path_factory.mktemp("site"), PEOPLE) as site:
        yield site


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """Return a page of the test's own, which it may end and start again."""
    with Site(tmp_path, PEOPLE) as site:
        yield site


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a page where nobody needs a token."""
    with Site(tmp_path_factory.mktemp("open"), PEOPLE.partition("[users.")[0]) as site:
        yield site


def _signed_in(site: Site, name: str) -> Iterator[Visitor]:
    with Visitor(site) as visitor:
        visitor.sign_in(TOKENS[name])
        yield visitor


@pytest.fixture
def alice(site: Site) -> Iterator[Visitor]:
    yield from _signed_in(site, "alice")


@pytest.fixture
def bob(site: Site) -> Iterator[Visitor]:
    yield from _signed_in(site, "bob")


@pytest.fixture
def kid(site: Site) -> Iterator[Visitor]:
    """Return one whose requests wait for alice."""
    yield from _signed_in(site, "kid")


@pytest.fixture
def dora(site: Site) -> Iterator[Visitor]:
    """Return an admin whose commands run unasked."""
    yield from _signed_in(site, "dora")
