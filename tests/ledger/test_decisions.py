import asyncio

import pytest

from ledger.records import Changed, Claimed, Decision, Lost, NotApproved, Recorded
from tests.ledger.samples import call, claim

SHOWN = call(path="a")
OTHER = call(path="b")


async def decide(ledger, *, approve=True, by="alice", shown=SHOWN, shown_as="", **more) -> Decision:
    return await ledger.decide(
        call("c1").key, approve=approve, by=by, fingerprint=shown.fingerprint, shown=shown_as, **more
    )


async def test_an_approved_call_runs_once_and_an_unapproved_one_never(ledger):
    assert isinstance(await claim(ledger, SHOWN, needs_approval=True), NotApproved)
    await ledger.ask([SHOWN], expires_at=None)
    assert isinstance(await claim(ledger, SHOWN, needs_approval=True), NotApproved)

    assert (await decide(ledger)).approved
    assert await claim(ledger, SHOWN, needs_approval=True) == Claimed(attempt=1)


async def test_of_many_decisions_at_once_the_first_holds_for_all(ledger):
    await ledger.ask([SHOWN], expires_at=None)
    answers = (decide(ledger, approve=n % 2 == 0, by=f"user{n}") for n in range(50))
    said = await asyncio.gather(*answers)

    assert [decision.won for decision in said].count(True) == 1
    assert len({(decision.approved, decision.by, decision.at) for decision in said}) == 1


async def test_approving_one_thing_never_runs_another(ledger):
    await ledger.ask([SHOWN], expires_at=None)
    await decide(ledger)

    assert isinstance(await claim(ledger, OTHER, needs_approval=True), NotApproved)
    assert isinstance(await claim(ledger, OTHER), NotApproved)


async def test_a_decision_about_something_else_than_what_waits_is_refused_and_the_call_still_waits(ledger):
    await ledger.ask([SHOWN], expires_at=None)
    refused = await decide(ledger, shown=OTHER)

    assert (refused.approved, refused.won, refused.status) == (False, False, "waiting")
    assert "another tool or arguments" in refused.reason
    assert (await decide(ledger)).won


async def test_an_edit_is_bound_to_the_edited_arguments(ledger):
    await ledger.ask([SHOWN], expires_at=None)
    decision = await decide(ledger, args=OTHER.args)

    assert decision.fingerprint == OTHER.fingerprint
    assert isinstance(await claim(ledger, SHOWN, needs_approval=True), NotApproved)
    assert await claim(ledger, OTHER, needs_approval=True) == Claimed(attempt=1)
    [row] = await ledger.audit()
    assert (row["decision"], row["args"]) == ("edited", {"path": "b"})


async def test_a_late_approval_is_refused_as_expired_and_says_who_gave_it(ledger):
    await ledger.ask([SHOWN], expires_at=1000)
    decision = await decide(ledger, at=1000.5)

    assert (decision.approved, decision.status, decision.by) == (False, "expired", "alice")
    assert isinstance(await claim(ledger, SHOWN, needs_approval=True), Recorded)
    [row] = await ledger.audit()
    assert (row["status"], row["decided_by"], row["decided_at"]) == ("expired", "alice", 1000.5)


async def test_an_approval_in_the_last_moment_counts(ledger):
    await ledger.ask([SHOWN], expires_at=1000)

    assert (await decide(ledger, at=1000)).approved


async def test_a_rejection_ends_the_call_with_its_reason(ledger):
    await ledger.ask([SHOWN], expires_at=None)
    decision = await decide(ledger, approve=False, message="not today")

    assert (decision.approved, decision.won) == (False, True)
    assert decision.reason == "Action denied by user: not today"
    outcome = await claim(ledger, SHOWN, needs_approval=True)
    assert outcome == Recorded("denied", "Action denied by user: not today")


async def test_approving_what_was_superseded_says_so(ledger):
    await ledger.ask([SHOWN], expires_at=None)
    await ledger.supersede([SHOWN])
    decision = await decide(ledger)

    assert (decision.approved, decision.status) == (False, "superseded")
    assert "superseded" in decision.reason


async def test_a_decision_on_an_unknown_call_names_it(ledger):
    decision = await decide(ledger)

    assert (decision.approved, decision.status) == (False, None)
    assert "'c1'" in decision.reason


async def test_asking_again_changes_nothing(ledger):
    await ledger.ask([SHOWN], expires_at=None)
    await decide(ledger)
    assert await ledger.ask([SHOWN, call("c2")], expires_at=2) == 2
    assert await ledger.ask([SHOWN, call("c2")], expires_at=1) == 2, "as it was asked first"

    assert [row["status"] for row in await ledger.audit()] == ["ready", "waiting"]


async def test_what_waits_for_a_person_does_not_run_though_policy_stopped_asking(ledger):
    await ledger.ask([SHOWN], expires_at=None)

    assert isinstance(await claim(ledger, SHOWN, needs_approval=False), NotApproved)


async def test_a_call_that_ran_unasked_cannot_be_approved_afterwards(ledger):
    await claim(ledger, SHOWN)

    assert not (await decide(ledger)).approved


async def doubted(ledger, *, by="alice", shown=SHOWN, approve=True, attempt=1) -> Decision:
    return await decide(ledger, approve=approve, by=by, shown=shown, attempt=attempt)


async def in_doubt(ledger) -> None:
    """Let a call be cut short, and ask about it."""
    await claim(ledger, SHOWN, lease_s=-1)
    assert set(await ledger.ask_again([SHOWN], None)) == {"c1"}


@pytest.mark.parametrize("first", [True, False])
async def test_a_second_answer_to_a_call_in_doubt_changes_nothing_of_the_first(ledger, first):
    await in_doubt(ledger)
    assert (await doubted(ledger, approve=first)).won
    before = await ledger.audit()
    second = await doubted(ledger, approve=not first, by="bob")

    assert not second.won
    assert second.approved == first
    assert await ledger.audit() == before
    assert isinstance(await claim(ledger, SHOWN), Claimed if first else Recorded)


async def test_a_yes_that_was_shown_other_arguments_lets_no_call_in_doubt_run_again(ledger):
    await in_doubt(ledger)
    refused = await doubted(ledger, shown=OTHER)

    assert (refused.approved, refused.won) == (False, False)
    assert isinstance(await claim(ledger, SHOWN), Lost)
    assert (await doubted(ledger)).won, "and it is still asked"


async def test_a_yes_to_what_was_shown_is_taken_back_once_that_has_changed(ledger):
    await ledger.ask([SHOWN], expires_at=None)
    await decide(ledger, shown_as="before")
    terms = {"needs_approval": True, "lease_s": 60, "rerun": False, "recorded": True}

    assert await ledger.claim(SHOWN, **terms, shown="after") == Changed()
    assert await ledger.claim(SHOWN, **terms, shown="before") == Changed(), "it is asked anew in any case"
    await ledger.ask([SHOWN], expires_at=None)
    assert await ledger.claim(SHOWN, **terms, shown="after") == Changed(), "and waits for that"
    await decide(ledger, shown_as="after")
    assert await ledger.claim(SHOWN, **terms, shown="after") == Claimed(attempt=1)


async def test_a_yes_to_run_again_is_taken_back_once_what_was_shown_has_changed(ledger):
    await in_doubt(ledger)
    await decide(ledger, attempt=1, shown_as="before")
    terms = {"needs_approval": False, "lease_s": 60, "rerun": False}

    assert await ledger.claim(SHOWN, **terms, shown="after") == Changed()
    assert isinstance(await ledger.claim(SHOWN, **terms, shown="after"), Lost)
    assert set(await ledger.ask_again([SHOWN], None)) == {"c1"}
    await decide(ledger, attempt=1, shown_as="after")
    assert await ledger.claim(SHOWN, **terms, shown="after") == Claimed(attempt=2)


@pytest.mark.parametrize("needs_approval", [True, False])
async def test_what_may_run_twice_is_not_run_again_as_something_else_than_was_shown(ledger, needs_approval):
    await ledger.ask([SHOWN], None)
    await decide(ledger, shown_as="before")
    terms = {"needs_approval": needs_approval, "lease_s": 60, "rerun": True}

    assert await ledger.claim(SHOWN, **terms, shown="before") == Claimed(attempt=1)
    await ledger.abandon(SHOWN.key, 1)
    assert isinstance(await ledger.claim(SHOWN, **terms, shown="after"), Lost)
    assert await ledger.claim(SHOWN, **terms, shown="before") == Claimed(attempt=2), "what was shown"
    await ledger.abandon(SHOWN.key, 2)
    assert set(await ledger.ask_again([SHOWN], None)) == {"c1"}
    await decide(ledger, attempt=2, shown_as="after")
    assert await ledger.claim(SHOWN, **terms, shown="after") == Claimed(attempt=3)
