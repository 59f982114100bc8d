"""Idleness: a leader of whom nothing is asked beats seldom, and its followers wait the longer.

An idle group costs what its heartbeats cost, and nobody waits for it to notice that its leader
stands still. So once nothing was asked for a while, and every follower answers and holds the whole
log, each heartbeat says by its `pace` that the next may come so many intervals later. When all have
heard that, it does. A follower extends its election timeout, and how long it trusts its leader, by
as much as heartbeats are apart more; whatever else the leader says, another leader, or a question
of its own to this one ends that. The first thing asked of the leader brings the old pace back.

A leader that dies is replaced as fast as ever: its connections drop. Only of one that stands still,
or is cut off, do followers notice later, by as much as they were told to expect.

No safety rests on the pace. Leases do rest on heartbeats, so a group with leases is never idle.
"""

from __future__ import annotations

from random import Random

from raycons.config import RaftSettings
from raycons.consensus.contract import NEVER
from raycons.consensus.quorum import ReplicaId
from raycons.consensus.raft.core import Start
from raycons.consensus.raft.election import Election
from raycons.consensus.raft.messages import PreVote


class Idleness(Election):
    """The duty of beating no oftener than needed."""

    def __init__(
        self, id: ReplicaId, start: Start, settings: RaftSettings, random: Random, now: float
    ) -> None:
        super().__init__(id, start, settings, random, now)
        self.asked_at = now  # when something was last asked of this leader
        self.woken_at = -NEVER  # since when its followers are to answer more often than before
        self.announced = 0  # the round that first told the present pace

    def wake(self, now: float) -> None:
        """Something is asked: beat at the usual pace from now on."""
        self.asked_at = now
        if self.pace > 1:
            self.pace, self.woken_at = 1, now
            soon = now + self.settings.heartbeat_interval_s
            self.heartbeat_due = min(self.heartbeat_due, soon)
            self.beat_due = min(self.beat_due, soon)

    def choose_pace(self, round: int, now: float) -> None:
        """Called with each round of heartbeats, which will tell the pace."""
        pace = self.settings.idle_pace if self._is_idle(now) else 1
        if pace > self.pace:
            self.announced = round
        elif pace < self.pace:
            self.woken_at = now
        self.pace = pace

    def interval_s(self) -> float:
        """From this heartbeat to the next: no longer than usual until all know better."""
        told = all(each.acked_round >= self.announced for each in self.progress.values())
        return self.settings.heartbeat_interval_s * (self.pace if told else 1)

    def receive_pre_vote(self, sender: ReplicaId, message: PreVote, now: float) -> None:
        """A follower that lost us for a moment should soon hear us again."""
        if self.role == "leader":
            self.wake(now)
        super().receive_pre_vote(sender, message, now)

    def _is_idle(self, now: float) -> bool:
        heard_since = now - self.patience_s()
        return (
            now - self.asked_at >= self.settings.idle_after_s
            and not self.configuration.lease_s
            and not self.transferee
            and self.commit == self.log.last_index
            and all(
                progress.match == self.commit and progress.heard_at >= heard_since
                for progress in self.progress.values()
            )
        )
