import inspect
from pathlib import Path

import pytest

from tests.behaviour.crashes.process import Home


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of a home on SQLite and on Postgres, but for those that look at SQLite's files."""
    if "home" in inspect.signature(metafunc.function).parameters:
        on_both = metafunc.definition.get_closest_marker("sqlite_files") is None
        kinds = ["sqlite", *([pytest.param("postgres", marks=pytest.mark.slow)] if on_both else [])]
        metafunc.parametrize("stored_in", kinds)


@pytest.fixture
def stored_in() -> str:
    return "sqlite"


@pytest.fixture
def home(stored_in: str, tmp_path: Path, request: pytest.FixtureRequest) -> Home:
    if stored_in == "sqlite":
        return Home(tmp_path)
    return Home(tmp_path, {"TWOBRAIN_DATABASE_URL": request.getfixturevalue("database_url")})
