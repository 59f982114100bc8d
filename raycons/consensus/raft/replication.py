"""Replication: a leader's entries travel to the followers, and commit.

Raft paper, sections 5.3 and 5.4.2. Appends are pipelined within limits of messages and bytes;
what waits meanwhile leaves together in the next one. The leader's own disk write runs beside the
network, and counts in the quorum only when it is done.
"""

from __future__ import annotations

from raycons.consensus import quorum
from raycons.consensus.contract import (
    ENTRY_OVERHEAD_BYTES,
    Apply,
    Entry,
    EntryId,
    EntryKind,
    Refusal,
    Send,
)
from raycons.consensus.messages import Retire
from raycons.consensus.quorum import Index, ReplicaId
from raycons.consensus.raft.idleness import Idleness
from raycons.consensus.raft.messages import (
    Append,
    Appended,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
)
from raycons.consensus.raft.progress import Mode, Progress
from raycons.provocation import bendable


class Replication(Idleness):
    """The duty of keeping the logs the same."""

    round = 0  # numbers the heartbeat rounds of this replica, never reused
    beat_round = 0  # the newest round when it was last time to look after all followers

    @property
    def pending(self) -> bool:
        """See `Core`; what a follower acknowledged makes room for what it still lacks."""
        return super().pending or (
            self.role == "leader"
            and any(each.next <= self.log.last_index for each in self.progress.values())
        )

    # --- the leader's side ------------------------------------------------------------------------

    def become_leader(self, now: float) -> None:
        """Begin a term's leadership with an entry of the term: only that can commit older ones."""
        self.role, self.leader = "leader", self.id
        self.led_since, self.led_from_us = now, self.log.last_time_us()
        self.released, self.transferee = False, 0
        self.uncommitted_bytes = 0
        self.progress = {id: Progress(self.log.last_index + 1, now) for id in self.peers()}
        self.heartbeat_due = now
        self.beat_due = now + self.settings.heartbeat_interval_s
        self.term_start = self.append_as_leader(EntryKind.NOOP, b"", now).index
        self.announce("elected")
        self.leader_changed()

    def replicated_time_us(self, now: float) -> int:
        """Time that the group has counted: the last leader's, and ours since we lead.

        No wall clock is asked, so that one that jumps expires nobody.
        """
        return self.led_from_us + int((now - self.led_since) * 1e6)

    def append_as_leader(
        self, kind: EntryKind, data: bytes, now: float, machine: int = 0, version: int = 1
    ) -> EntryId:
        """Add an entry of our own term; it leaves with the next drain."""
        assert self.role == "leader"
        self.wake(now)
        index = self.log.last_index + 1
        time_us = self.replicated_time_us(now)
        self.append_entry(Entry(index, self.term, kind, machine, version, time_us, data))
        self.uncommitted_bytes += len(data) + ENTRY_OVERHEAD_BYTES
        return EntryId(index, self.term)

    def propose(self, data: bytes, machine: int, version: int, now: float) -> EntryId | Refusal:
        """Append a command; see the contract."""
        if self.role != "leader":
            return self.not_leader()
        if self.transferee:
            return Refusal("transferring", self.transferee)
        waiting = self.uncommitted_bytes
        if waiting and waiting + len(data) > self.settings.max_uncommitted_bytes:
            return Refusal("overloaded", self.id)
        return self.append_as_leader(EntryKind.COMMAND, data, now, machine, version)

    def broadcast_appends(self, now: float) -> None:
        """Send what each follower lacks, as far as its limits allow."""
        for peer, progress in self.progress.items():
            while progress.next <= self.log.last_index and self.send_append(peer, progress, now):
                pass

    @bendable("early-snapshot", "minimal-quorum")
    def send_append(self, peer: ReplicaId, progress: Progress, now: float) -> bool:
        """Send one Append (empty if there is nothing to send); False if it may not leave now."""
        settings = self.settings
        if not progress.may_send(settings.max_inflight_messages, settings.max_inflight_bytes):
            return False
        previous = progress.next - 1
        term = self.log.term(previous)
        if term is None:
            self.begin_snapshot(peer, progress, now)
            return False
        entries: tuple[Entry, ...] = ()
        size = 0
        if progress.next <= self.log.last_index:
            entries = tuple(
                self.log.slice(progress.next, self.log.last_index, settings.max_append_bytes)
            )
            size = sum([len(entry.data) + ENTRY_OVERHEAD_BYTES for entry in entries])
        self.send(peer, Append(self.term, (previous, term), entries, self.commit))
        progress.sent(previous + len(entries), size)
        return True

    def receive_appended(self, sender: ReplicaId, message: Appended, now: float) -> None:
        """A follower holds more of the log."""
        progress = self.progress.get(sender)
        if progress is None or message.matched > self.log.last_index:
            return
        progress.heard_at = now
        news = progress.acknowledged(message.matched, self.round)
        if progress.mode is Mode.PROBE or (
            progress.mode is Mode.SNAPSHOT and progress.match >= self.log.base.index
        ):
            progress.become_replicate()
        if news:
            if progress.match > self.commit:
                self.advance_commit(now)
            self.follower_advanced(sender, progress, now)

    def receive_append_rejected(
        self, sender: ReplicaId, message: AppendRejected, now: float
    ) -> None:
        """The logs part before `previous`: skip to the last place where they can agree."""
        progress = self.progress.get(sender)
        if progress is None:
            return
        progress.heard_at = now
        stale = (
            message.previous != progress.next - 1
            if progress.mode is Mode.PROBE
            else message.previous <= progress.match
        )
        if stale or progress.mode is Mode.SNAPSHOT:
            return
        if message.hint[0] < self.log.base.index:
            progress.become_probe(self.log.base.index)  # what it needs is compacted away
        else:
            agree = self.log.hint(message.hint)
            progress.become_probe(min(agree.index + 1, message.previous))
        self.send_append(sender, progress, now)

    def advance_commit(self, now: float) -> None:
        """Commit what a quorum holds on disk, counting ourselves only as far as our own disk is."""
        durable = {id: progress.match for id, progress in self.progress.items()}
        durable[self.id] = self.durable_index
        candidate = quorum.committed_index(self.configuration.halves, durable)
        # Count only entries of our own term (Raft paper, figure 8): an older entry on a quorum can
        # still be overwritten by a leader elected without it. It commits with the first of ours.
        if candidate > self.commit and self.log.term(candidate) == self.term:
            self.commit_to(candidate, now)

    def commit_to(self, index: Index, now: float) -> None:
        """Everything up to `index` is committed."""
        assert self.commit < index <= self.log.last_index
        first = self.commit + 1
        self.commit = index
        while first <= index:
            entries = self.log.slice(first, index, self.settings.max_inflight_bytes)
            self.emit(Apply(entries))
            first += len(entries)
            if self.role == "leader":
                self.uncommitted_bytes = max(
                    0,
                    self.uncommitted_bytes
                    - sum(
                        [
                            len(entry.data) + ENTRY_OVERHEAD_BYTES
                            for entry in entries
                            if entry.index >= self.term_start  # earlier ones were never added
                        ]
                    ),
                )
        self.applied = index
        self.committed_further(now)

    # --- the follower's side ----------------------------------------------------------------------

    def receive_append(self, sender: ReplicaId, message: Append, now: float) -> None:
        """Make our log agree with the leader's up to the last entry of the message."""
        self.follow(sender, now)
        previous, term = message.previous
        if previous < self.commit:
            # An old message: what is committed here agrees with every leader that can come.
            self.acknowledge = max(self.acknowledge or 0, self.commit)
            verified = previous + len(message.entries)
            if verified <= self.commit:
                return
        elif not self.log.holds(message.previous):
            hint = self.log.hint((min(previous, self.log.last_index), term))
            self.reply(sender, AppendRejected(self.term, previous, hint, self.log.last_index))
            return
        for entry in message.entries:
            if entry.index <= self.log.last_index:
                if entry.index <= self.log.base.index or self.log.term(entry.index) == entry.term:
                    continue
                self.truncate_log(entry.index)
            self.append_entry(entry)
            if entry.kind == EntryKind.CONFIGURATION:
                self.configuration_appended(entry)
                if self.silent:
                    return
        last = previous + len(message.entries)
        self.acknowledge = max(self.acknowledge or 0, last)
        # The leader's commit index is true of the leader's log; ours is known to agree with it
        # only as far as this message reaches.
        if min(message.commit, last) > self.commit:
            self.commit_to(min(message.commit, last), now)

    def send_acknowledgement(self) -> None:
        """One answer for all Appends of this drain, after the disk has them."""
        if self.acknowledge is not None and self.role == "follower" and self.leader:
            message = Appended(self.term, self.acknowledge)
            self.emit(Send(self.leader, message, self.after_everything()))
        self.acknowledge = None

    def follow(self, sender: ReplicaId, now: float, pace: int = 1) -> None:
        """The sender leads our term, and beats at this pace."""
        assert self.role != "leader", f"two leaders in term {self.term}: {self.id} and {sender}"
        if self.leader != sender or self.role != "follower":
            self.become_follower(sender, now, f"replica {sender} leads")
        self.leader_heard_at, self.pace = now, pace
        self.leader_connection_lost = False
        self.reset_election_timer(now)

    # --- heartbeats -------------------------------------------------------------------------------

    def beat(self, now: float) -> None:
        """Once an interval: a round, unless reads began one, and leave to look for what got lost.

        Reads move only the next heartbeat, never the next beat: however many there are, what only
        time brings comes.
        """
        if now >= self.heartbeat_due:
            self.send_heartbeats(now)
        self.beat_due = now + self.interval_s()
        self.beat_round = self.round

    def send_heartbeats(self, now: float) -> None:
        """Begin a round: a quorum's echoes will prove that we still led when it began."""
        self.round += 1
        self.choose_pace(self.round, now)
        self.heartbeat_due = now + self.interval_s()
        self.round_sent(now)
        for peer, progress in self.progress.items():
            index = min(progress.match, self.commit)
            term = self.log.term(index)
            commit = (0, 0) if term is None else (index, term)  # None: the follower lags far behind
            self.send(peer, Heartbeat(self.term, commit, self.round, self.pace))

    def receive_heartbeat(self, sender: ReplicaId, message: Heartbeat, now: float) -> None:
        """Confirm the leader; with leases, promise not to vote, counted on our own clock."""
        self.follow(sender, now, message.pace)
        # The leader believes that we hold this entry. A disk that went back in time may hold
        # another one of that index, so the term decides.
        if message.commit[0] > self.commit and self.log.holds(message.commit):
            self.commit_to(message.commit[0], now)
        promise = self.configuration.lease_s
        if promise:
            self.promised_until = max(self.promised_until, now + promise)
        last = self.log.last_index
        reply = HeartbeatReply(self.term, message.round, promise, last, self.newest_version)
        self.reply(sender, reply)

    def receive_heartbeat_reply(
        self, sender: ReplicaId, message: HeartbeatReply, now: float
    ) -> None:
        """A follower confirmed a round."""
        progress = self.progress.get(sender)
        if progress is None:
            return
        progress.heard_at, progress.version = now, message.version
        if message.round > progress.match_round and message.last < progress.match:
            # It answered a question sent after it acknowledged more than it now has.
            self.send(
                sender,
                Retire(
                    self.term,
                    f"log ends at {message.last}, but {progress.match} was acknowledged",
                ),
            )
            return
        self.round_confirmed(progress, message, now)
        if progress.looked_round == self.beat_round:
            return  # once a heartbeat is often enough to look for what got lost
        # Whichever round it echoes: where a round trip is longer than the interval between
        # heartbeats, no echo is ever of the newest.
        progress.looked_round = self.beat_round
        if progress.mode is Mode.SNAPSHOT:
            self.continue_snapshot(sender, progress, now)
            return
        progress.probing = False
        if progress.match < self.log.last_index:
            # Perhaps an Append or its answer was lost; the next one will find out. A full window
            # gives one place up for it.
            settings = self.settings
            if progress.mode is Mode.REPLICATE and not progress.may_send(
                settings.max_inflight_messages, settings.max_inflight_bytes
            ):
                progress.inflight_bytes -= progress.inflight.popleft()[1]
            self.send_append(sender, progress, now)

    def quorum_is_silent(self, now: float) -> bool:
        """Whether too few electors were heard within an election timeout (check-quorum)."""
        since = now - self.patience_s()
        slowest_s = self.settings.heartbeat_interval_s * self.settings.idle_pace
        if self.woken_at > since - slowest_s:
            return False  # only since then are they to answer that often
        heard = {id for id, progress in self.progress.items() if progress.heard_at >= since}
        return not quorum.has_quorum(self.configuration.halves, heard | {self.id})

    # --- told to, or asked of, the other duties ---------------------------------------------------

    def begin_snapshot(self, peer: ReplicaId, progress: Progress, now: float) -> None:
        """Provided by `snapshot`."""
        raise NotImplementedError

    def continue_snapshot(self, peer: ReplicaId, progress: Progress, now: float) -> None:
        """Provided by `snapshot`."""
        raise NotImplementedError

    def round_sent(self, now: float) -> None:
        """Provided by `reads`."""
        raise NotImplementedError

    def round_confirmed(self, progress: Progress, message: HeartbeatReply, now: float) -> None:
        """Provided by `reads`."""
        raise NotImplementedError

    def configuration_appended(self, entry: Entry) -> None:
        """Provided by `change`."""
        raise NotImplementedError

    def follower_advanced(self, peer: ReplicaId, progress: Progress, now: float) -> None:
        """Provided by `change`: a joiner may have caught up, a transferee too."""
        raise NotImplementedError

    def committed_further(self, now: float) -> None:
        """Provided by `change` and `reads`: the commit index rose."""
        raise NotImplementedError
