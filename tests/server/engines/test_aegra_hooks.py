"""Hooks on two workers of aegra: a delivery that comes to both is acted on once, though one of them dies."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.server.conftest import GUARDED, TOKENS
from tests.server.engines.aegra import Workers, redis
from tests.server.page.site import Visitor

SECRET = "a-secret-of-the-hook-5831"
HOOK = '[hooks.bell]\nuser = "alice"\ntask = "what is 12*7"\nsecret_env = "BELL_SECRET"\nto = "nowhere"\n'
MANY = 10


@pytest.fixture
def workers(tmp_path: Path, database_url: str) -> Iterator[Workers]:
    with redis(tmp_path) as redis_url:
        workers = Workers(tmp_path, database_url, redis_url, 0)
        (tmp_path / "world.py").write_text("")  # the tools are the real ones
        (tmp_path / "twobrain.toml").write_text(GUARDED + HOOK)
        workers.environ |= {"TWOBRAIN_CONFIG": str(tmp_path / "twobrain.toml"), "BELL_SECRET": SECRET}
        workers.migrate()
        try:
            yield workers
        finally:
            workers.close()


@pytest.mark.prove(sampled=False)
@pytest.mark.timeout(500)
def test_a_delivery_that_comes_to_two_workers_is_acted_on_once_though_one_dies(workers: Workers):
    first, second = workers.start(), workers.start()

    def call(url: str, number: int, **headers: str) -> httpx.Response:
        shown = {"Authorization": f"Bearer {SECRET}", "Idempotency-Key": str(number), **headers}
        return httpx.post(f"{url}/hooks/bell", headers=shown, json={"n": number}, timeout=60)

    refused = [call(url, 0, Authorization=f"Bearer {TOKENS['alice']}") for url in (first, second)]
    assert [answer.status_code for answer in refused] == [401, 401]
    with ThreadPoolExecutor(4) as senders:
        sent = [senders.submit(call, url, number) for number in range(MANY) for url in (first, second)]
        answers = [each.result() for each in sent]
    workers.kill(second)
    assert {answer.status_code for answer in answers} == {202}
    assert Counter(answer.json()["status"] == "accepted" for answer in answers) == {True: MANY, False: MANY}
    with Visitor(SimpleNamespace(url=first)) as alice:
        alice.sign_in(TOKENS["alice"])
        while len(made := alice.get("audit", tool="calculate", limit=500)) < MANY:
            time.sleep(0.2)
        assert len({row["thread"] for row in made}) == MANY
        assert alice.ask("what is 1+1")[1]["event"] == "done"
        assert len(alice.get("audit", tool="calculate", limit=500)) == MANY + 1
