import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from ledger.ledger import Ledger
from ledger.records import Claimed, Recorded, fingerprint
from tests.ledger.samples import call

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(args):
    assert fingerprint("tool", args) == fingerprint("tool", dict(reversed(args.items())))


@settings(max_examples=50)
@given(st.tuples(st.text(), json_values), st.tuples(st.text(), json_values))
def test_two_calls_share_a_fingerprint_only_if_they_are_written_the_same(one, other):
    same = fingerprint(one[0], {"a": one[1]}) == fingerprint(other[0], {"a": other[1]})

    assert same == (repr(one) == repr(other) or _alike(one, other))


def _alike(one, other) -> bool:
    """Tell whether two values differ in nothing but the order of keys."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return repr(one) == repr(other)


SHOWN, EDITED = call(path="a"), call(path="b")
variants = st.sampled_from([SHOWN, EDITED])


class OneCall(RuleBasedStateMachine):
    """Anything that can happen to one call, in any order."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.Runner()
        self.ledger = self.open()
        self.loop.run(self.ledger.enter([SHOWN]))
        self.approved: set[str] = set()
        self.outcome: Recorded | None = None
        self.may_be_running = False
        self.lease_s = 0.0
        self.attempt = 0
        self.may_run_again = False
        """A person said so of the last attempt."""

    def open(self) -> Ledger:
        return self.loop.run(Ledger.open(Path(self.folder.name) / "ledger.db"))

    def teardown(self):
        self.loop.run(self.ledger.close())
        self.loop.close()
        self.folder.cleanup()

    def remember(self):
        found = self.loop.run(self.ledger.outcomes("alice", "t1", ["c1"])).get("c1")
        assert self.outcome in (None, found)
        self.outcome = found

    @rule(expires_at=st.sampled_from([None, 10.0]))
    def ask(self, expires_at):
        self.loop.run(self.ledger.ask([SHOWN], expires_at))
        self.remember()

    @rule(approve=st.booleans(), shown=variants, edit=st.booleans(), at=st.sampled_from([5.0, 15.0]))
    def decide(self, approve, shown, edit, at):
        decision = self.loop.run(
            self.ledger.decide(
                call("c1").key,
                approve=approve,
                by="alice",
                fingerprint=shown.fingerprint,
                args=EDITED.args if edit else None,
                at=at,
            )
        )
        if decision.won and decision.approved:
            assert approve
            assert shown == SHOWN
            self.approved.add((EDITED if edit else SHOWN).fingerprint)
            self.may_be_running = False  # what is asked so was not begun, or the person knows of the loss
        self.remember()

    @rule(
        wanted=variants, needs_approval=st.booleans(), lease_s=st.sampled_from([0, 60]), rerun=st.booleans()
    )
    def claim(self, wanted, needs_approval, lease_s, rerun):
        got = self.loop.run(
            self.ledger.claim(wanted, needs_approval=needs_approval, lease_s=lease_s, rerun=rerun)
        )
        if isinstance(got, Claimed):
            assert self.outcome is None
            assert not self.may_be_running or ((rerun or self.may_run_again) and self.lease_s == 0)
            assert not needs_approval or self.may_run_again or wanted.fingerprint in self.approved
            self.may_be_running, self.lease_s, self.may_run_again = True, lease_s, False
            self.attempt = got.attempt
        self.remember()

    @rule(again=st.booleans(), shown=variants, attempt=st.sampled_from([None, 1, 2]))
    def settle_a_doubt(self, again, shown, attempt):
        lost = self.loop.run(self.ledger.ask_again([SHOWN], None)).get("c1")
        assert lost is None or (self.may_be_running and self.lease_s == 0)
        decision = self.loop.run(
            self.ledger.decide(
                call("c1").key,
                approve=again,
                by="alice",
                fingerprint=shown.fingerprint,
                attempt=attempt or (lost.attempt if lost else 1),
            )
        )
        if decision.won:
            assert lost
            assert decision.approved == again
            self.may_run_again = again
        if decision.status is None and not self.outcome and not (self.may_be_running and self.lease_s):
            self.may_be_running, self.lease_s = True, 0.0  # the ledger has forgotten that it asked
        self.remember()

    @rule(status=st.sampled_from(["executed", "failed"]), attempt=st.sampled_from([1, 2]))
    def finish(self, status, attempt):
        before = self.outcome
        self.loop.run(
            self.ledger.finish(call("c1").key, status=status, text=status, duration_ms=1, attempt=attempt)
        )
        self.remember()
        assert attempt == self.attempt or self.outcome == before

    @rule()
    def supersede(self):
        found = self.loop.run(self.ledger.supersede([SHOWN]))
        assert found or (self.may_be_running and self.lease_s > 0)
        self.remember()

    @rule()
    def note(self):
        self.loop.run(self.ledger.note(SHOWN, status="denied", text="policy"))
        self.remember()

    @rule()
    def restart(self):
        self.loop.run(self.ledger.close())
        self.ledger = self.open()

    @rule()
    def lose_the_ledger(self):
        self.loop.run(self.ledger.close())
        for file in Path(self.folder.name).glob("ledger.db*"):
            file.unlink()
        self.ledger = self.open()
        self.approved, self.outcome, self.attempt = set(), None, 0
        self.may_be_running, self.lease_s, self.may_run_again = True, 0.0, False


TestOneCall = OneCall.TestCase
TestOneCall.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)
