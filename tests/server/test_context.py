"""What a client may choose on the server, and what it may not."""

import asyncio
import re

import pytest

from tests.server.talking import each, outcomes


async def test_a_client_cannot_pass_for_somebody_else(talk, audit):
    asked = await talk.say('write "x" to alice.txt', user="alice", user_role="admin")
    assert asked["pending"]
    assert [(row["user"], row["role"]) for row in await audit(talk)] == [("local", "user")]


async def test_a_role_can_only_be_lowered(open_talk, workspace, audit):
    async def ask(role):
        talk = await open_talk()
        output = await talk.say(f'what is 12*7 and write "x" to {role}.txt', user_role=role)
        return {row["role"] for row in await audit(talk)}, bool(output["pending"])

    roles = await each(["admin", "user", "guest"], ask)
    assert roles == {"admin": ({"user"}, True), "user": ({"user"}, True), "guest": ({"guest"}, False)}
    assert not any((workspace / f"{role}.txt").exists() for role in roles)


async def test_a_client_narrows_what_runs_unasked_and_never_widens_it(open_talk, workspace):
    workspace.mkdir(parents=True, exist_ok=True)

    async def delete(file, **context):
        (workspace / file).write_text("")
        return (await (await open_talk()).say(f"delete {file}", **context))["pending"]

    async def write(file, **context):
        return (await (await open_talk()).say(f'write "x" to {file}', **context))["pending"]

    listed, narrowed, denied, opened = await asyncio.gather(
        delete("listed.txt"),
        delete("narrowed.txt", confirm_allow=["write_file"]),
        delete("denied.txt", confirm_deny=["delete_file"]),
        write("opened.txt", confirm_allow=["write_file", "delete_file"]),
    )
    assert listed is None
    assert not (workspace / "listed.txt").exists()
    assert narrowed
    assert denied
    assert opened
    assert not (workspace / "opened.txt").exists()


WRONG = {
    "There is no role or model 'gpt-17'": {"orchestrator": "gpt-17"},
    "There is no role or model 'gpt-18'": {"responder": "gpt-18"},
    "Unknown tool 'hack'": {"tools": ["hack"]},
    "max_rounds\n  Input should be a valid integer": {"max_rounds": "many"},
    "max_rounds\n  Input should be greater than or equal to 1": {"max_rounds": 0},
    "Input should be 'auto', 'two-brain', 'single' or 'direct'": {"path": "third"},
    "The message is empty": {},
}


@pytest.mark.slow
async def test_what_is_wrong_with_a_choice_is_said_and_the_thread_stays_usable(open_talk):
    async def wrong(words):
        talk = await open_talk()
        with pytest.raises(Exception, match=re.escape(words)) as caught:
            await talk.say("what is 12*7" if WRONG[words] else "  ", **WRONG[words])
        assert "Traceback" not in str(caught.value)
        return outcomes(await talk.say("what is 12*7"))

    assert [*(await each(WRONG, wrong)).values()] == [[("calculate", "executed")]] * len(WRONG)


async def test_a_field_that_the_form_does_not_have_is_dropped_by_the_server_itself(talk):
    output = await talk.say("what is 12*7", colour="blue")
    assert "84" in output["response"]
    history = await talk.client.threads.get_history(talk.id)
    assert "blue" not in str(history)
