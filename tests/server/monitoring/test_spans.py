"""What a server tells a collector and its log of the runs: whose they are, and nothing that was said."""

from tests.server.conftest import TOKENS
from tests.server.talking import APPROVE, Talk
from tests.wires.brain import Reply

SAID = 'write "planted-words-4771" to planted-4772.txt'


async def test_a_run_is_told_and_nothing_that_was_said(alice, guarded, collector):
    talk = Talk(alice, (await alice.threads.create())["thread_id"])
    assert (await talk.say(SAID, confirm_deny=["write_file"]))["pending"]
    await talk.answer(APPROVE)
    while collector.wait_for("execute_tool write_file").attributes["gen_ai.conversation.id"] != talk.id:
        pass  # another test's
    assert not any(span.failed for span in collector.spans)
    for secret in ("planted", "alice", *TOKENS.values()):
        assert secret.encode() not in collector.raw


async def test_a_line_of_the_log_names_thread_user_and_run(open_talk, server, wires):
    wires["openai"].brain = lambda heard: Reply(status=401, error="no such key")
    talk = await open_talk()
    await talk.say("hello", orchestrator="openai", responder="openai", path="single")
    [run] = await talk.client.runs.list(talk.id)
    [line, *_] = [line for line in server.log.splitlines() if "no such key" in line]
    for name, value in {"thread_id": talk.id, "user": "local", "run_id": run["run_id"]}.items():
        assert f"{name}={value}" in line
