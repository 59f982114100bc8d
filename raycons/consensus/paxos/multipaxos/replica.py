"""A MultiPaxos replica: events in, effects out.

    core             the shared state and its invariants; ballots, eras and slots are beside it
    leadership       phase 1, and who may lead
    deciding         phase 2
    learning         what is chosen, from whoever knows it
    reads            quorum reads and leases
    snapshot         streaming the state where no log reaches back
    reconfiguration  eras of slots, learners, handing over, upgrades
    this file        which message goes to which duty, what time brings, what a drain gives

Lamport, "Paxos Made Simple" (2001), and van Renesse and Altinbuken, "Paxos Made Moderately Complex"
(2015), are what this follows; every replica plays all the roles.

Known limits: a replica whose disk lost what it acknowledged to an *earlier* leader is not noticed
by the present one from its slots alone; the incarnation that its store shows on connecting is what
stops a disk restored from an image.
"""

from __future__ import annotations

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
from raycons.consensus.paxos.multipaxos.ballots import told
from raycons.consensus.paxos.multipaxos.core import Handler, Start
from raycons.consensus.paxos.multipaxos.messages import (
    Accept,
    Accepted,
    Ask,
    AskReply,
    CatchUp,
    Chosen,
    Heartbeat,
    HeartbeatReply,
    Prepare,
    Promise,
    Refused,
)
from raycons.consensus.paxos.multipaxos.reconfiguration import Reconfiguration
from raycons.consensus.quorum import ReplicaId


class MultiPaxosReplica(Reconfiguration):
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
        handler = _FROM_LEADER.get(kind)
        if handler is None:
            _OTHERS[kind](self, sender, message, now)
            return
        if message.ballot < self.term:
            self.reply(sender, Refused(message.ballot, self.term))
            return
        if message.ballot > self.term:
            # Whoever proposes in a ballot was promised it by a quorum.
            self.promise(message.ballot)
            self.become_follower(sender, now, f"replica {sender} leads {told(message.ballot)}")
        handler(self, sender, message, now)

    def durable(self, number: WriteNumber, now: float) -> None:
        """Write `number` and all before it are on disk."""
        proposals = self.note_durable(number)
        if self.role == "candidate":
            self.own_promise_durable(now)
        elif proposals and self.role == "leader":
            self.own_writes_durable(proposals, now)

    def connection_lost(self, peer: ReplicaId, now: float) -> None:
        """The last live connection to `peer` ended: what was in flight may be lost."""
        if self.role == "leader":
            progress = self.progress.get(peer)
            if progress is not None:
                progress.begin_again()
        elif peer == self.leader and self.role == "follower":
            self.leader_connection_dropped(now)

    def tick(self, now: float) -> None:
        """A deadline came due, or may have."""
        if self.role == "leader":
            # Slots are decided over the followers' disks, so a hiccup is worth no election.
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
        if self.commit + 1 in self.chosen:
            self.advance(now)  # what a restart found
        if self.role == "leader":
            self.propose_assigned(now)
            self.broadcast_accepts(now)
            if self.waiting_reads:
                self.begin_read_round(now)
        else:
            if self.accepted_now:
                self.send_acknowledgement()
            if self.asking:
                self.ask_leader(now)
        if self.outgoing:
            self.give_up_old_streams(now)
        self.flush_writes(now)
        effects = self._sends + self._effects
        self._sends, self._effects, self._persist_at = [], [], 0
        self.log.trim(self.settings.max_tail_bytes)
        return effects

    # --- the end ---------------------------------------------------------------------

    def receive_retire(self, sender: ReplicaId, message: Retire, now: float) -> None:
        """Our disk forgot what we acknowledged: stop for good."""
        self.retire(now, message.reason)

    def retire(self, now: float, reason: str) -> None:
        """Never promise, propose or accept again under this identity."""
        self.become_follower(0, now, f"retired: {reason}")
        self.retired = self.silent = True
        self.emit(Retired(reason))


# What a leader says is judged by its ballot before anything else.
_FROM_LEADER: dict[type, Handler] = {
    Accept: MultiPaxosReplica.receive_accept,
    Heartbeat: MultiPaxosReplica.receive_heartbeat,
}
_OTHERS: dict[type, Handler] = {
    Ask: MultiPaxosReplica.receive_ask,
    AskReply: MultiPaxosReplica.receive_ask_reply,
    Prepare: MultiPaxosReplica.receive_prepare,
    Promise: MultiPaxosReplica.receive_promise,
    Refused: MultiPaxosReplica.receive_refused,
    Accepted: MultiPaxosReplica.receive_accepted,
    HeartbeatReply: MultiPaxosReplica.receive_heartbeat_reply,
    CatchUp: MultiPaxosReplica.receive_catch_up,
    Chosen: MultiPaxosReplica.receive_chosen,
    ReadIndex: MultiPaxosReplica.receive_read_index,
    ReadIndexReply: MultiPaxosReplica.receive_read_index_reply,
    SnapshotChunk: MultiPaxosReplica.receive_snapshot_chunk,
    SnapshotReply: MultiPaxosReplica.receive_snapshot_reply,
    TimeoutNow: MultiPaxosReplica.receive_timeout_now,
    Retire: MultiPaxosReplica.receive_retire,
}
