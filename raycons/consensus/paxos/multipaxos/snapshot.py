"""Snapshots: the state itself, in pieces, for a replica that lacks what others have compacted away.

Whoever lacks it pulls: it names the next piece it needs, and each answer brings one more. Any
replica can be asked, not only the leader. All pieces name one consistent view; a piece of another
view, or out of turn, is refused. What an acceptor accepted above the snapshot stays: it may be
chosen by that.
"""

from __future__ import annotations

from random import Random

from raycons.config import RaftSettings
from raycons.consensus.contract import (
    NEVER,
    EntryId,
    HardState,
    InstallSnapshot,
    Send,
    StageChunk,
    StreamSnapshot,
)
from raycons.consensus.messages import SnapshotChunk, SnapshotReply
from raycons.consensus.paxos.multipaxos.core import Start, Write
from raycons.consensus.paxos.multipaxos.eras import era_of
from raycons.consensus.paxos.multipaxos.reads import Reads
from raycons.consensus.quorum import ReplicaId

PATIENCE = 4  # election timeouts without a word, after which a stream is given up


class Outgoing:
    """A state on its way to somebody who asked for it."""

    __slots__ = ("heard_at", "next", "sent_at", "snapshot")

    def __init__(self, now: float) -> None:
        self.snapshot = 0  # 0: the driver has not named it yet
        self.next = 0
        self.sent_at = self.heard_at = now


class Snapshots(Reads):
    """The duty of replacing slots that nobody can tell one by one."""

    def __init__(
        self, id: ReplicaId, start: Start, settings: RaftSettings, random: Random, now: float
    ) -> None:
        super().__init__(id, start, settings, random, now)
        self.outgoing: dict[ReplicaId, Outgoing] = {}
        self.incoming_from: ReplicaId = 0
        self.incoming_next = 0  # the next piece that we need
        self.incoming_at = -NEVER  # when the last one came
        self.incoming_asked_at = -NEVER

    # --- giving -----------------------------------------------------------------------------------

    def begin_snapshot(self, to: ReplicaId, now: float) -> None:
        """Stream the state to whoever asked; if that is under way, perhaps a piece got lost."""
        stream = self.outgoing.get(to)
        if stream is None:
            stream = self.outgoing[to] = Outgoing(now)
        elif now < stream.sent_at + 2 * self.settings.heartbeat_interval_s:
            return
        stream.sent_at = stream.heard_at = now
        self.emit(StreamSnapshot(to, stream.snapshot, stream.next))

    def receive_snapshot_reply(self, sender: ReplicaId, message: SnapshotReply, now: float) -> None:
        """The receiver names its next piece."""
        stream = self.outgoing.get(sender)
        if stream is None:
            return
        stream.heard_at = now
        if message.installed:
            del self.outgoing[sender]
            return
        again = message.snapshot == stream.snapshot and message.next <= stream.next
        if again and message.next and now < stream.sent_at + self.settings.heartbeat_interval_s:
            return  # a repeated answer must not double the stream
        # Who wants the first piece gets it from a new stream, whose name only the driver knows yet.
        stream.snapshot = message.snapshot if message.next else 0
        stream.next, stream.sent_at = message.next, now
        self.emit(StreamSnapshot(sender, stream.snapshot, message.next))

    def give_up_old_streams(self, now: float) -> None:
        """Called with each drain: nobody is kept a view for who says nothing any more."""
        since = now - PATIENCE * self.settings.election_timeout_s
        for peer in [peer for peer, one in self.outgoing.items() if one.heard_at < since]:
            del self.outgoing[peer]

    def streams_to(self, peer: ReplicaId) -> bool:
        """Whether a snapshot to `peer` is still wanted; the driver drops its view otherwise."""
        return peer in self.outgoing

    # --- receiving --------------------------------------------------------------------------------

    def mind_incoming(self, now: float) -> None:
        """If no piece came for a while ask for it again, and at last give the whole up."""
        if now > self.incoming_at + PATIENCE * self.settings.election_timeout_s:
            self.incoming = 0
        elif now > self.incoming_asked_at + 2 * self.settings.heartbeat_interval_s:
            self._want(now)

    def _want(self, now: float) -> None:
        self.incoming_asked_at = now
        reply = SnapshotReply(self.term, self.incoming, self.incoming_next, False)
        self.reply(self.incoming_from, reply)

    def receive_snapshot_chunk(self, sender: ReplicaId, message: SnapshotChunk, now: float) -> None:
        """Put the piece aside; with the last one the whole becomes the state, all at once."""
        self.check_version(message.meta.configuration)
        if self.silent:
            return  # the state is in a format that this release may not handle
        if message.meta.last[0] <= self.commit:
            if sender == self.incoming_from:
                self.incoming = 0
            self._answer_installed(sender, message)
            return
        if self.role == "leader":
            return
        if message.snapshot != self.incoming:
            if self.incoming and sender != self.incoming_from:
                return  # one at a time; that one will end by itself
            if message.sequence:
                reply = SnapshotReply(self.term, message.snapshot, 0, False)
                self.reply(sender, reply)
                return
            self.incoming, self.incoming_next = message.snapshot, 0
        self.incoming_from, self.incoming_at = sender, now
        if self.role == "candidate":
            self.reset_election_timer(now)
        if message.sequence == self.incoming_next:
            self.emit(StageChunk(message.snapshot, message.sequence, message.data))
            self.incoming_next += 1
            if message.final:
                self._install(sender, message, now)
                return
        self._want(now)

    def _install(self, sender: ReplicaId, message: SnapshotChunk, now: float) -> None:
        """The state becomes the snapshot; what we accepted in later slots stays."""
        self.flush_writes(now)
        meta, last = message.meta, EntryId(*message.meta.last)
        self.incoming = 0
        self.asked_at = -NEVER
        self.log.reset(last)
        self.chosen = {slot for slot in self.chosen if slot > last.index}
        self.eras = [
            era_of(meta.configuration_index, meta.configuration),
            *(era_of(index, configuration) for index, configuration in meta.upcoming),
        ]
        self.commit, self.time_us = last.index, meta.time_us
        self.write_number += 1
        self.hard_state_write = self.write_number
        self.emit(
            InstallSnapshot(
                self.write_number, message.snapshot, meta, HardState(self.term, decided=self.commit)
            )
        )
        self._persist_at = len(self._effects)
        self.writes.append(Write(self.write_number, (), self.commit, now))
        self._answer_installed(sender, message)
        self.advance(now)
        if self.role == "candidate":
            self.conclude(now)

    def _answer_installed(self, sender: ReplicaId, message: SnapshotChunk) -> None:
        """That state is here, however it came; an answer that got lost is repeated."""
        reply = SnapshotReply(self.term, message.snapshot, message.sequence + 1, True)
        self.emit(Send(sender, reply, self.after_everything()))
