"""A picture, audio, a video or a file that a model does not take is told as that."""

from collections.abc import Mapping
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from tests.behaviour.household import obedient
from tests.wires.brain import Call, Heard, Kind, Reply
from tests.wires.cards import at
from tests.wires.clients import KINDS, OpenWire

DATA = "aGVsbG8="
IMAGE = {"type": "image", "base64": DATA, "mime_type": "image/png"}
AUDIO = {"type": "audio", "base64": DATA, "mime_type": "audio/wav"}
VIDEO = {"type": "video", "base64": DATA, "mime_type": "video/mp4"}
PDF = {"type": "file", "base64": DATA, "mime_type": "application/pdf", "filename": "a.pdf"}
OPENAI_AUDIO = {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}
GOOGLE_AUDIO = {"type": "media", "mime_type": "audio/wav", "data": DATA}
ANTHROPIC_PDF = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": DATA},
}
ANTHROPIC_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}

UNSENT: Mapping[str, tuple[Kind, Mapping[str, Any], str]] = {
    "LangChain's audio to Claude": ("anthropic", AUDIO, "audio"),
    "OpenAI's audio to Claude": ("anthropic", OPENAI_AUDIO, "audio"),
    "Google's audio to Claude": ("anthropic", GOOGLE_AUDIO, "audio"),
    "video to Claude": ("anthropic", VIDEO, "video"),
    "video to OpenAI's wire": ("openai", VIDEO, "video"),
}
"""Nothing to send it in: the model is not asked."""

LLAMA = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
SERDE = "Failed to deserialize the JSON body: messages[1]: unknown variant `image_url`, expected `text`"
REFUSED: Mapping[str, tuple[Kind, Mapping[str, Any], int, str, str]] = {
    "OpenRouter": ("openai", IMAGE, 404, "No endpoints found that support image input", "images"),
    "Ollama": ("openai", IMAGE, 400, "this model does not support image input", "images"),
    "llama.cpp": ("openai", IMAGE, 500, LLAMA, "images"),
    "vLLM": ("openai", IMAGE, 400, "stand-in is not a multimodal model", "images"),
    "DeepSeek": ("openai", IMAGE, 400, SERDE, "images"),
    "DeepSeek, once": (
        "openai",
        IMAGE,
        422,
        "messages[2]: invalid type: sequence, expected a string",
        "images",
    ),
    "Groq": ("openai", IMAGE, 400, "messages[1].content must be a string", "images"),
    "Qwen": ("openai", PDF, 400, "Invalid value: file. Supported values are: 'text', 'image_url'.", "files"),
    "OpenAI": ("openai", OPENAI_AUDIO, 400, "This model does not support audio content.", "audio"),
    "Gemini": ("gemini", AUDIO, 400, "Audio input modality is not enabled for models/x", "audio"),
    "Anthropic": ("anthropic", PDF, 400, "'stand-in' does not support PDF input.", "files"),
}
"""A maker to its status and words for what its model does not take."""

SPOILT: Mapping[str, tuple[Kind, Mapping[str, Any], str]] = {
    "OpenAI": ("openai", IMAGE, "You uploaded an unsupported image. Use one of the formats png, jpeg, webp."),
    "Anthropic": ("anthropic", IMAGE, "image exceeds 5 MB maximum: the size is 9 MB, which is not supported"),
    "Crucible": ("openai", IMAGE, "Model 'kimi' supports at most 1 image per prompt."),
}
"""What is wrong with that one picture: not that the model takes none."""

NO_TOOLS: Mapping[str, tuple[int, str]] = {
    "Ollama": (400, "registry.ollama.ai/library/gemma:2b does not support tools"),
    "OpenRouter": (404, "No endpoints found that support tool use."),
    "vLLM": (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
}


def _asked(text: str, block: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": [HumanMessage([{"type": "text", "text": text}, dict(block)])]}


@pytest.fixture
def reads(open_wire: OpenWire, furnish):
    """Return a function that gives what the person reads of each message, and how often a model was asked."""

    async def read(sent: Mapping[str, tuple[Kind, Any, Reply]], stream: bool) -> dict[str, tuple[str, int]]:
        house = furnish({kind: at(open_wire(kind), max_retries=2, streaming=stream) for kind in KINDS})
        found = {}
        async with house.open() as orchestrator:
            for name, (kind, block, reply) in sent.items():
                wire = house.wires[kind]
                wire.brain = lambda heard, reply=reply: reply
                before, config = len(wire.heard), orchestrator.config(name)
                context = house.context(path="direct", responder=kind)
                result = await orchestrator.graph.ainvoke(_asked("Hello", block), config, context=context)
                found[name] = (result["response"], len(wire.heard) - before)
        return found

    return read


@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_sent_to_a_model_is_told_and_the_model_is_not_asked(reads, stream):
    sent = {name: (kind, block, Reply(text="never")) for name, (kind, block, _) in UNSENT.items()}
    for name, (told, asked) in (await reads(sent, stream)).items():
        thing = UNSENT[name][2]
        assert told.endswith(f"it takes no {thing}. Send it as text, or use a model that takes it."), name
        assert asked == 0, name


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_model_does_not_take_is_told_in_its_servers_words_and_not_sent_again(reads, stream):
    sent = {
        maker: (kind, block, Reply(status=status, error=words))
        for maker, (kind, block, status, words, _) in REFUSED.items()
    }
    for maker, (told, asked) in (await reads(sent, stream)).items():
        *_, words, thing = REFUSED[maker]
        assert f"it takes no {thing} ({words.rstrip('.')}). Send it as text, or use a model" in told, maker
        assert asked == 1, maker


async def test_what_is_wrong_with_one_picture_is_no_word_on_all(reads):
    sent = {m: (kind, block, Reply(status=400, error=words)) for m, (kind, block, words) in SPOILT.items()}
    for maker, (told, asked) in (await reads(sent, True)).items():
        assert f"it rejected the request ({SPOILT[maker][2].rstrip('.')})" in told, maker
        assert asked == 1, maker


async def test_a_block_in_another_makers_form_is_sent_in_the_models_own(reads):
    google = {"type": "media", "mime_type": "image/png", "data": DATA}
    foreign = [("gemini", ANTHROPIC_PDF), ("gemini", ANTHROPIC_IMAGE), ("openai", ANTHROPIC_PDF)]
    foreign += [("openai", GOOGLE_AUDIO), ("anthropic", google)]
    sent = {f"{n}": (kind, block, Reply(text="Seen.")) for n, (kind, block) in enumerate(foreign)}
    assert set((await reads(sent, True)).values()) == {("Seen.", 1)}


@pytest.mark.parametrize("maker", NO_TOOLS)
async def test_a_model_without_tools_is_told_as_one_with_the_line_for_its_card(
    open_wire: OpenWire, furnish, maker
):
    status, words = NO_TOOLS[maker]
    wire = open_wire("openai", brain=lambda heard: Reply(status=status, error=words))
    house = furnish({"planner": at(wire, max_retries=2)})
    async with house.open() as orchestrator:
        result = await orchestrator.ask("Hello", context=house.context())
    assert "it takes no tools (" in result.response
    assert "Set tools = false on its card" in result.response
    assert len(wire.heard) == 1


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_writer_that_takes_no_audio_writes_from_what_the_planner_heard(
    open_wire: OpenWire, furnish, kind
):
    def writer(heard: Heard) -> Reply:
        if "input_audio" in str(heard.raw):
            return Reply(status=400, error="This model does not support audio content.")
        return Reply(text="Written." if "which you cannot be shown" in str(heard.raw) else "Unseen.")

    cards = {"planner": at(open_wire("gemini", brain=lambda _: Reply(text="Someone says hello.")))}
    house = furnish({**cards, "writer": at(open_wire(kind, brain=writer))})
    async with house.open() as orchestrator:
        config = orchestrator.config("t")
        said = _asked("What is said?", AUDIO)
        result = await orchestrator.graph.ainvoke(said, config, context=house.context())
    assert (result["response"], result["stop_reason"]) == ("Written.", "answered")
    assert len(house.writer.heard) == {"openai": 2, "anthropic": 1}[kind]


async def test_the_next_model_of_the_role_hears_what_the_first_does_not_take(open_wire: OpenWire, furnish):
    calls = (Call("calculate", {"expression": "6*7"}),)
    hears = open_wire("gemini", brain=lambda heard: obedient(heard) if heard.results else Reply(calls=calls))
    cards = {"deaf": at(open_wire("anthropic", brain=obedient)), "hears": at(hears)}
    house = furnish(cards, {"orchestrator": ["deaf", "hears"]})
    async with house.open() as orchestrator:
        config, context = orchestrator.config("t"), house.context(path="single")
        result = await orchestrator.graph.ainvoke(_asked("What is said?", AUDIO), config, context=context)
    note = "Model 'hears' answered, as others could not. Model 'deaf': it takes no audio."
    assert result["response"].startswith(f"Found: 42\n\n{note}")
    assert [each["cause"] for each in result["failed_models"]] == ["unsupported"]
