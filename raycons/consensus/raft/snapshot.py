"""Snapshots: the state itself, in pieces, for a follower whose entries are compacted away.

The follower pulls: it names the next piece it needs, and each answer brings one more. All pieces
name one consistent view; a piece of another view, or out of turn, is refused. After a lost
connection the same view goes on where it stopped. Raft paper, section 7.
"""

from __future__ import annotations

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import (
    EntryId,
    HardState,
    InstallSnapshot,
    Send,
    StageChunk,
    StreamSnapshot,
)
from raycons.consensus.messages import SnapshotChunk, SnapshotReply
from raycons.consensus.quorum import Index, ReplicaId
from raycons.consensus.raft.messages import Append, Appended
from raycons.consensus.raft.progress import Mode, Progress
from raycons.consensus.raft.reads import Reads


class Snapshots(Reads):
    """The duty of replacing a log that no longer reaches back far enough."""

    incoming = 0  # the snapshot being received; 0: none
    incoming_next = 0  # its next piece

    # --- the leader's side ------------------------------------------------------------------------

    def begin_snapshot(self, peer: ReplicaId, progress: Progress, now: float) -> None:
        """Stream the state to a follower, if it is there to receive it."""
        if now - progress.heard_at <= self.settings.election_timeout_s:
            progress.become_snapshot(now)
            self.emit(StreamSnapshot(peer, 0, 0))

    def continue_snapshot(self, peer: ReplicaId, progress: Progress, now: float) -> None:
        """The follower lives; if no piece got through for a while, send the last one again."""
        if now - progress.snapshot_sent_at > 4 * self.settings.heartbeat_interval_s:
            progress.snapshot_sent_at = now
            self.emit(StreamSnapshot(peer, progress.snapshot, progress.snapshot_next))

    def receive_snapshot_reply(self, sender: ReplicaId, message: SnapshotReply, now: float) -> None:
        """The follower names its next piece."""
        progress = self.progress.get(sender)
        if progress is None:
            return
        progress.heard_at = now
        if progress.mode is not Mode.SNAPSHOT:
            return
        if message.installed:
            # The log may have been compacted past that snapshot meanwhile: the probe finds out.
            progress.become_probe(self.log.base.index + 1)
            self.send_append(sender, progress, now)
            return
        again = message.snapshot == progress.snapshot and message.next <= progress.snapshot_next
        if again and message.next:
            return  # a repeated answer must not double the stream
        # Who wants the first piece gets it from a new stream, whose name only the driver knows yet.
        progress.snapshot = message.snapshot if message.next else 0
        progress.snapshot_next = message.next
        progress.snapshot_sent_at = now
        self.emit(StreamSnapshot(sender, progress.snapshot, message.next))

    def stop_leading(self, now: float) -> None:
        """Pieces not yet given out would be sent in a term that we do not lead."""
        super().stop_leading(now)
        kept = [effect for effect in self._effects if type(effect) is not StreamSnapshot]
        assert self._persist_at == 0, "a leader installs no snapshot"
        self._effects = kept

    def streams_to(self, peer: ReplicaId) -> bool:
        """Whether a snapshot to `peer` is still wanted; the driver drops its view otherwise."""
        progress = self.progress.get(peer)
        return progress is not None and progress.mode is Mode.SNAPSHOT

    # --- the follower's side ----------------------------------------------------------------------

    def receive_append(self, sender: ReplicaId, message: Append, now: float) -> None:
        """A log that agrees with the leader's needs no snapshot any more."""
        super().receive_append(sender, message, now)
        if self.acknowledge is not None:
            self.incoming = 0

    def receive_snapshot_chunk(self, sender: ReplicaId, message: SnapshotChunk, now: float) -> None:
        """Put the piece aside; with the last one the whole becomes the state, all at once."""
        self.follow(sender, now)
        self.check_version(message.meta.configuration)
        if self.silent:
            return  # the state is in a format that this release may not handle
        last = EntryId(*message.meta.last)
        if last.index > self.commit and self.log.holds(last):
            # We have these entries: what follows them may already be acknowledged, so keep it all.
            self.commit_to(last.index, now)
        if last.index <= self.commit:
            self.incoming = 0
            self.answer_installed(sender, message, self.commit)
            return
        if message.snapshot != self.incoming:
            if message.sequence:
                self.reply(sender, SnapshotReply(self.term, message.snapshot, 0, False))
                return
            self.incoming, self.incoming_next = message.snapshot, 0
        if message.sequence == self.incoming_next:
            self.emit(StageChunk(message.snapshot, message.sequence, message.data))
            self.incoming_next += 1
            if message.final:
                self.install(sender, message, now)
                return
        reply = SnapshotReply(self.term, self.incoming, self.incoming_next, False)
        self.reply(sender, reply)

    def install(self, sender: ReplicaId, message: SnapshotChunk, now: float) -> None:
        """The state becomes the snapshot; our own log, which lacks its last entry, goes."""
        self.flush_writes(now)
        self.incoming = 0
        last = EntryId(*message.meta.last)
        self.log.reset(last, message.meta.time_us)
        self.configurations = [(message.meta.configuration_index, message.meta.configuration)]
        self.commit = self.applied = last.index
        self.write_number += 1
        self.hard_state_write = self.write_number
        self.emit(
            InstallSnapshot(
                self.write_number,
                message.snapshot,
                message.meta,
                HardState(self.term, self.vote),
            )
        )
        self._persist_at = len(self._effects)
        self.writes.append((self.write_number, last, now))
        self.durable_index = 0
        self.acknowledge = None
        self.answer_installed(sender, message, last.index)

    def answer_installed(self, sender: ReplicaId, message: SnapshotChunk, held: Index) -> None:
        """The state of that snapshot is here, however it came; an answer that got lost is repeated.

        The Appended goes first, so that the leader knows how far we are before it probes.
        """
        after = self.after_everything()
        reply = SnapshotReply(self.term, message.snapshot, message.sequence + 1, True)
        self.emit(Send(sender, Appended(self.term, held), after))
        self.emit(Send(sender, reply, after))

    # --- asked of the other duties ----------------------------------------------------------------

    def check_version(self, configuration: Configuration) -> None:
        """Provided by `upgrade`."""
        raise NotImplementedError
