"""One user on what is another's, on aegra: every route that it has."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from tests.server.attacks.test_others import MEMORIES, SECRET, bodies
from tests.server.conftest import BEARERS, GUARDED
from tests.server.engines.aegra import Workers, redis
from tests.server.talking import GRAPH, opened

METHODS = ("get", "post", "put", "patch", "delete")
OPEN = re.compile("/(|ok|ready|health|live|info|metrics|docs|redoc|openapi.json)")
"""What nobody has to be known for; it says nothing of anybody."""


@pytest.fixture
def worker(tmp_path: Path, database_url: str) -> Iterator[Workers]:
    with redis(tmp_path) as redis_url:
        workers = Workers(tmp_path, database_url, redis_url, 0)
        (tmp_path / "twobrain.toml").write_text(GUARDED)
        workers.environ["TWOBRAIN_CONFIG"] = str(tmp_path / "twobrain.toml")
        workers.migrate()
        workers.start()
        try:
            yield workers
        finally:
            workers.close()


def filled(url: str, ids: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return method, path and path with alice's ids of each route."""
    found = httpx.get(f"{url}/openapi.json").json()["paths"]
    return [
        (method, path, re.sub(r"\{(\w+)\}", lambda part: ids.get(part[1], str(uuid.uuid4())), path))
        for path, operations in found.items()
        for method in METHODS
        if method in operations
    ]


@pytest.mark.slow
async def test_every_route_of_aegra_refuses_another_user_or_tells_nothing_of_hers(worker, database_url):
    [url] = worker.urls
    async with get_client(url=url, headers=BEARERS["alice"]) as alice:
        thread = (await alice.threads.create())["thread_id"]
        said = {"messages": [{"role": "user", "content": f'write "{SECRET}" to hers.txt'}]}
        await alice.runs.wait(thread, GRAPH, input=said)
        await alice.store.put_item(MEMORIES, "hers", {"text": SECRET})
        [run] = await alice.runs.list(thread)

        async def stands() -> Any:
            async with opened(database_url) as ledger:
                calls = await ledger.audit(), await ledger.thread(thread)
            state = await alice.threads.get_state(thread)
            return calls, state["values"], state["next"], len(await alice.runs.list(thread))

        before = await stands()
        assert before[1]["pending"]
        ids = {
            "thread_id": thread,
            "run_id": run["run_id"],
            "assistant_id": run["assistant_id"],
            "cron_id": str(uuid.uuid4()),
            "checkpoint_id": (await alice.threads.get_state(thread))["checkpoint"]["checkpoint_id"],
            "later": thread,
        }
        routes = filled(url, ids)
        assert len(routes) > 30
        came: dict[tuple[str, str], set[int]] = {}
        for who in (BEARERS["bob"], {}):
            async with httpx.AsyncClient(base_url=url, headers=who, timeout=60) as client:
                for method, path, place in routes:
                    asked = f"?namespace={'.'.join(MEMORIES)}&key=hers" if path == "/store/items" else ""
                    for body in bodies(path, ids):
                        answer = await client.request(method, place + asked, json=body)
                        assert SECRET not in answer.text, (method, path, answer.text[:500])
                        came.setdefault((method, path), set()).add(answer.status_code)
                        if not who and not OPEN.fullmatch(path):
                            assert answer.is_client_error, (
                                method,
                                path,
                                answer.status_code,
                                answer.text[:300],
                            )
        assert await stands() == before
        assert not [route for route, codes in came.items() if any(code >= 500 for code in codes)], came
