"""A Raft replica: events in, effects out.

    core          the shared state and its invariants
    election      choosing a leader: pre-vote, vote, stickiness
    idleness      how often a leader beats
    replication   appending, acknowledging, committing
    reads         ReadIndex and leases
    snapshot      streaming the state where the log does not reach back
    change        joint configurations, learners, handing over
    upgrade       the format that all members handle, and that the group may write
    this file     which message goes to which duty, what time brings, what a drain gives

Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended version), and
Ongaro's dissertation, are what the section numbers refer to.

Known limits: a replica whose disk lost what it acknowledged to an *earlier* leader is not noticed
by the present one from its log alone; the incarnation that its store shows on connecting is what
stops a disk restored from an image.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from raycons.config import RaftSettings
from raycons.consensus.contract import NEVER, Effect, Retired, WriteNumber
from raycons.consensus.messages import (
    ReadIndex,
    ReadIndexReply,
    Retire,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
)
from raycons.consensus.quorum import ReplicaId
from raycons.consensus.raft.core import Start
from raycons.consensus.raft.messages import (
    Append,
    Appended,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    VoteReply,
)
from raycons.consensus.raft.upgrade import Upgrades

Handler = Callable[["RaftReplica", ReplicaId, Any, float], None]


class RaftReplica(Upgrades):
    """One replica of one group; implements `consensus.contract.Replica`."""

    def __init__(
        self,
        id: ReplicaId,
        start: Start,
        settings: RaftSettings,
        random: Random,
        now: float,
        version: int = 1,
    ) -> None:
        """`version` is the newest format that this release handles."""
        super().__init__(id, start, settings, random, now)
        self.newest_version = version
        self.reset_election_timer(now)
        self.check_version(self.configuration)

    # --- events -----------------------------------------------------------------------------------

    def receive(self, sender: ReplicaId, message: Any, now: float) -> None:
        """A message from a peer arrived."""
        if self.silent:
            return
        kind = type(message)
        if kind in _ELECTION:
            _ELECTION[kind](self, sender, message, now)
            return
        if message.term > self.term:
            self.adopt_term(message.term)
            leader = sender if kind in _FROM_LEADER else 0
            self.become_follower(leader, now, f"replica {sender} is in term {message.term}")
        elif message.term < self.term:
            # A leader of an older term learns from our answer that its time is over.
            if kind in _FROM_LEADER:
                self.reply(sender, HeartbeatReply(self.term, 0, 0.0, self.log.last_index))
            return
        if kind in _FROM_LEADER:
            _FROM_LEADER[kind](self, sender, message, now)
        else:
            _OTHERS[kind](self, sender, message, now)

    def durable(self, number: WriteNumber, now: float) -> None:
        """Write `number` and all before it are on disk."""
        more = self.note_durable(number)
        if self.role == "candidate":
            self.own_vote_durable(now)
        elif more and self.role == "leader":
            self.advance_commit(now)

    def connection_lost(self, peer: ReplicaId, now: float) -> None:
        """The last live connection to `peer` ended: what was in flight may be lost."""
        if self.role == "leader":
            self.wake(now)
            progress = self.progress.get(peer)
            if progress is not None and not self.streams_to(peer):
                progress.become_probe(progress.match + 1)
        elif peer == self.leader and self.role == "follower":
            self.leader_connection_dropped(now)

    def tick(self, now: float) -> None:
        """A deadline came due, or may have."""
        if self.role == "leader":
            # Commits go on over the followers' disks, so a hiccup is worth no election.
            if self.disk_silent(now, self.settings.disk_stall_s):
                self.become_follower(0, now, "our disk does not answer")
            elif now >= min(self.heartbeat_due, self.beat_due):
                if self.quorum_is_silent(now):
                    self.become_follower(0, now, "a quorum is silent")
                    return
                self.mind_transfer(now)
                self.mind_version(now)
                self.beat(now)
        elif now >= self.election_deadline:
            self.election_timer_due(now)
        if self.asked:
            self.give_up_old_questions(now)

    def next_deadline(self) -> float:
        """When `tick` should be called next, if nothing else happens before."""
        if self.silent:
            return NEVER
        if self.role == "leader":
            deadline = min(self.heartbeat_due, self.beat_due)
        else:
            deadline = self.election_deadline
        if self.asked:
            deadline = min(deadline, *(asked.deadline for asked in self.asked.values()))
        return deadline

    def drain(self, now: float) -> list[Effect]:
        """The effects of all events since the last drain."""
        if self.role == "leader":
            self.broadcast_appends(now)
            if self.waiting_reads:
                self.begin_read_round(now)
        else:
            if self.acknowledge is not None:
                self.send_acknowledgement()
            if self.asking:
                self.ask_leader(now)
        self.flush_writes(now)
        effects = self._sends + self._effects
        self._sends, self._effects, self._persist_at = [], [], 0
        if not self.unwritten:
            self.log.trim(self.settings.max_tail_bytes, self.log.last_index)
        return effects

    # --- the end ---------------------------------------------------------------------

    def receive_retire(self, sender: ReplicaId, message: Retire, now: float) -> None:
        """Our disk forgot what we acknowledged: stop for good."""
        self.retire(now, message.reason)

    def retire(self, now: float, reason: str) -> None:
        """Never vote, campaign or acknowledge again under this identity."""
        self.become_follower(0, now, f"retired: {reason}")
        self.retired = self.silent = True
        self.emit(Retired(reason))


# Election messages judge terms by themselves; the others share the rule in `receive`.
_ELECTION: dict[type, Handler] = {
    PreVote: RaftReplica.receive_pre_vote,
    PreVoteReply: RaftReplica.receive_pre_vote_reply,
    RequestVote: RaftReplica.receive_request_vote,
    VoteReply: RaftReplica.receive_vote_reply,
}
_FROM_LEADER: dict[type, Handler] = {
    Append: RaftReplica.receive_append,
    Heartbeat: RaftReplica.receive_heartbeat,
    SnapshotChunk: RaftReplica.receive_snapshot_chunk,
}
_OTHERS: dict[type, Handler] = {
    Appended: RaftReplica.receive_appended,
    AppendRejected: RaftReplica.receive_append_rejected,
    HeartbeatReply: RaftReplica.receive_heartbeat_reply,
    ReadIndex: RaftReplica.receive_read_index,
    ReadIndexReply: RaftReplica.receive_read_index_reply,
    SnapshotReply: RaftReplica.receive_snapshot_reply,
    TimeoutNow: RaftReplica.receive_timeout_now,
    Retire: RaftReplica.receive_retire,
}
