"""A picture or file is what a message holds: what it points at is fetched by nobody."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from base.errors import BadMessageError
from tests.behaviour.household import obedient
from tests.wires.cards import at
from tests.wires.clients import KINDS

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TEXT = {"type": "text", "text": "What is this? See https://example.org/page for more."}


def _pointing(at: str) -> dict[str, dict[str, Any]]:
    """Return every form of block that one of the clients takes, pointing at an address."""
    return {
        "OpenAI": {"type": "image_url", "image_url": {"url": at}},
        "OpenAI, bare": {"type": "image_url", "image_url": at},
        "OpenAI, several": {"type": "image_url", "image_url": [{"url": at}]},
        "Anthropic": {"type": "image", "source": {"type": "url", "url": at}},
        "Anthropic's document": {"type": "document", "source": {"type": "url", "url": at}},
        "within a result": {"type": "tool_result", "content": [{"type": "image", "url": at}]},
        "LangChain 0": {"type": "image", "source_type": "url", "url": at},
        "LangChain 1": {"type": "image", "url": at},
        "a file": {"type": "file", "url": at, "mime_type": "application/pdf"},
        "audio": {"type": "audio", "url": at, "mime_type": "audio/wav"},
        "Google": {"type": "media", "file_uri": at, "mime_type": "image/png"},
    }


@pytest.fixture
def site() -> Iterator[tuple[str, list[str]]]:
    """Give the address of a picture on loopback, and what was fetched there."""
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"the secret of the house")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/picture.png", fetched
        server.shutdown()
        thread.join()


async def _refused(house: Any, block: Any) -> str:
    async with house.open() as orchestrator:
        graph, config = orchestrator.graph, orchestrator.config("t")
        with pytest.raises(BadMessageError) as caught:
            await graph.ainvoke({"messages": [HumanMessage([TEXT, block])]}, config, context=house.context())
        result = await orchestrator.ask("Hello", thread_id="t", context=house.context())
    assert (result.response, house.rejected()) == ("Answer to: Hello", [])
    assert "What is this" not in str(house.planner.heard[-1].raw)
    return str(caught.value)


@pytest.mark.parametrize("form", _pointing(""))
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_message_points_at_is_not_fetched_and_the_person_is_told(
    open_wire, furnish, site, kind, form
):
    address, fetched = site
    house = furnish({"planner": at(open_wire(kind, brain=obedient))})
    said = await _refused(house, _pointing(address)[form])
    assert address in said
    assert said.endswith("Send the picture or file itself, as base64 or a data: URL.")
    assert fetched == []


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "/etc/passwd", "gs://bucket/a.png", "HTTPS://a.b/"]
)
async def test_nor_is_a_file_of_this_machine_or_a_bucket(open_wire, furnish, address):
    house = furnish({"planner": at(open_wire("gemini", brain=obedient))})
    assert address in await _refused(house, _pointing(address)["OpenAI"])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_state_that_a_client_forged_has_nothing_fetched_either(open_wire, furnish, site, kind):
    address, fetched = site
    house = furnish({"planner": at(open_wire(kind, brain=obedient))})
    forged = HumanMessage([TEXT, _pointing(address)["OpenAI"]], id="forged")
    async with house.open() as orchestrator:
        graph, config = orchestrator.graph, orchestrator.config("t")
        await orchestrator.ask("Hello", thread_id="t", context=house.context())
        update = {"messages": [forged], "turn": "forged", "response": "", "path": "single"}
        await graph.aupdate_state(config, update, as_node="intake")
        result = await graph.ainvoke(None, config, context=house.context())
    assert (fetched, result["stop_reason"]) == ([], "model_failed")
    assert address in result["response"]


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_address_among_the_arguments_of_a_call_is_no_picture(open_wire, furnish, kind, streaming):
    house = furnish({"planner": at(open_wire(kind, brain=obedient), streaming=streaming)})
    async with house.open() as orchestrator:
        request = 'get_time {"url": "http://127.0.0.1/a.png"} then calculate {"expression": "6*7"}'
        result = await orchestrator.ask(request, context=house.context())
    assert (result.stop_reason, result.tool_calls[-1]["result"]) == ("answered", "42")


_SENT = {
    "OpenAI": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    "LangChain 0": {"type": "image", "source_type": "base64", "data": PIXEL, "mime_type": "image/png"},
    "LangChain 1": {"type": "image", "base64": PIXEL, "mime_type": "image/png"},
    "LangChain.js, agent-chat-ui": {
        "type": "image",
        "mimeType": "image/png",
        "data": PIXEL,
        "metadata": {"name": "a.png"},
    },
    "LangChain.js 0": {"type": "image", "source_type": "base64", "mimeType": "image/png", "data": PIXEL},
    "Anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
    "Google": {"type": "media", "mime_type": "image/png", "data": PIXEL},
    "a PDF of LangChain.js": {
        "type": "file",
        "mimeType": "application/pdf",
        "data": PIXEL,
        "metadata": {"filename": "a.pdf"},
    },
    "assistant-ui": {"type": "image", "image": f"data:image/png;base64,{PIXEL}"},
    "Vercel's AI SDK": {"type": "file", "mediaType": "image/png", "url": f"data:image/png;base64,{PIXEL}"},
    "Vercel's model": {"type": "image", "image": PIXEL, "mediaType": "image/png"},
    "OpenAI's Responses": {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
    "a URL of LangChain": {"type": "image", "url": f"data:image/png;base64,{PIXEL}"},
    "a PDF of Vercel's": {
        "type": "file",
        "mediaType": "application/pdf",
        "filename": "a.pdf",
        "data": f"data:application/pdf;base64,{PIXEL}",
    },
    "a PDF of OpenAI": {
        "type": "file",
        "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"},
    },
    "a PDF of LangChain": {
        "type": "file",
        "base64": PIXEL,
        "mime_type": "application/pdf",
        "filename": "a.pdf",
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", _SENT)
async def test_what_a_message_holds_is_sent_to_both_brains(open_wire, furnish, kind, form):
    house = furnish({name: at(open_wire(kind, brain=obedient)) for name in ("planner", "writer")})
    async with house.open() as orchestrator:
        said = {"messages": [HumanMessage([TEXT, _SENT[form]])]}
        await orchestrator.graph.ainvoke(said, orchestrator.config("t"), context=house.context())
    for brain in (house.planner, house.writer):
        sent = str(brain.heard[0].raw).translate(str.maketrans("-_", "+/"))  # Google's alphabet
        assert PIXEL in sent
        assert ("application/pdf" if "PDF" in form else "image/png") in sent
    assert house.rejected() == []


@pytest.mark.parametrize("kind", ["gemini", "openai"])
@pytest.mark.parametrize(
    "block",
    [
        {"type": "audio", "mimeType": "audio/wav", "data": PIXEL},
        {"type": "audio", "base64": PIXEL, "mime_type": "audio/wav"},
        {"type": "audio", "audio": {"data": PIXEL, "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}},
    ],
    ids=["LangChain.js", "LangChain", "assistant-ui", "OpenAI"],
)
async def test_sound_is_sent_to_whom_takes_it(open_wire, furnish, kind, block):
    house = furnish({"planner": at(open_wire(kind, brain=obedient))})
    async with house.open() as orchestrator:
        said = {"messages": [HumanMessage([TEXT, block])]}
        await orchestrator.graph.ainvoke(said, orchestrator.config("t"), context=house.context())
    assert PIXEL in str(house.planner.heard[0].raw).translate(str.maketrans("-_", "+/"))
    assert house.rejected() == []
