"""What the leader's book on a follower may never say."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from raycons.consensus.raft.progress import Mode, Progress

MAX_MESSAGES, MAX_BYTES = 3, 100


class Book(RuleBasedStateMachine):
    """Sends, acknowledgements in any order, refusals, lost connections, snapshots."""

    def __init__(self) -> None:
        super().__init__()
        self.progress = Progress(1, 0.0)
        self.last = 0  # of the leader's log
        self.told = 0  # the highest acknowledgement so far

    @rule(count=st.integers(1, 5))
    def append(self, count: int) -> None:
        self.last += count

    @precondition(lambda self: self.progress.may_send(MAX_MESSAGES, MAX_BYTES))
    @rule(count=st.integers(0, 3), size=st.integers(0, 60))
    def send(self, count: int, size: int) -> None:
        self.progress.sent(min(self.progress.next - 1 + count, self.last), size)

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        matched = data.draw(st.integers(0, self.last))
        news = self.progress.acknowledged(matched, 1)
        assert news == (matched > self.told)
        self.told = max(self.told, matched)
        if self.progress.mode is Mode.PROBE:
            self.progress.become_replicate()

    @rule(data=st.data())
    def refused(self, data: st.DataObject) -> None:
        self.progress.become_probe(data.draw(st.integers(1, self.last + 1)))
        assert self.progress.may_send(MAX_MESSAGES, MAX_BYTES)

    @rule()
    def snapshot(self) -> None:
        self.progress.become_snapshot(0.0)
        assert not self.progress.may_send(MAX_MESSAGES, MAX_BYTES)

    @invariant()
    def match_never_falls(self) -> None:
        assert self.progress.match == self.told

    @invariant()
    def nothing_acknowledged_is_sent_again(self) -> None:
        assert self.progress.match < self.progress.next <= self.last + 1

    @invariant()
    def limits_hold(self) -> None:
        book = self.progress
        assert len(book.inflight) <= MAX_MESSAGES
        assert book.inflight_bytes == sum(size for _, size in book.inflight)
        # One message may pass the bound in bytes, or nothing large could ever be sent.
        assert book.inflight_bytes < MAX_BYTES + 60
        assert all(last >= book.match for last, _ in book.inflight)

    @invariant()
    def one_probe_at_a_time(self) -> None:
        book = self.progress
        if book.mode is Mode.PROBE and book.probing:
            assert not book.may_send(MAX_MESSAGES, MAX_BYTES)


TestBook = Book.TestCase
TestBook.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
