import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.ledger import Ledger


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of a ledger on SQLite and on Postgres, but for those that look at the file."""
    asked_for = inspect.signature(metafunc.function).parameters
    if "place" in metafunc.fixturenames and "path" not in asked_for:
        metafunc.parametrize("stored_in", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])


@pytest.fixture
def stored_in() -> str:
    return "sqlite"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.db"


@pytest.fixture
def place(stored_in: str, path: Path, request: pytest.FixtureRequest) -> Path | str:
    """Where the ledger is: a file, or a database of its own."""
    return path if stored_in == "sqlite" else request.getfixturevalue("database_url")


@pytest.fixture
async def ledger(place: Path | str) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(place)
    yield opened
    await opened.close()
