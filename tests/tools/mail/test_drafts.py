from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from functools import partial

import pytest

from base.worker_threads import in_thread
from tests.tools.mail.imap_server import mail
from tools.declaration import ToolFailure
from tools.registry import open_registry

ASKED = {"mail": "INBOX:1700000000:1", "body": "Gern, um acht.\n"}
CHAIN = {
    "Message_ID": "<2@school.example>",
    "References": "<1@school.example>\r\n <x\r\nBcc: eve@evil.example>",
}


def saved(server):
    return [message_from_bytes(each.content, policy=default) for each in server.folders["Drafts"].mails]


@pytest.fixture
def logged(ada):
    """Return ada's surroundings, and what would undo her call."""
    record = {}

    def log(data, *, first=False):
        record.update(data)

    return replace(ada(), log_undo=log), record


async def test_a_reply_is_saved_as_a_draft_in_its_conversation_and_sent_to_nobody(call, server):
    server.arrive(mail(Subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=", **CHAIN))
    told = await call("draft_reply", **ASKED)
    assert told.text == "Saved a draft to bo@school.example, 'Re: Grüße', in Drafts. It was not sent."
    (draft,) = saved(server)
    assert (draft["From"], draft["To"], draft["Subject"]) == (
        "ada@home.example",
        "bo@school.example",
        "Re: Grüße",
    )
    assert draft["In-Reply-To"] == "<2@school.example>"
    assert draft["References"].split() == ["<1@school.example>", "<2@school.example>"]
    assert draft["Bcc"] is None
    assert draft.get_content().strip() == "Gern, um acht."
    assert server.folders["Drafts"].mails[0].flags == {"\\Draft", "\\Seen"}


async def test_it_asks_and_shows_exactly_what_would_be_saved(ada, server):
    server.arrive(mail(Reply_To="eve@evil.example"))
    here = ada()
    tool = open_registry(here.settings).get("draft_reply")
    assert tool.confirm
    assert await tool.preview(here, ASKED) == (
        'Save a draft in Drafts; it is not sent\nIn answer to: "Bo" <bo@school.example>\n'
        "From: ada@home.example\nTo: eve@evil.example\n"
        "Subject: Re: Trip\n\nGern, um acht.\n"
    )
    assert saved(server) == []


async def test_a_draft_that_is_saved_again_after_a_crash_is_still_one(call, ada, server):
    server.arrive(mail())
    server.faults["APPEND"] = "after"
    lost = await call("draft_reply", **ASKED)
    assert lost.status == "unknown"
    server.faults.clear()
    again = await call("draft_reply", **ASKED)
    assert again.text.startswith("The draft is there already: to bo@school.example")
    assert len(saved(server)) == 1
    await call("draft_reply", replace(ada(), idempotency_key="another"), **ASKED)
    assert len(saved(server)) == 2
    server.faults["APPEND"] = "before"
    assert (await call("draft_reply", replace(ada(), idempotency_key="third"), **ASKED)).status == "unknown"
    assert len(saved(server)) == 2


async def test_a_draft_is_undone_as_long_as_nobody_has_touched_it(call, logged, server):
    here, record = logged
    server.arrive(mail())
    await call("draft_reply", here, **ASKED)
    undo = open_registry(here.settings).get("draft_reply").undo
    drafts = server.folders["Drafts"]
    as_saved = drafts.mails[0].content
    drafts.mails[0].content = as_saved.replace(b"acht", b"neun")
    with pytest.raises(ToolFailure, match="has been changed since"):
        await in_thread(partial(undo.run, here, record))
    drafts.mails[0].content = as_saved
    assert await in_thread(partial(undo.verify, here, record)) is None
    asked = await in_thread(partial(undo.preview, here, record))
    assert asked == "Delete the draft to bo@school.example, 'Re: Trip', in Drafts"
    told = await in_thread(partial(undo.run, here, record))
    assert told == "Deleted: the draft to bo@school.example, 'Re: Trip', in Drafts."
    assert server.folders["Drafts"].mails == []
    assert await in_thread(partial(undo.verify, here, record)) is True
    with pytest.raises(ToolFailure, match="not there any more"):
        await in_thread(partial(undo.run, here, record))


async def test_a_reply_to_all_leaves_the_person_out_and_goes_to_no_crowd(call, server):
    server.arrive(mail(To="ADA@home.example, cy@x.example", Cc="bo@school.example"))
    server.arrive(mail(To=", ".join(f"p{number}@x.example" for number in range(10_000))))
    await call("draft_reply", **ASKED, to_all=True)
    assert saved(server)[0]["To"] == "bo@school.example, cy@x.example"
    refused = await call("draft_reply", mail="INBOX:1700000000:2", body="yes", to_all=True)
    assert "more than 50 people" in refused.text
    assert len(saved(server)) == 1
