"""Idleness: a leader of whom nothing is asked beats seldom, and its followers are as patient.

An idle group costs what its heartbeats cost, and nobody waits for it to notice that its leader
stands still. So once nothing was asked for a while, and every follower answers and holds the whole
log, each heartbeat says by its `pace` how many intervals later the next one comes. A follower
stretches its election timeout, and how long it trusts its leader, by the same factor; whatever else
the leader says, or another leader, ends that. The first thing asked brings the old pace back.

A leader that dies is replaced as fast as ever: its connections drop. Only of one that stands still,
or is cut off, do followers notice later, by as much as they were told to expect.

No safety rests on the pace. Leases do rest on heartbeats, so a group with leases is never idle.
"""

from __future__ import annotations

from random import Random

from raycons.config import RaftSettings
from raycons.consensus.quorum import ReplicaId
from raycons.consensus.raft.core import Start
from raycons.consensus.raft.election import Election


class Idleness(Election):
    """The duty of beating no oftener than needed."""

    def __init__(
        self, id: ReplicaId, start: Start, settings: RaftSettings, random: Random, now: float
    ) -> None:
        super().__init__(id, start, settings, random, now)
        self.asked_at = now  # when something was last asked of this leader
        self.woken_at = now  # since when it beats at the usual pace, or leads

    def wake(self, now: float) -> None:
        """Something is asked: beat at the usual pace from now on."""
        self.asked_at = now
        if self.pace > 1:
            self.pace, self.woken_at = 1, now
            soon = now + self.settings.heartbeat_interval_s
            self.heartbeat_due = min(self.heartbeat_due, soon)
            self.beat_due = min(self.beat_due, soon)

    def choose_pace(self, now: float) -> None:
        """Called with each round of heartbeats: how many intervals until the next."""
        before, self.pace = self.pace, self.settings.idle_pace if self._is_idle(now) else 1
        if self.pace < before:
            self.woken_at = now

    def _is_idle(self, now: float) -> bool:
        heard_since = now - self.settings.election_timeout_s * self.pace
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
