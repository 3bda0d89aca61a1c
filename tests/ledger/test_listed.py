"""What a person looks at in the ledger: titles of their own, calls that hold words, what has changed."""

from ledger.ledger import Ledger
from ledger.records import Remembered
from tests.ledger.samples import call


async def test_a_thread_keeps_the_title_that_its_user_gave_it(ledger: Ledger):
    await ledger.touch("t1", user="alice", status="answered", title="first words")
    assert await ledger.rename("t1", "alice", "  Holidays\n")
    await ledger.touch("t1", user="alice", status="answered", title="other words")
    assert (await ledger.thread("t1"))["title"] == "Holidays"
    assert [row["title"] for row in await ledger.threads(user="alice")] == ["Holidays"]
    assert not await ledger.rename("t1", "bob", "his")
    assert not await ledger.rename("none", "alice", "hers")
    await ledger.forget_thread("t1", audit=False)
    await ledger.touch("t1", user="alice", status="answered", title="anew")
    assert (await ledger.thread("t1"))["title"] == "anew"


async def test_calls_are_found_by_what_their_arguments_hold(ledger: Ledger):
    made = [call("c1", path="Übung/a_1"), call("c2", path='100% "sure"'), call("c3", path="back\\slash")]
    await ledger.ask(made, expires_at=None)

    async def found(words: str) -> list[str]:
        return [row["call_id"] for row in await ledger.audit(words=words)]

    assert await found("Übung") == ["c1"]
    assert await found("A_1") == ["c1"]
    assert await found("a%1") == []
    assert await found('% "SURE') == ["c2"]
    assert await found("k\\s") == ["c3"]
    assert await found(made[0].tool.upper()) == ["c1", "c2", "c3"]
    [last] = await ledger.audit(limit=1, numbered=True)
    before = await ledger.audit(before=last["number"])
    assert [row["call_id"] for row in before] == ["c1", "c2"]


async def test_each_users_stamp_changes_with_what_is_theirs_alone(ledger: Ledger):
    async def changed() -> dict[str, list[int]]:
        nonlocal stamps
        before, stamps = stamps, await ledger.stamps()
        nothing = ((), (), (), ())
        pairs = {user: (before.get(user, nothing), stamps.get(user, nothing)) for user in {*before, *stamps}}
        found = {u: [n for n in range(4) if was[n] != now[n]] for u, (was, now) in pairs.items()}
        return {user: parts for user, parts in found.items() if parts}

    stamps = await ledger.stamps()
    assert await changed() == {}
    await ledger.touch("t1", user="alice", status="running", title="x")
    assert await changed() == {"alice": [0]}
    await ledger.touch("t1", user="alice", status="waiting")
    assert await changed() == {"alice": [0, 1]}
    await ledger.rename("t1", "alice", "mine")
    assert await changed() == {"alice": [0]}
    asked = call("c1", path="a")
    await ledger.ask([asked], expires_at=None)
    rule = Remembered({"path": "a"}, "tool-1", uses=2)
    terms = {"approve": True, "by": "alice", "fingerprint": asked.fingerprint, "remember": rule}
    await ledger.decide(asked.key, **terms)
    assert await changed() == {asked.user: [2]}
    await ledger.forget_thread("t1", audit=False)
    assert await changed() == {"alice": [0, 1]}
