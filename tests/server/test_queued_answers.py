"""Answers that wait for one another on the server: each is for the question that its sender can have seen."""

import asyncio

import pytest

from tests.server.talking import APPROVE, GRAPH, each, outcomes


async def click(talk, *answers):
    """Send answers at once, each queued behind the one before; return what stands when all were heard."""
    queued = {"multitask_strategy": "enqueue"}
    sent = (talk.client.runs.create(talk.id, GRAPH, command={"resume": one}, **queued) for one in answers)
    for run in await asyncio.gather(*sent):
        await talk.client.runs.join(talk.id, run["run_id"])
    return (await talk.client.threads.get_state(talk.id))["values"]


def written(workspace, name):
    return [(workspace / f"{name}-{number}.txt").exists() for number in (1, 2)]


async def test_a_second_click_does_not_answer_the_question_that_comes_after(open_talk, workspace):
    answers = {"yes": True, "words": "yes", "first": APPROVE}

    async def twice(name):
        talk = await open_talk()
        await talk.say(f'write "a" to {name}-1.txt then write "b" to {name}-2.txt')
        asked = (await click(talk, answers[name], answers[name]))["pending"]
        assert [action["args"]["path"] for action in asked["action_requests"]] == [f"{name}-2.txt"]
        assert "sent before this question was put" in asked["problem"]
        assert written(workspace, name) == [True, False]

        ended = await talk.answer(answers[name])
        assert outcomes(ended) == [("write_file", "executed")] * 2
        assert written(workspace, name) == [True, True]

    await each(answers, twice)


@pytest.mark.slow
async def test_a_second_click_on_the_first_of_two_calls_does_not_decide_the_other(talk, workspace):
    await talk.say('write "a" to two-1.txt and write "b" to two-2.txt')
    approve = {"type": "approve"}
    for asked_next in (
        "two-1.txt",
        "two-2.txt",
    ):  # the first decides nothing: asked alone
        asked = (await click(talk, approve, approve))["pending"]
        assert [action["args"]["path"] for action in asked["action_requests"]] == [asked_next]
        assert written(workspace, "two") == [False, False]

    ended = await talk.answer({"type": "reject"})
    assert outcomes(ended) == [("write_file", "executed"), ("write_file", "denied")]
    assert written(workspace, "two") == [True, False]


@pytest.mark.slow
async def test_answers_that_name_their_calls_count_however_they_queue(talk, workspace):
    asked = (await talk.say('write "a" to both-1.txt and write "b" to both-2.txt'))["pending"]
    ids = [action["tool_call_id"] for action in asked["action_requests"]]
    ended = await click(talk, *({"type": "approve", "tool_call_id": call_id} for call_id in ids))
    assert outcomes(ended) == [("write_file", "executed")] * 2
    assert written(workspace, "both") == [True, True]
