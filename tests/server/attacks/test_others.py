"""One user on what is another's: every route, forged ids, forged configurations.

docs/security.md holds what each route answered; `--rewrite` writes it anew.
"""

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.server.attacks.routes import CLOSED, OPEN, routes
from tests.server.conftest import BEARERS
from tests.server.serving import Server
from tests.server.talking import APPROVE, GRAPH, Talk, each, opened, outcomes

PAGE = Path(__file__).parents[3] / "docs" / "security.md"
TABLE = re.compile(r"(<!-- routes: written by its test -->\n).*?(<!-- end -->)", re.DOTALL)
SECRET = "what no other may read"
MEMORIES = ["memories", "alice"]
SAID = {"messages": [{"role": "user", "content": "what is 12*7"}]}
ASKED = {"messages": [{"role": "user", "content": 'write "his" to his.txt'}]}
NEEDED = {"assistant_id": GRAPH, "schedule": "5 0 1 1 *"}
OF_A_THREAD: list[Any] = [
    NEEDED | body
    for body in (
        {"command": {"resume": APPROVE}, "if_not_exists": "create"},
        {"metadata": {"owner": "bob"}, "values": {"response": "forged"}},
        {"checkpoint": {"checkpoint_ns": ""}},
        {"id": 1, "method": "run.start", "params": {"assistant_id": GRAPH, "command": {"resume": APPROVE}}},
        {"channels": ["values", "messages"]},
    )
]
"""What the routes of a thread read; each gets all of it, with what some cannot do without."""


@dataclass(frozen=True)
class Hers:
    """What is alice's: a thread that waits, with its run; one with a run to come; a schedule; a memory."""

    client: LangGraphClient
    server: Server
    talk: Talk
    ids: Mapping[str, str]

    async def as_it_stands(self) -> dict[str, Any]:
        """Return all that another could have changed."""
        threads, thread, later = self.client.threads, self.talk.id, self.ids["later"]
        async with opened(self.server.ledger) as ledger:
            calls = await ledger.audit(thread=thread)
            rows = [await ledger.thread(each) for each in (thread, later)]
        return {
            "threads": [await threads.get(each) for each in (thread, later)],
            "history": await threads.get_history(thread, limit=50),
            "runs": [await self.client.runs.list(each) for each in (thread, later)],
            "memories": await self.client.store.search_items(MEMORIES),
            "ledger": (calls, rows),
            "files": sorted(path.name for path in self.server.workspace.rglob("*") if path.is_file()),
        }


@pytest.fixture
async def hers(alice, guarded):
    talk = Talk(alice, (await alice.threads.create(metadata={"owner": "bob"}))["thread_id"])
    file = f"{uuid.uuid4()}.txt"
    assert (await talk.say(f'write "{SECRET}" to {file}', user="bob"))["pending"]
    later = (await alice.threads.create())["thread_id"]
    said = {"messages": [{"role": "user", "content": SECRET}]}
    await alice.runs.create(later, GRAPH, input=said, after_seconds=3_600)
    await alice.store.put_item(MEMORIES, "hers", {"text": SECRET})
    [run] = await alice.runs.list(talk.id)
    state = await alice.threads.get_state(talk.id)
    ids = {
        "thread_id": talk.id,
        "run_id": run["run_id"],
        "cron_id": str(uuid.uuid4()),
        "checkpoint_id": state["checkpoint"]["checkpoint_id"],
        "assistant_id": run["assistant_id"],
    }
    yield Hers(alice, guarded, talk, {**ids, "later": later})
    await alice.threads.delete(later)


def bodies(path: str, ids: Mapping[str, str]) -> list[Any]:
    """Return what is sent to a route: all by which it could be led to what is alice's."""
    thread, forged = ids["thread_id"], {"configurable": {"thread_id": ids["thread_id"]}}
    resume = {"assistant_id": GRAPH, "command": {"resume": APPROVE}, "config": forged}
    by_path: dict[str, list[Any]] = {
        "/assistants": [{"graph_id": GRAPH, "metadata": {"owner": "alice"}}],
        "/assistants/{assistant_id}/latest": [{"version": 1}],
        "/threads": [{"thread_id": thread, "if_exists": does} for does in ("do_nothing", "raise")],
        "/threads/search": [{"ids": [thread]}, {"metadata": {"owner": "alice"}}, {"status": "interrupted"}],
        "/threads/count": [{"metadata": {"owner": "alice"}}],
        "/threads/prune": [{"thread_ids": [thread, ids["later"]]}],
        "/runs": [resume],
        "/runs/wait": [resume, {"assistant_id": GRAPH, "input": SAID, "config": forged}],
        "/runs/stream": [resume],
        "/runs/batch": [[resume]],
        "/runs/cancel": [{"thread_id": thread, "run_ids": [ids["run_id"]]}, {"status": "all"}],
        "/runs/crons": [NEEDED | {"input": SAID, "config": forged}],
        "/runs/crons/search": [{"thread_id": thread}, {}, {"assistant_id": ids["assistant_id"]}],
        "/runs/crons/count": [{"thread_id": thread}, {}],
        "/runs/crons/{cron_id}": [{"enabled": False, "metadata": {"owner": "bob"}}],
        "/store/items": [{"namespace": MEMORIES, "key": "hers", "value": {"text": "forged"}}],
        "/store/items/search": [{"namespace_prefix": where} for where in (MEMORIES, MEMORIES[:1], [])],
        "/store/namespaces": [{"prefix": MEMORIES}, {}],
        "/v1/chat/completions": [{"messages": [{"role": "user", "content": "yes"}]}],
    }
    return by_path.get(path, OF_A_THREAD if "{thread_id}" in path else [{}])


def what_came(answer: httpx.Response, path: str) -> str:
    """Return in a word what a route answered; of what is alice's, it may be nothing."""
    assert SECRET not in answer.text, path
    if answer.is_client_error:
        return str(answer.status_code)
    if answer.is_server_error:
        assert "/storage" in path, answer.text  # of another saver it tells nobody
        return "500"
    if "404: Thread" in answer.text:
        return "404"
    return "nothing of hers"


async def tried(hers: Hers, headers: Mapping[str, str]) -> dict[tuple[str, str], set[str]]:
    """Return what each route answers to whoever sends these headers, by method and path."""
    async with httpx.AsyncClient(base_url=hers.server.url, headers=headers, timeout=120) as client:
        came: dict[tuple[str, str], set[str]] = defaultdict(set)
        for method, path, filled in routes(hers.server, hers.ids):
            asked = f"?namespace={'.'.join(MEMORIES)}&key=hers" if path == "/store/items" else ""
            for body in bodies(path, hers.ids):
                answer = await client.request(method, filled + asked, json=body)
                came[method, path].add(what_came(answer, path))
    return came


def table(bob: Mapping[tuple[str, str], set[str]], nobody: Mapping[tuple[str, str], set[str]]) -> str:
    """Return the page's table, with the methods of a path in one row where they answer alike."""
    rows: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (method, path), words in bob.items():
        told = words - {"422"} or words  # a body that the route does not take
        rows[path, ", ".join(sorted(told)), ", ".join(sorted(nobody[method, path]))].append(method)
    lines = [f"| `{', '.join(rows[row])} {row[0]}` | {row[1]} | {row[2]} |" for row in sorted(rows)]
    return "\n".join(["| route | another user | nobody |", "|---|---|---|", *lines]) + "\n"


async def test_every_route_refuses_another_user_what_is_hers_or_tells_nothing_of_it(hers, bob, request):
    before = await hers.as_it_stands()
    by_bob = await tried(hers, BEARERS["bob"])
    by_nobody = await tried(hers, {})
    assert await hers.as_it_stands() == before
    told = {word for route, words in by_nobody.items() if route[1] not in OPEN | CLOSED for word in words}
    assert told == {"401"}
    assert await bob.crons.search() == []
    found = table(by_bob, by_nobody)
    text = PAGE.read_text(encoding="utf-8")
    if request.config.getoption("--rewrite"):
        PAGE.write_text(TABLE.sub(lambda part: part[1] + found + part[2], text), encoding="utf-8")
    else:
        assert found in text
    assert outcomes(await hers.talk.answer(APPROVE)) == [("write_file", "executed")]


FORGED = {
    "a thread in the config": {"config": {"configurable": {"thread_id": "THREAD"}}},
    "a checkpoint in the config": {
        "config": {"configurable": {"thread_id": "THREAD", "checkpoint_id": "CHECKPOINT"}}
    },
    "a thread in the checkpoint": {
        "checkpoint": {"thread_id": "THREAD", "checkpoint_id": "CHECKPOINT", "checkpoint_ns": ""}
    },
    "a checkpoint": {"checkpoint_id": "CHECKPOINT"},
    "a map of checkpoints": {"checkpoint": {"thread_id": "THREAD", "checkpoint_map": {"": "CHECKPOINT"}}},
    "a user in the context": {"context": {"user": "alice", "user_role": "admin"}},
    "a user in the config": {"config": {"configurable": {"user": "alice", "user_role": "admin"}}},
    "a user as the engine has them": {
        "config": {"configurable": {"langgraph_auth_user": {"identity": "alice", "permissions": ["admin"]}}}
    },
    "an id as the engine has it": {"config": {"configurable": {"langgraph_auth_user_id": "alice"}}},
    "an owner": {"metadata": {"owner": "alice", "user": "alice", "thread_id": "THREAD"}},
}


async def test_what_a_run_on_ones_own_thread_says_of_others_leads_to_nothing_of_theirs(hers, bob, guarded):
    before = await hers.as_it_stands()
    place = {"THREAD": hers.ids["thread_id"], "CHECKPOINT": hers.ids["checkpoint_id"]}
    lies = json.loads(re.sub("|".join(place), lambda found: place[found[0]], json.dumps(FORGED)))

    async def run(name: str) -> None:
        talk = Talk(bob, (await bob.threads.create())["thread_id"])
        for path in ("runs/wait", "state", "state/checkpoint", "history"):
            body = {"assistant_id": GRAPH, "input": ASKED, **lies[name]}
            what_came(await client.post(f"/threads/{talk.id}/{path}", json=body), name)
        async with opened(guarded.ledger) as ledger:
            rows = await ledger.audit(thread=talk.id)
        assert {(row["user"], row["role"], row["status"]) for row in rows} <= {("bob", "user", "waiting")}

    async with httpx.AsyncClient(base_url=guarded.url, headers=BEARERS["bob"], timeout=120) as client:
        await each(FORGED, run)
    assert await hers.as_it_stands() == before


@pytest.mark.parametrize(
    "spell",
    [
        str.upper,
        lambda thread: thread.replace("-", ""),
        lambda thread: f"%{ord(thread[0]):02x}{thread[1:]}",
        lambda thread: f"%7B{thread}%7D",
        lambda thread: f"urn:uuid:{thread}",
        lambda thread: f"{thread}%20",
        lambda thread: f"{uuid.uuid4()}/../{thread}",
        lambda thread: f"{uuid.uuid4()}%2F..%2F{thread}",
        lambda thread: f"/{thread}",
    ],
)
async def test_an_id_that_is_spelled_otherwise_leads_to_no_thread_of_anothers(spell, hers, bob, guarded):
    before = await hers.as_it_stands()
    spelled = spell(hers.talk.id)
    run = {"assistant_id": GRAPH, "command": {"resume": APPROVE}, "if_not_exists": "create"}
    named = {"thread_id": unquote(spelled), "if_exists": "do_nothing"}
    async with httpx.AsyncClient(base_url=guarded.url, headers=BEARERS["bob"], timeout=120) as client:
        answers = [
            await client.post("/threads", json=named),
            await client.get(f"/threads/{spelled}/state"),
            await client.post(f"/threads/{spelled}/runs/wait", json=run),
            await client.post(f"/threads/{spelled}/state", json={"values": {"response": "forged"}}),
            await client.delete(f"/threads/{spelled}"),
        ]
    assert [answer.status_code for answer in answers if not answer.is_client_error] == []
    assert await hers.as_it_stands() == before


async def test_a_header_that_says_whose_a_request_is_counts_once(guarded):
    """Of several, engines take different ones."""
    bob, alice = BEARERS["bob"]["Authorization"], BEARERS["alice"]["Authorization"]
    async with httpx.AsyncClient(base_url=guarded.url) as client:
        for name, first, second in (("Authorization", bob, alice), ("X-Api-Key", bob[7:], alice[7:])):
            answer = await client.post("/threads/search", json={}, headers=[(name, first), (name, second)])
            assert (answer.status_code, "more than once" in answer.json()["detail"]) == (400, True)


async def test_the_key_that_chat_programs_send_is_a_token(guarded):
    key = BEARERS["bob"]["Authorization"][7:]
    async with get_client(url=guarded.url, api_key=key) as bob:
        thread = await bob.threads.create()
        assert thread["metadata"]["owner"] == "bob"
        await bob.threads.delete(thread["thread_id"])


async def test_what_no_token_can_be_is_refused_with_a_sentence(guarded):
    odd = {
        "bytes": b"Bearer \xff\xfe",
        "long": b"Bearer " + b"x" * 100_000,
        "beyond ASCII": "Bearer ü".encode(),
    }
    async with httpx.AsyncClient(base_url=guarded.url) as client:
        for value in odd.values():
            answer = await client.post("/threads/search", json={}, headers=[(b"Authorization", value)])
            assert answer.status_code in {400, 401, 431}
            assert len(answer.text) > 10


async def test_a_body_of_any_size_is_not_read_of_whoever_is_not_known_and_has_an_end_for_others(guarded):
    async def body(megabytes):
        yield b'{"metadata": {"x": "'
        for _ in range(megabytes):
            yield b"x" * 1_000_000
        yield b'"}}'

    async with httpx.AsyncClient(base_url=guarded.url, timeout=120) as client:
        kind = {"Content-Type": "application/json"}
        answer = await client.post("/threads", content=body(40), headers=kind | BEARERS["bob"])
        assert (answer.status_code, "too large" in answer.text) == (413, True)
        assert (await client.post("/threads", content=body(1), headers=kind)).status_code == 401
