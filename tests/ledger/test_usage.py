import pytest

from ledger.ledger import Ledger
from tests.ledger.samples import use

DAY = 86_400.0


async def test_every_model_call_is_kept_as_it_was_told(ledger):
    ledger.record_usage(use(error="timeout", cost_usd=None))

    [row] = await ledger.usage(user="alice")

    assert row["error"] == "timeout"
    assert row["input_tokens"] == 100
    assert row["cost_usd"] is row["cached_tokens"] is None
    assert set(row) == set(use().__dataclass_fields__)


async def test_usage_is_found_by_user_time_thread_and_turn(ledger):
    ledger.record_usage(use(user="alice", at=10.0))
    ledger.record_usage(use(user="bob", at=20.0, thread="t2"))
    ledger.record_usage(use(user="bob", at=30.0, thread="t2", turn="turn-2"))

    assert [row["at"] for row in await ledger.usage(user="bob")] == [20.0, 30.0]
    assert [row["at"] for row in await ledger.usage(since=20.0)] == [20.0, 30.0]
    assert [row["at"] for row in await ledger.usage(thread="t2", turn="turn-2")] == [30.0]


async def test_totals_add_what_is_known_and_leave_unknown_what_never_was(ledger):
    ledger.record_usage(use(cost_usd=0.25, input_tokens=100))
    ledger.record_usage(use(cost_usd=None, input_tokens=None))

    [total] = await ledger.usage_totals(by="user")

    assert total == {
        "user": "alice",
        "model_calls": 2,
        "unpriced_calls": 1,
        "input_tokens": 100,
        "output_tokens": 20,
        "cached_tokens": None,
        "reasoning_tokens": None,
        "cost_usd": 0.25,
        "duration_ms": 1600.0,
    }


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("user", [{"user": "alice"}, {"user": "bob"}]),
        ("model", [{"backend": "gemini", "model": "g3"}, {"backend": "claude", "model": "s4"}]),
        ("turn", [{"thread": "t1", "turn": "1"}, {"thread": "t1", "turn": "2"}]),
        ("day", [{"day": "1970-01-01"}, {"day": "1970-01-02"}]),
    ],
)
async def test_totals_are_grouped_by_user_model_turn_or_utc_day(ledger, by, groups):
    first = {"user": "alice", "backend": "gemini", "model": "g3", "turn": "1", "at": DAY - 1}
    second = {"user": "bob", "backend": "claude", "model": "s4", "turn": "2", "at": DAY}
    for told in (first, second, second):
        ledger.record_usage(use(**told))

    totals = await ledger.usage_totals(by=by)

    assert [{name: total[name] for name in groups[0]} for total in totals] == groups
    assert [total["input_tokens"] for total in totals] == [100, 200]
    assert len(await ledger.usage_totals(by=by, since=DAY)) == 1


async def test_a_thread_keeps_its_user_its_title_and_its_beginning(ledger):
    await ledger.touch("t1", user="alice", status="running", title="Bins")
    [begun] = await ledger.threads()
    await ledger.touch("t1", user="alice", status="answered")
    await ledger.touch("t1", user="mallory", status="failed", title="Mine")
    ledger.mark("t1", user="mallory", status="waiting", title="Mine")
    await ledger.take_up("t1", "mallory")
    [row] = await ledger.threads()

    assert (row["user"], row["title"], row["status"]) == ("alice", "Bins", "answered")
    assert row["created_at"] == begun["created_at"] <= row["updated_at"]


async def test_a_thread_waits_since_it_began_to_and_no_longer_than_it_does(ledger):
    seen = []
    for status in ("waiting", "waiting", "running", "waiting"):
        await ledger.touch("t1", user="alice", status=status)
        seen += await ledger.threads()
    first, still, running, again = seen

    assert first["waiting_since"] == first["updated_at"] == still["waiting_since"] < still["updated_at"]
    assert running["waiting_since"] is None
    assert again["waiting_since"] == again["updated_at"]


async def test_threads_are_found_by_user_and_status_the_last_touched_last(ledger):
    await ledger.touch("t1", user="alice", status="waiting")
    await ledger.touch("t2", user="alice", status="answered")
    await ledger.touch("t3", user="bob", status="waiting")
    await ledger.touch("t1", user="alice", status="waiting")

    assert [row["thread"] for row in await ledger.threads()] == ["t2", "t3", "t1"]
    assert [row["thread"] for row in await ledger.threads(user="alice", status="waiting")] == ["t1"]


async def test_what_a_model_call_may_take_is_booked_as_it_begins_and_settled_as_it_ends(ledger, path):
    booked = use(counted_tokens=300, cost_usd=0.5, error="begun")
    first = await ledger.book_usage(booked, 400, None)
    other = await Ledger.open(path)
    second = await other.book_usage(booked, 400, None)
    assert await ledger.book_usage(booked, 400, None) == (600, 1.0, 2), "of what both have begun"
    assert await other.book_usage(booked, None, 0.9) == (600, 1.0, 2)
    ledger.settle_usage(first, use())
    other.settle_usage(second, None)
    await other.close()
    assert await ledger.book_usage(booked, 0, None) == (110, 0.25, 0)
    assert [row["error"] for row in await ledger.usage()] == [None]


@pytest.mark.parametrize(("told", "counted"), [(10**30, 10**15), (2**63, 10**15), (-10_000, 0)])
async def test_a_count_that_no_provider_can_mean_is_on_record_and_frees_nothing_of_the_day(
    ledger, told, counted
):
    await ledger.book_usage(use(), None, None)
    for _ in range(2):
        number = await ledger.book_usage(use(error="begun"), None, None)
        ledger.settle_usage(number, use(input_tokens=told, counted_tokens=told))
    assert [row["input_tokens"] for row in await ledger.usage()] == [100, counted, counted]
    assert (await ledger.book_usage(use(counted_tokens=told), 1, None)).tokens == 110 + 2 * counted


async def test_a_call_that_never_ends_counts_as_it_was_booked_for_it_may_have_been_billed(path):
    ledger = await Ledger.open(path)
    await ledger.book_usage(use(counted_tokens=300, cost_usd=0.5, error="begun"), 400, 1.0)
    await ledger.close()
    again = await Ledger.open(path)
    assert await again.book_usage(use(), 0, None) == (300, 0.5, 1)
    await again.close()
