"""Users that were added, in the database that hosts share."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from base.errors import ConfigurationError
from base.settings import Settings, load_settings
from base.users import AddedUser, digest_of
from ledger.database import open_ledger_database
from nodes.shared_users import shared_users

pytestmark = pytest.mark.slow
ALICE = AddedUser(role="admin", token_sha256=digest_of(b"hers"))


@pytest.fixture
def hosts(database_url, tmp_path) -> list[Settings]:
    """Two hosts, each with a folder of its own."""
    environ = {"TWOBRAIN_DATABASE_URL": database_url}
    return [load_settings({**environ, "TWOBRAIN_DATA_DIR": str(tmp_path / name)}) for name in ("one", "two")]


def test_a_token_that_one_host_gives_or_takes_back_counts_on_the_other_at_once(hosts, tmp_path):
    one, two = hosts
    with shared_users(one) as added, shared_users(two):
        assert not two.read_users().guarded
        added.change(lambda users: users.update(alice=ALICE))
        assert two.read_users().may_enter("alice")
        assert two.user("alice").role == "admin"
        added.change(lambda users: users["alice"].update(token_sha256=None))
        assert (two.read_users().may_enter("alice"), two.read_users().guarded) == (False, True)
    assert list(tmp_path.rglob("users.json")) == []


def test_of_two_hosts_that_add_at_once_neither_is_lost(hosts):
    def add(host: Settings) -> None:
        with shared_users(host) as added:
            for number in range(10):
                new = {f"{host.data_dir.name}{number}": ALICE}
                added.change(lambda users, new=new: users.update(new))

    with ThreadPoolExecutor() as pool:
        list(pool.map(add, hosts))
    with shared_users(hosts[0]):
        assert len(hosts[0].users) == 20


def test_a_row_that_cannot_be_read_lets_nobody_in(hosts, database_url):
    with shared_users(hosts[0]) as added:
        added.change(lambda users: users.update(alice=ALICE))
    database = open_ledger_database(database_url)
    database.change(
        lambda connection: connection.execute(text("UPDATE documents SET text = '{\"alice\": 1}'"))
    )
    database.close()
    with pytest.raises(ConfigurationError, match="not as `twobrain users` writes it"), shared_users(hosts[1]):
        pytest.fail("it was read")
