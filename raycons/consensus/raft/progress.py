"""What a leader knows of one follower, and how it may send to it.

PROBE      where do our logs part? one Append at a time
REPLICATE  the logs agree: Appends are pipelined, bounded in messages and bytes
SNAPSHOT   the entries it needs are compacted away: it gets the state instead
"""

from __future__ import annotations

import enum
from collections import deque

from raycons.consensus.quorum import Index


class Mode(enum.Enum):
    """How a follower is being sent to."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """The leader's book on one follower."""

    __slots__ = (
        "acked_round",
        "heard_at",
        "inflight",
        "inflight_bytes",
        "looked_round",
        "match",
        "match_round",
        "mode",
        "next",
        "probing",
        "promised_until",
        "snapshot",
        "snapshot_next",
        "snapshot_sent_at",
        "version",
    )

    def __init__(self, next: Index, now: float) -> None:
        self.mode = Mode.PROBE
        self.match: Index = 0  # on the follower's disk, as it told us this term
        self.match_round = 0  # the newest round when `match` took its value
        self.next: Index = next  # the first entry to send
        self.probing = False  # a probe is under way
        self.inflight: deque[tuple[Index, int]] = deque()  # (last index, bytes) of each Append
        self.inflight_bytes = 0
        self.heard_at = now
        self.acked_round = 0
        self.looked_round = 0  # the heartbeat since which it was looked after
        self.promised_until = 0.0  # its promise not to vote, on our clock, margin taken off
        self.snapshot = 0  # the stream under way; 0: the driver has not named it yet
        self.snapshot_next = 0
        self.snapshot_sent_at = 0.0
        self.version = 0  # the newest format that it handles; 0: it has not said yet

    @property
    def condition(self) -> str:
        """How it is being sent to, in a word."""
        return self.mode.value

    def may_send(self, max_messages: int, max_bytes: int) -> bool:
        """Whether one more Append may leave now."""
        if self.mode is Mode.REPLICATE:
            return len(self.inflight) < max_messages and self.inflight_bytes < max_bytes
        return self.mode is Mode.PROBE and not self.probing

    def sent(self, last: Index, size: int) -> None:
        """An Append with entries up to `last` left."""
        if self.mode is Mode.REPLICATE:
            self.next = last + 1
            self.inflight.append((last, size))
            self.inflight_bytes += size
        else:
            self.probing = True

    def acknowledged(self, matched: Index, round: int) -> bool:
        """The follower holds everything up to `matched`; False if that is old news."""
        while self.inflight and self.inflight[0][0] <= matched:
            self.inflight_bytes -= self.inflight.popleft()[1]
        news = matched > self.match
        # An acknowledgement may be overtaken by a later one: what it says never lowers `match`.
        if news:
            self.match, self.match_round = matched, round
        self.next = max(self.next, matched + 1)
        return news

    def become_replicate(self) -> None:
        """The logs agree up to `match`: pipeline from there."""
        self.mode, self.probing = Mode.REPLICATE, False
        self.next = self.match + 1
        self._forget_inflight()

    def become_probe(self, next: Index) -> None:
        """Find out where the logs part, beginning at `next`."""
        self.mode, self.probing = Mode.PROBE, False
        self.next = max(next, self.match + 1)
        self._forget_inflight()

    def become_snapshot(self, now: float) -> None:
        """It gets the state; Appends wait."""
        self.mode, self.probing = Mode.SNAPSHOT, False
        self.snapshot, self.snapshot_next, self.snapshot_sent_at = 0, 0, now
        self._forget_inflight()

    def _forget_inflight(self) -> None:
        self.inflight.clear()
        self.inflight_bytes = 0
