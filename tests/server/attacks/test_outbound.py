"""The server sends no request that a client names."""

import httpx
import pytest

from tests.server.talking import GRAPH
from tests.wires.serve import Wire

SAID = {"messages": [{"role": "user", "content": "what is 12*7"}]}
OF_THREAD = ("/threads/{}/runs", "/threads/{}/runs/wait", "/threads/{}/runs/stream")
BASES = ("/runs", "/runs/wait", "/runs/stream", *OF_THREAD)
CRONS = ("/runs/crons", "/threads/{}/runs/crons")


def places(wire: Wire) -> list[str]:
    """Return where a webhook could be sent: this machine, the house, anywhere, the server itself."""
    inside = ["http://192.168.1.1/hook", "http://[fd00::1]/hook", "http://169.254.169.254/latest"]
    return [f"{wire.root}/hook", *inside, "https://example.com/hook", "/threads/search"]


async def test_a_run_that_brings_a_webhook_is_refused_and_nothing_is_sent(talk, server, open_wire):
    wire = open_wire("openai")
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
        answers = {
            (base, place): await client.post(
                base.format(talk.id),
                json={"assistant_id": GRAPH, "input": SAID, "schedule": "0 5 1 1 *", "webhook": place},
            )
            for place in places(wire)
            for base in (*BASES, *CRONS)
        }
        batch = await client.post("/runs/batch", json=[{"assistant_id": GRAPH, "webhook": places(wire)[0]}])
        crons = (await client.post("/runs/crons/search", json={})).json()
    assert {answer.status_code for answer in answers.values()} <= {403, 422}
    assert all(len(answer.json()["detail"]) > 10 for answer in answers.values())
    assert batch.is_client_error
    assert crons == []
    assert await talk.client.runs.list(talk.id) == []
    assert (wire.heard, wire.rejected) == ([], [])


@pytest.mark.parametrize("base", BASES)
async def test_a_run_cannot_have_langsmith_asked_for_links(base, talk, server):
    body = {"assistant_id": GRAPH, "input": SAID, "feedback_keys": ["good"]}
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.post(base.format(talk.id), json=body)
    assert answer.status_code == 403
    assert "sends no requests elsewhere" in answer.json()["detail"]


async def test_what_passes_by_the_authentication_is_off(server):
    async with httpx.AsyncClient(base_url=server.url) as client:
        found = [
            await client.post("/mcp/", json={}),
            await client.post(f"/a2a/{GRAPH}", json={}),
            await client.post(f"/ui/{GRAPH}", json={"name": "x"}),
        ]
    assert [answer.status_code for answer in found] == [404] * 3
