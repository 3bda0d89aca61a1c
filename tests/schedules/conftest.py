import pytest

from tests.behaviour.crashes.conftest import home, pytest_generate_tests, stored_in
from tests.channels.conftest import bot, bot_host, family

__all__ = ["bot", "bot_host", "family", "home", "pytest_generate_tests", "stored_in"]

pytest.register_assert_rewrite("tests.schedules.waking")
