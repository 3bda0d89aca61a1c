"""The tests' own server: what it says when it cannot start, and that nothing of it stays behind."""

import pytest

from tests.server.serving import HOUSE, Server, ServerFailedError


def test_a_server_that_cannot_start_shows_its_log(tmp_path):
    checkout = tmp_path / "broken"
    checkout.mkdir()
    graphs = '{"dependencies": ["."], "graphs": {"x": "./nowhere.py:graph"}}'
    (checkout / "langgraph.json").write_text(graphs)
    with pytest.raises(ServerFailedError, match=r"nowhere\.py"), Server(tmp_path, "", {}, checkout) as server:
        pytest.fail(server.log)


def test_the_checkout_stays_as_it_was(server):
    assert (server.cwd / "langgraph.json").samefile(HOUSE / "langgraph.json")
    assert (server.cwd / ".langgraph_api").is_dir()
