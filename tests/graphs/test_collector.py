"""The collector is left alone where a program has its own ideas of it, and as it was when we are gone."""

import gc

import pytest

from base.settings import load_settings
from graphs.session import open_orchestrator


@pytest.fixture
def opened(tmp_path):
    environ = {"TWOBRAIN_DATA_DIR": str(tmp_path / "data"), "PATH": "/nowhere"}
    return lambda: open_orchestrator(load_settings(environ))


@pytest.fixture(autouse=True)
def thresholds():
    before = gc.get_threshold()
    gc.unfreeze()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


async def test_it_looks_less_often_while_any_orchestrator_is_open_and_then_as_before(opened):
    async with opened():
        seldom = gc.get_threshold()
        async with opened():
            assert gc.get_threshold() == seldom
        assert gc.get_threshold() == seldom

    assert seldom[0] > 10_000
    assert gc.get_threshold() == (700, 10, 10)
    assert gc.get_freeze_count() == 0


async def test_a_programs_own_thresholds_stay(opened):
    gc.set_threshold(5_000, 5, 5)
    async with opened():
        assert gc.get_threshold() == (5_000, 5, 5)
    assert gc.get_threshold() == (5_000, 5, 5)
