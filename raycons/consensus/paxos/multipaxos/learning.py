"""Learning: a replica that lacks something chosen asks whoever may know it, leader or not.

A leader's Accepts and heartbeats say up to where all is chosen; that tells a follower what is
chosen where it accepted in that very ballot. What it missed, or accepted in an earlier one, it asks
for: `CatchUp` brings values, or a state where the asked one has compacted them away. If there is no
answer another one is asked. What is chosen is chosen whoever says it, so nothing here waits for a
leader, and a candidate can catch up before it leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from raycons.config import RaftSettings
from raycons.consensus.contract import NEVER, Entry
from raycons.consensus.paxos.multipaxos.core import Start
from raycons.consensus.paxos.multipaxos.deciding import Deciding
from raycons.consensus.paxos.multipaxos.messages import CatchUp, Chosen, Heartbeat
from raycons.consensus.quorum import Index, ReplicaId
from raycons.provocation import bendable


class Learning(Deciding):
    """The duty of knowing what is chosen."""

    incoming = 0  # the snapshot being received; 0: none

    def __init__(
        self, id: ReplicaId, start: Start, settings: RaftSettings, random: Random, now: float
    ) -> None:
        super().__init__(id, start, settings, random, now)
        self.source: ReplicaId = 0  # whom we asked last,
        self.asked_first: Index = 0  # from which slot on,
        self.asked_at = -NEVER  # and when
        self.stuck_at: Index = -1  # where the heartbeat before found us behind

    # --- asking -----------------------------------------------------------------------------------

    def mind_gap(self, leader: ReplicaId, message: Heartbeat, now: float) -> None:
        """Called with each heartbeat: ask for what will not come by itself."""
        if self.commit >= message.decided:
            self.stuck_at = -1
            return
        # What is missing may still be under way, unless it was chosen in an earlier ballot.
        never_comes = self.commit + 1 < message.first
        if never_comes or self.stuck_at == self.commit:
            self.catch_up_from(leader, now)
        self.stuck_at = self.commit

    def heard_of(self, sender: ReplicaId, decided: Index, now: float) -> None:
        """Without a leader that would tell us, ask whoever knows more."""
        if decided > self.commit and not self.leader:
            self.catch_up_from(sender, now)

    def catch_up_from(self, peer: ReplicaId, now: float) -> None:
        """Ask `peer`, or somebody else if what we asked last was not answered in time."""
        if self.incoming:
            self.mind_incoming(now)
            return
        first, unanswered = self.commit + 1, self.asked_at > -NEVER
        if unanswered and first == self.asked_first:
            if now < self.asked_at + 2 * self.settings.heartbeat_interval_s:
                return
            others = [id for id in self.peers() if id != self.source]
            if others:
                peer = self.random.choice(others)
        self._ask(peer, now)

    def _ask(self, peer: ReplicaId, now: float) -> None:
        self.source, self.asked_first, self.asked_at = peer, self.commit + 1, now
        self.reply(peer, CatchUp(self.asked_first))

    def receive_chosen(self, sender: ReplicaId, message: Chosen, now: float) -> None:
        """Somebody says what is chosen."""
        if self.role == "leader":
            return
        before = self.commit
        for entry in message.entries:
            if entry.index > self.commit and entry.index not in self.chosen:
                self.learn(entry)
        self.advance(now)
        if self.commit > before:
            self.asked_at = -NEVER
            if self.role == "candidate":
                self.reset_election_timer(now)
            if self.commit < message.decided:
                self._ask(sender, now)

    def committed_further(self, entries: Sequence[Entry], now: float) -> None:
        """A candidate that has caught up may lead now."""
        super().committed_further(entries, now)
        if self.role == "candidate":
            self.conclude(now)

    # --- telling ----------------------------------------------------------------------------------

    def receive_catch_up(self, sender: ReplicaId, message: CatchUp, now: float) -> None:
        """Somebody lacks what is chosen."""
        if message.first <= self.commit:
            self.tell_chosen(sender, message.first, now)

    @bendable("needless-snapshot")
    def tell_chosen(self, to: ReplicaId, first: Index, now: float) -> None:
        """By values where our log reaches back so far, else by the state that came of them."""
        if first <= self.log.base.index:
            self.begin_snapshot(to, now)
        else:
            entries = self.log.slice(first, self.commit, self.settings.max_append_bytes)
            self.send(to, Chosen(tuple(entries), self.commit))

    # --- asked of the other duties ----------------------------------------------------------------

    def begin_snapshot(self, to: ReplicaId, now: float) -> None:
        """Provided by `snapshot`."""
        raise NotImplementedError

    def mind_incoming(self, now: float) -> None:
        """Provided by `snapshot`: a state is on its way to us, perhaps not any more."""
        raise NotImplementedError
