"""What a leader knows of one peer, and how much it may send it."""

from __future__ import annotations

from collections import deque

from raycons.consensus.quorum import Index


class Progress:
    """The leader's book on one peer."""

    __slots__ = (
        "accepted",
        "acked_round",
        "beyond",
        "heard_at",
        "inflight",
        "inflight_bytes",
        "known",
        "last_acknowledged",
        "looked_at",
        "looked_round",
        "next",
        "promised_until",
        "round_of_news",
        "version",
    )

    def __init__(self, next: Index, now: float) -> None:
        self.next: Index = next  # the first slot to send
        self.accepted: Index = next - 1  # what we propose it has up to here
        self.beyond: set[Index] = set()  # and these after it
        self.last_acknowledged: Index = 0  # the highest slot that it said it accepted
        self.known: Index = 0  # up to where it holds what is chosen, as it said
        self.inflight: deque[tuple[Index, int]] = deque()  # (last slot, bytes) of each Accept
        self.inflight_bytes = 0
        self.heard_at = now
        self.acked_round = 0  # the newest heartbeat that it echoed
        self.looked_round = 0  # the heartbeat since which it was looked after,
        self.looked_at: Index = 0  # and what it had accepted then
        self.round_of_news = 0  # the newest round when it last acknowledged something
        self.promised_until = 0.0  # its promise to a leader, on our clock, margin taken off
        self.version = 0  # the newest format that it handles; 0: it has not said yet

    @property
    def match(self) -> Index:
        """Up to where it holds what is chosen, as it told."""
        return self.known

    @property
    def condition(self) -> str:
        """How it is being sent to, in a word."""
        return "repeat" if self.beyond else "pipeline"

    def held(self, first: Index) -> Index:
        """Up to where it has a value in every slot; ours, from our `first` proposal on."""
        return self.accepted if self.known >= first - 1 else self.known

    def may_send(self, max_messages: int, max_bytes: int) -> bool:
        """Whether one more Accept may leave now."""
        return len(self.inflight) < max_messages and self.inflight_bytes < max_bytes

    def sent(self, last: Index, size_bytes: int) -> None:
        """An Accept with slots up to `last` left."""
        self.next = last + 1
        self.inflight.append((last, size_bytes))
        self.inflight_bytes += size_bytes

    def acknowledged(self, first: Index, last: Index, round: int) -> None:
        """It accepted these slots; answers may come out of order."""
        if last > self.last_acknowledged:
            self.last_acknowledged, self.round_of_news = last, round
        if last > self.accepted:
            self.round_of_news = round
            if first <= self.accepted + 1:
                self._holds(last)
            else:
                self.beyond.update(range(first, last + 1))

    def knows(self, decided: Index) -> None:
        """It holds what is chosen up to `decided`, from wherever it came."""
        self.known = max(self.known, decided)
        if decided > self.accepted:
            self._holds(decided)

    def _holds(self, last: Index) -> None:
        self.accepted = last
        while self.accepted + 1 in self.beyond:
            self.accepted += 1
        if self.beyond:
            self.beyond = {slot for slot in self.beyond if slot > self.accepted}
        while self.inflight and self.inflight[0][0] <= self.accepted:
            self.inflight_bytes -= self.inflight.popleft()[1]
        self.next = max(self.next, self.accepted + 1)

    def begin_again(self) -> None:
        """What is under way may be lost: send what it has not acknowledged once more."""
        self.next = self.accepted + 1
        self.inflight.clear()
        self.inflight_bytes = 0
