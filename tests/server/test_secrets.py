"""A key that comes back from outside; conftest searches every file of the server for it at the end."""

from tests.server.conftest import KEYS
from tests.server.talking import each
from tests.wires.brain import Reply


async def test_a_key_that_a_provider_says_aloud_is_stripped(open_talk, wires, kinds):
    async def refused(kind):
        wires[kind].brain = lambda heard: Reply(status=401, error=f"Incorrect API key provided: {KEYS[kind]}")
        return await (await open_talk()).say("hello", orchestrator=kind)

    for output in (await each(kinds, refused)).values():
        assert output["stop_reason"] == "model_failed"
        assert "rejected the key" in output["response"]
        assert "[redacted]" in output["response"]


async def test_a_key_in_a_file_that_a_tool_reads_is_stripped(talk, workspace):
    file = workspace / "keys.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"the key is {KEYS['gemini']}")
    output = await talk.say("read keys.txt")
    file.unlink()
    assert output["tool_calls"][0]["result"] == "the key is [redacted]"
