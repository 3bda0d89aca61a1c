"""Reading on in a stored result: page by page, one's own alone."""

import re
from dataclasses import replace

import pytest

from base.data_dir import LONG_RESULTS
from storage.long_results import ResultFiles
from tools.read_result import read_result
from tools.run import run_tool

TEXT = "".join(f"line {number}\n" for number in range(3_000))


@pytest.fixture
async def handle(settings) -> str:
    return (await ResultFiles(settings.data_dir / LONG_RESULTS).put("local", TEXT, untrusted=False)).handle


async def test_the_pages_tell_where_they_stand_and_together_are_the_whole(call, handle):
    offset, read = 0, ""
    while True:
        page = (await call("read_result", handle=handle, offset=offset)).text
        head, _, text = page.partition("\n")
        assert head.startswith(f"[bytes {offset:,}-{offset + len(text):,} of {len(TEXT):,}; ")
        read += text
        if head.endswith("the end]"):
            break
        offset = int(re.search(r"next offset: (\d+)\]", head)[1])
        assert len(text) == 8_000
    assert read == TEXT


@pytest.mark.parametrize("wrong", ["", "nonsense", "0123456789abcdef0123", "../../ledger.db"])
async def test_a_handle_that_is_not_there_fails_and_says_what_to_give(call, handle, wrong):
    ran = await call("read_result", handle=wrong)
    assert ran.status == "failed"
    assert "Give the handle exactly as it stands" in ran.text


async def test_another_persons_handle_reads_as_if_it_were_not_there(here, handle):
    bob = replace(here, user="bob", user_role="admin")
    ran = await run_tool(read_result, bob, {"handle": handle, "offset": 0})
    assert (ran.status, "There is no stored result" in ran.text) == ("failed", True)


async def test_beyond_the_end_it_says_where_the_end_is(call, handle):
    ran = await call("read_result", handle=handle, offset=10**9)
    assert (ran.status, f"ends at byte {len(TEXT):,}" in ran.text) == ("failed", True)


async def test_a_page_is_as_untrusted_as_what_it_is_a_page_of(settings, call, handle):
    theirs = (await ResultFiles(settings.data_dir / LONG_RESULTS).put("local", TEXT, untrusted=True)).handle
    assert (await call("read_result", handle=theirs, offset=8_000)).untrusted
    assert (await call("read_result", handle=f" {theirs} ")).untrusted
    assert not (await call("read_result", handle=handle)).untrusted
