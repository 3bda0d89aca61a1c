"""A call is undone once, if the world is as it left it."""

import asyncio
import stat
from typing import Any

import pytest

from base.errors import UndoError
from graphs.session import Orchestrator
from graphs.transcript import delete_conversation
from nodes.context import Context
from nodes.turn.undo_log import MOST_RECORDS, UndoLog
from tests.behaviour.undo.conftest import did
from tools.declaration import LARGEST_UNDO


async def undone(orchestrator: Orchestrator, call: str, **who: Any) -> str:
    result = await orchestrator.undo(call, True, **who)
    assert result.receipts[0]["status"] == "executed", result
    return result.response


async def refused(orchestrator: Orchestrator, call: str, **who: Any) -> str:
    with pytest.raises(UndoError) as refusal:
        await orchestrator.undo(call, True, **who)
    return str(refusal.value)


async def test_a_write_is_undone_to_the_byte_once_somebody_agrees(place):
    place.workspace.mkdir(parents=True)
    file, before = place.workspace / "a.txt", "k\xe4se\r\n".encode("cp1252") + b"sk-ant-api03-" + b"x" * 90
    file.write_bytes(before)
    file.chmod(0o640)
    async with place.open() as orchestrator:
        call = await did(orchestrator, "write_file", path="a.txt", content="milk")
        asked = await orchestrator.undo(call)
        assert asked.pending
        action = asked.pending["action_requests"][0]
        assert (action["name"], action["args"]) == ("undo", {"call": call, "tool": "write_file"})
        assert "Put back a.txt" in action["description"]
        assert "sk-ant-api03-xxx" not in action["description"]
        assert file.read_text() == "milk"  # nothing happens before somebody agrees
        no = await orchestrator.undo(call, answer=False)
        assert no.receipts[0]["status"] == "denied"
        assert file.read_text() == "milk"
    async with place.open() as orchestrator:  # another process
        assert "Put back a.txt" in await undone(orchestrator, call)
        assert file.read_bytes() == before
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        assert "undone already" in await refused(orchestrator, call)
        rows = [row for row in await orchestrator.ledger.audit() if row["tool"] == "undo"]
    assert [(row["status"], row["decision"], row["decided_by"]) for row in rows] == [
        ("denied", "rejected", "local"),
        ("executed", "approved", "local"),
    ]


async def test_what_was_made_is_deleted_and_what_was_deleted_comes_back(place):
    async with place.open() as orchestrator:
        made = await did(orchestrator, "write_file", path="sub/a.bin", content="milk")
        file = place.workspace / "sub" / "a.bin"
        file.write_bytes(bytes(range(256)))
        gone = await did(orchestrator, "delete_file", path="sub/a.bin")
        file.parent.rmdir()
        assert "no file 'sub/a.bin' any more" in await refused(orchestrator, made)
        await undone(orchestrator, gone)
        assert file.read_bytes() == bytes(range(256))
        assert "changed since" in await refused(orchestrator, made)
        file.write_text("milk")
        await undone(orchestrator, made)
    assert not file.exists()


@pytest.mark.parametrize("became", ["other", None, "a folder", "a link"])
async def test_a_file_that_is_not_as_the_call_left_it_stays(place, became):
    async with place.open() as orchestrator:
        call = await did(orchestrator, "write_file", path="a.txt", content="milk")
        file = place.workspace / "a.txt"
        file.unlink()
        match became:
            case "other":
                file.write_text("tea")
            case "a folder":
                file.mkdir()
            case "a link":
                (place.workspace / "b.txt").write_text("milk")
                file.symlink_to("b.txt")
        assert "cannot be undone" in await refused(orchestrator, call)
        assert not [row for row in await orchestrator.ledger.audit() if row["tool"] == "undo"]
    assert {
        "other": lambda: file.read_text() == "tea",
        "a folder": file.is_dir,
        "a link": lambda: file.is_symlink() and file.read_text() == "milk",
        None: lambda: not file.exists(),
    }[became]()


async def test_a_file_in_a_folder_that_is_named_alike_is_another_and_stays(place):
    folder, alike = place.workspace / "Ann\u2019s", place.workspace / "Ann's"
    folder.mkdir(parents=True)
    (folder / "x.txt").write_text("old")
    async with place.open() as orchestrator:
        call = await did(orchestrator, "delete_file", path="Ann\u2019s/x.txt")
        folder.rename(alike)
        (alike / "x.txt").write_text("new")
        result = await orchestrator.undo(call, answer=True)
    assert result.receipts[0]["status"] == "failed"
    assert (alike / "x.txt").read_text() == "new"


async def test_a_file_that_changes_while_somebody_thinks_stays(place):
    async with place.open() as orchestrator:
        call = await did(orchestrator, "write_file", path="a.txt", content="milk")
        assert (await orchestrator.undo(call)).pending
        (place.workspace / "a.txt").write_text("tea")
        assert "changed since" in await refused(orchestrator, call)
        (place.workspace / "a.txt").write_text("milk")
        await undone(orchestrator, call)


async def test_memories_are_forgotten_and_remembered_again(place):
    async with place.open() as orchestrator:
        made = await did(orchestrator, "remember", text="tea, no sugar")
        again = await did(orchestrator, "remember", text="tea, no sugar")
        assert "nothing was changed" in await refused(orchestrator, again)
        store = orchestrator.graph.store
        (item,) = await store.asearch(("memories", "local"))
        gone = await did(orchestrator, "forget", id=item.key)
        assert "changed since" in await refused(orchestrator, made)
        assert "Remembered again" in await undone(orchestrator, gone)
        await store.aput(("memories", "local"), item.key, {**item.value, "untrusted": True})
        assert "changed since" in await refused(orchestrator, made)
        await store.aput(("memories", "local"), item.key, item.value)
        await undone(orchestrator, made)
        assert not await store.asearch(("memories", "local"))


async def test_an_event_is_taken_out_unless_it_was_edited(dated):
    async with dated.open() as orchestrator:
        args = {"start": "2026-11-20T15:00", "notes": "ring; twice, at most"}
        edited, call = [
            await did(orchestrator, "add_event", summary=what, **args) for what in ("Dentist", "Lunch")
        ]
        name, text = next((n, t) for n, t in dated.events().items() if "Dentist" in t)
        changed = text.replace("Dentist", "Dentist moved")
        put = dated.calendar.put(
            f"home/{name}.ics", content=changed, headers={"Content-Type": "text/calendar"}
        )
        assert put.is_success
        assert "changed since" in await refused(orchestrator, edited)
        asked = await orchestrator.undo(call)
        assert "Take out of the calendar: Lunch, 2026-11-20 15:00" in str(asked.pending)
        await undone(orchestrator, call)
        assert list(dated.events()) == [name]
        dated.calendar.delete(f"home/{name}.ics")
        assert "not in the calendar any more" in await refused(orchestrator, edited)


async def test_two_undos_at_once_run_one(place):
    async with place.open() as one, place.open() as other:
        call = await did(one, "write_file", path="a.txt", content="milk")
        file = place.workspace / "a.txt"
        tries = (each.undo(call, True) for each in (one, other) * 5)
        ends = await asyncio.gather(*tries, return_exceptions=True)
        told = [end for end in ends if not isinstance(end, Exception)]
        assert told
        assert all(isinstance(end, UndoError) for end in ends if end not in told)
        assert {end.receipts[0]["status"] for end in told} == {"executed"}
        assert not file.exists()
        rows = [row for row in await one.ledger.audit() if row["tool"] == "undo"]
        assert [row["status"] for row in rows] == ["executed"]


async def test_what_is_no_consent_undoes_nothing(place):
    async with place.open() as orchestrator:
        call = await did(orchestrator, "write_file", path="a.txt", content="milk")
        edit = {"type": "edit", "edited_action": {"name": "undo", "args": {"call": "x", "tool": "y"}}}
        for answer in ("perhaps", {}, 7, {"decisions": []}, edit, [edit]):
            result = await orchestrator.undo(call, answer)
            assert result.pending, answer
            assert result.pending["problem"]
        assert (place.workspace / "a.txt").read_text() == "milk"


async def test_what_did_not_run_or_cannot_be_undone_is_refused_in_words(place):
    async with place.open() as orchestrator:
        waits = await orchestrator.ask('write "tea" to b.txt', thread_id="w")
        (action,) = waits.pending["action_requests"]
        assert "has not been run" in await refused(orchestrator, action["tool_call_id"])
        await orchestrator.resume("w", answer=False)
        assert "was denied" in await refused(orchestrator, action["tool_call_id"])
        told = await orchestrator.ask("what is 12*7", thread_id="c")
        read = told.tool_calls[0]["call_id"]
        assert "does not say how" in await refused(orchestrator, read)
        assert "has no call 'nothing'" in await refused(orchestrator, "nothing")


async def test_a_call_is_its_persons_or_their_approvers_alone(place):
    place.users = (
        '[users.alice]\nrole = "admin"\n[users.bob]\nrole = "user"\napprovers = ["alice"]\n'
        '[users.eve]\nrole = "admin"\n'
    )
    async with place.open() as orchestrator:
        call = await did(orchestrator, "write_file", user="bob", path="a.txt", content="milk")
        assert "eve has no call" in await refused(orchestrator, call, user="eve")
        assert "local has no call" in await refused(orchestrator, call)
        his = await orchestrator.undo(call, True, user="bob")
        assert "Only alice may agree" in his.pending["problem"]
        assert [each.call.call_id for each in await orchestrator.undoable(user="alice")] == [call]
        await undone(orchestrator, call, user="alice")
        row = (await orchestrator.ledger.audit())[-1]
        assert (row["user"], row["decided_by"], row["tool"]) == ("bob", "alice", "undo")
    place.users = '[users.bob]\nrole = "user"\ntools = ["read_file"]\n'
    async with place.open() as orchestrator:
        again = await UndoLog(orchestrator.ledger).find(["bob"])
        assert again[0].undo_status == "executed"


async def test_a_tool_that_a_person_may_no_longer_use_undoes_nothing(place):
    place.users = "[users.bob]\n"
    async with place.open() as orchestrator:
        call = await did(orchestrator, "write_file", user="bob", path="a.txt", content="milk")
    place.users = '[users.bob]\ntools = ["read_file"]\n'
    async with place.open() as orchestrator:
        assert "not among the tools allowed" in await refused(orchestrator, call, user="bob")


async def test_what_is_too_large_is_said_at_once_and_not_stored(place):
    place.workspace.mkdir(parents=True)
    (place.workspace / "a.txt").write_bytes(b"x" * (LARGEST_UNDO + 1))
    async with place.open() as orchestrator:
        choices = Context(confirm_allow=["write_file"])
        told = await orchestrator.ask('write "tea" to a.txt', thread_id="t", context=choices)
        assert "It cannot be undone: what was there is larger than 1,000,000 bytes." in str(told.receipts)
        call = told.tool_calls[0]["call_id"]
        assert "larger than 1,000,000 bytes" in await refused(orchestrator, call)
        assert not await orchestrator.undoable()


async def test_what_undoes_a_call_goes_with_its_conversation_and_after_a_hundred_more(place):
    async with place.open() as orchestrator:
        first = await did(orchestrator, "write_file", path="a.txt", content="milk", thread="one")
        key = (await orchestrator.undoable())[0].call
        for number in range(MOST_RECORDS):
            await UndoLog(orchestrator.ledger).put(
                key._replace(thread="two", call_id=f"c{number}"), {"path": "x"}, first=True
            )
        assert "a hundred such calls came after" in await refused(orchestrator, first)
        call = await did(orchestrator, "write_file", path="b.txt", content="secret plan", thread="one")
        row = await orchestrator.ledger.thread("one")
        await delete_conversation(orchestrator, row)
        assert "conversation was deleted" in await refused(orchestrator, call)
        held = await UndoLog(orchestrator.ledger).find(["local"], thread="one")
        assert held == []
