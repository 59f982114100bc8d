"""Deciding: phase 2 for many slots at a time.

Each slot is decided by itself, as soon as a quorum of its era has accepted it; slots are applied in
their order. Accepts are pipelined within limits of messages and bytes, what waits meanwhile leaves
together in the next one, and no slot is proposed beyond the window: until what comes before it is
known, nobody can say who decides there. The leader's own disk write runs beside the network, and
counts only when it is done.

    assigned ... next_slot-1     have a place, wait for the window, or for their era
    first_own ... proposed       proposed in our ballot; above `commit` perhaps not chosen yet
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from raycons.config import RaftSettings
from raycons.consensus.contract import (
    ENTRY_OVERHEAD_BYTES,
    Entry,
    EntryId,
    EntryKind,
    Proposal,
    Refusal,
    Send,
)
from raycons.consensus.messages import Retire
from raycons.consensus.paxos.multipaxos.core import OPEN_WINDOWS, UNKNOWN_WINDOW, Start
from raycons.consensus.paxos.multipaxos.leadership import Leadership
from raycons.consensus.paxos.multipaxos.messages import (
    Accept,
    Accepted,
    Heartbeat,
    HeartbeatReply,
    Promise,
)
from raycons.consensus.paxos.multipaxos.progress import Progress
from raycons.consensus.quorum import Index, ReplicaId
from raycons.provocation import bendable


class Deciding(Leadership):
    """The duty of getting values chosen."""

    def __init__(
        self, id: ReplicaId, start: Start, settings: RaftSettings, random: Random, now: float
    ) -> None:
        super().__init__(id, start, settings, random, now)
        self.round = 0  # numbers the heartbeat rounds of this replica, never reused
        self.accepted_now: list[tuple[Index, Index]] = []  # to be acknowledged with the next drain
        # Leaders:
        self.progress: dict[ReplicaId, Progress] = {}
        self.votes: dict[Index, set[ReplicaId]] = {}  # who accepted each slot that is not chosen
        self.assigned: dict[Index, Entry] = {}
        self.next_slot: Index = 0
        self.first_own: Index = 0
        self.last_proposed: Index = 0
        self.term_start: Index = 0  # what earlier leaders may have got chosen ends here
        self.led_since = 0.0
        self.led_from_us = 0
        self.heartbeat_due = 0.0
        self.beat_due = 0.0
        self.beat_round = 0  # the newest round when it was last time to look after all peers
        self.uncommitted_bytes = 0

    @property
    def pending(self) -> bool:
        """Whether the last event, an answer of a follower or of the disk, left something for a
        drain to give out.
        """
        if self._sends or self._effects or self.hard_state_dirty or self.unwritten:
            return True
        return self.role == "leader" and (
            self.may_propose(self.last_proposed + 1)
            or any(each.next <= self.last_proposed for each in self.progress.values())
        )

    # --- the leader's side ------------------------------------------------------------------------

    def become_leader(self, now: float) -> None:
        """A quorum promised: propose again what was reported, and no-ops in the holes."""
        self.role, self.leader = "leader", self.id
        self.led_since = now
        times = [proposal.entry.time_us for proposal in self.reported.values()]
        self.led_from_us = max([self.time_us, *times])
        self.released, self.transferee = False, 0
        self.uncommitted_bytes = 0
        self.votes, self.assigned = {}, {}
        self.first_own, self.last_proposed = self.commit + 1, self.commit
        self.next_slot = max([self.commit, *self.reported]) + 1
        self.term_start = self.next_slot - 1
        self.progress = {id: Progress(self.first_own, now) for id in self.peers()}
        self.beat_due = now + self.settings.heartbeat_interval_s
        self.announce("elected")
        self.leader_changed()
        self.send_heartbeats(now)

    def proposed(self) -> Index:
        """See Leadership."""
        return self.last_proposed if self.role == "leader" else self.commit

    def settles(self, slot: Index) -> bool:
        """See Leadership. What comes later, of a proposal that cannot be chosen, is let be.

        It may be a change of the configuration, made of one that was replaced since.
        """
        if self.role != "leader" or slot > self.commit + self.window:
            return False
        return self.era_at(slot).prepares(self.promised_us)

    def receive_promise(self, sender: ReplicaId, message: Promise, now: float) -> None:
        """A late one may tell of slots in eras that are not open to us yet."""
        super().receive_promise(sender, message, now)
        if self.role == "leader" and self.reported:
            last = max(self.reported)
            self.next_slot = max(self.next_slot, last + 1)
            self.term_start = max(self.term_start, last)

    def replicated_time_us(self, now: float) -> int:
        """Time that the group has counted: the last leader's, and ours since we lead.

        No wall clock is asked, so that one that jumps expires nobody.
        """
        return self.led_from_us + int((now - self.led_since) * 1e6)

    def assign(
        self, kind: EntryKind, data: bytes, now: float, machine: int = 0, version: int = 1
    ) -> EntryId:
        """Give an entry the next place; it is proposed as soon as that may be."""
        assert self.role == "leader"
        slot, time_us = self.next_slot, self.replicated_time_us(now)
        self.assigned[slot] = Entry(slot, self.term, kind, machine, version, time_us, data)
        self.next_slot += 1
        self.uncommitted_bytes += len(data) + ENTRY_OVERHEAD_BYTES
        return EntryId(slot, self.term)

    def propose(self, data: bytes, machine: int, version: int, now: float) -> EntryId | Refusal:
        """Propose a command; see the contract."""
        if self.role != "leader":
            return self.not_leader()
        if self.transferee:
            return Refusal("transferring", self.transferee)
        waiting = self.uncommitted_bytes
        if waiting and waiting + len(data) > self.settings.max_uncommitted_bytes:
            return Refusal("overloaded", self.id)
        return self.assign(EntryKind.COMMAND, data, now, machine, version)

    def may_propose(self, slot: Index) -> bool:
        """Whether a slot's turn has come: it is within the window, and its era is open to us."""
        if slot >= self.next_slot or slot > self.commit + self.window:
            return False
        era = self.era_at(slot)
        if not era.prepares(self.promised_us):
            return False
        # An era opens when a quorum of it knows all that came before, and will after a restart:
        # from then on nothing rests on acceptors of the era before.
        return slot != era.first or era.chooses(self._who_know(slot - 1))

    def _who_know(self, slot: Index) -> set[ReplicaId]:
        """Who holds what is chosen up to this slot on disk."""
        knowing = {id for id, progress in self.progress.items() if progress.known >= slot}
        if self.durable_commit >= slot:
            knowing.add(self.id)
        return knowing

    def propose_assigned(self, now: float) -> None:
        """Called with each drain: propose in every slot whose turn has come."""
        while self.may_propose(self.last_proposed + 1):
            slot = self.last_proposed + 1
            self.last_proposed = slot
            entry = self._value_for(slot, now)
            if slot in self.chosen:
                continue
            self.votes[slot] = set()
            self.accept(Proposal(self.term, entry))

    def _value_for(self, slot: Index, now: float) -> Entry:
        """What to propose: what may be chosen there already, else our own, else nothing at all."""
        own, reported = self.assigned.pop(slot, None), self.reported.pop(slot, None)
        if slot in self.chosen:
            return self.log.open[slot].entry
        if reported is not None:
            return reported.entry
        if own is not None:
            return own
        time_us = self.replicated_time_us(now)
        return Entry(slot, self.term, EntryKind.NOOP, 0, 1, time_us, b"")

    def broadcast_accepts(self, now: float) -> None:
        """Send what each peer lacks, as far as its limits allow."""
        for peer, progress in self.progress.items():
            while progress.next <= self.last_proposed and self.send_accept(peer, progress, now):
                pass

    @bendable("minimal-quorum")
    def send_accept(self, peer: ReplicaId, progress: Progress, now: float) -> bool:
        """Phase 2a; False if nothing may leave now."""
        settings = self.settings
        if not progress.may_send(settings.max_inflight_messages, settings.max_inflight_bytes):
            return False
        if progress.next <= self.log.base.index:
            progress.next = self.log.base.index + 1  # it will ask for what is gone from our log
            return True
        entries = tuple(self.log.run(progress.next, self.last_proposed, settings.max_append_bytes))
        size = sum([len(entry.data) + ENTRY_OVERHEAD_BYTES for entry in entries])
        self.send(peer, Accept(self.term, entries, self.commit))
        progress.sent(entries[-1].index, size)
        return True

    def receive_accepted(self, sender: ReplicaId, message: Accepted, now: float) -> None:
        """Phase 2b: a peer accepted some slots."""
        progress = self.progress.get(sender)
        if progress is None or message.ballot != self.term:
            return
        progress.heard_at = now
        progress.knows(message.decided)
        for first, last in message.slots:
            progress.acknowledged(first, last, self.round)
            self.count(sender, range(max(first, self.commit + 1), last + 1))
        self.advance(now)
        if self.progress.get(sender) is progress:  # we may have led the group to our removal
            self.peer_advanced(sender, progress, now)

    def own_writes_durable(self, proposals: list[Proposal], now: float) -> None:
        """Called when writes became durable: we may now count ourselves."""
        self.count(self.id, [proposal.entry.index for proposal in proposals])
        self.advance(now)

    def count(self, acceptor: ReplicaId, slots: range | list[Index]) -> None:
        """An acceptor has these on its disk, in our ballot."""
        votes = self.votes
        for slot in slots:
            accepted = votes.get(slot)
            if accepted is not None:
                accepted.add(acceptor)
                if self.era_at(slot).chooses(accepted):
                    self.chosen.add(slot)
                    del votes[slot]

    def committed_further(self, entries: Sequence[Entry], now: float) -> None:
        """Let go of what was kept for slots that are chosen."""
        super().committed_further(entries, now)
        if self.role != "leader":
            return
        freed = 0
        for entry in entries:
            self.votes.pop(entry.index, None)
            if entry.term == self.term:
                freed += len(entry.data) + ENTRY_OVERHEAD_BYTES
        self.uncommitted_bytes = max(0, self.uncommitted_bytes - freed)
        while self.last_proposed < self.commit:
            # A late promise told of what an earlier leader got chosen where we had not proposed.
            self.last_proposed += 1
            self.assigned.pop(self.last_proposed, None)
        self.next_slot = max(self.next_slot, self.commit + 1)

    def stop_leading(self, now: float) -> None:
        """What has only a place is forgotten; what was proposed may yet be chosen."""
        super().stop_leading(now)
        self.progress, self.votes, self.assigned = {}, {}, {}
        self.uncommitted_bytes = 0

    # --- the follower's side ----------------------------------------------------------------------

    def receive_accept(self, sender: ReplicaId, message: Accept, now: float) -> None:
        """Accept, each in its slot, whatever is above what we know to be chosen."""
        self.follow(sender, now)
        ballot, open_ = message.ballot, self.log.open
        highest = self.commit + OPEN_WINDOWS * (self.window or UNKNOWN_WINDOW)
        room = self.settings.max_uncommitted_bytes
        in_ballot, known = self.watermark
        first = message.entries[0].index
        last = first - 1
        for entry in message.entries:
            slot = entry.index
            if slot > self.commit and slot not in self.chosen:
                held = open_.get(slot)
                too_much = held is None and self.log.open_bytes > room and slot > self.commit + 1
                if slot > highest or too_much:
                    break  # no acceptor has to; what is chosen here it will be told
                if held is None or held.ballot != ballot:
                    self.accept(Proposal(ballot, entry))
                    if in_ballot == ballot and slot <= known:
                        self.chosen.add(slot)
            last = slot
        if last >= first:
            self._acknowledge(first, last)
        self.told_decided(message.decided, ballot)
        self.advance(now)

    def _acknowledge(self, first: Index, last: Index) -> None:
        slots = self.accepted_now
        if slots and slots[-1][0] <= first <= slots[-1][1] + 1:
            slots[-1] = (slots[-1][0], max(slots[-1][1], last))
        else:
            slots.append((first, last))

    def send_acknowledgement(self) -> None:
        """One answer for all Accepts of this drain, after the disk has them."""
        if self.role == "follower" and self.leader:
            message = Accepted(self.term, tuple(self.accepted_now), self.commit)
            self.emit(Send(self.leader, message, self.after_everything()))
        self.accepted_now = []

    def follow(self, sender: ReplicaId, now: float) -> None:
        """The sender leads the ballot that we promised."""
        assert self.role != "leader", f"two leaders of ballot {self.term}: {self.id} and {sender}"
        if self.leader != sender or self.role != "follower":
            self.become_follower(sender, now, f"replica {sender} leads")
        self.leader_heard_at = now
        self.leader_connection_lost = False
        self.reset_election_timer(now)

    def leader_changed(self) -> None:
        """What we have to acknowledge was for another leader."""
        super().leader_changed()
        self.accepted_now = []

    # --- heartbeats -------------------------------------------------------------------------------

    def beat(self, now: float) -> None:
        """Once an interval: a round, unless reads began one, and a look for what got lost."""
        if now >= self.heartbeat_due:
            self.send_heartbeats(now)
        self.prepare_again()
        self.beat_due = now + self.settings.heartbeat_interval_s
        self.beat_round = self.round

    def send_heartbeats(self, now: float) -> None:
        """Begin a round: a quorum's echoes will prove that we still led when it began."""
        self.round += 1
        self.heartbeat_due = now + self.settings.heartbeat_interval_s
        self.round_sent(now)
        message = Heartbeat(self.term, self.commit, self.first_own, self.round)
        for peer in self.progress:
            self.send(peer, message)

    def receive_heartbeat(self, sender: ReplicaId, message: Heartbeat, now: float) -> None:
        """Confirm the leader; with leases, promise it to promise nobody, on our own clock."""
        self.follow(sender, now)
        self.told_decided(message.decided, message.ballot)
        self.advance(now)
        promise = self.lease_s
        if promise:
            self.promised_until = max(self.promised_until, now + promise)
        reply = HeartbeatReply(
            self.term,
            message.round,
            promise,
            self.durable_commit,
            self.log.last_index,
            self.newest_version,
        )
        self.reply(sender, reply)
        self.mind_gap(sender, message, now)

    def receive_heartbeat_reply(
        self, sender: ReplicaId, message: HeartbeatReply, now: float
    ) -> None:
        """A peer confirmed a round."""
        progress = self.progress.get(sender)
        if progress is None or message.ballot != self.term:
            return
        progress.heard_at, progress.version = now, message.version
        progress.knows(message.decided)
        if message.round > progress.round_of_news and message.last < progress.last_acknowledged:
            # It answered a question sent after it acknowledged more than it now has.
            told = f"slots end at {message.last}, but {progress.last_acknowledged} was acknowledged"
            self.send(sender, Retire(self.term, told))
            return
        self.round_confirmed(progress, message, now)
        self.peer_advanced(sender, progress, now)
        if progress.looked_round == self.beat_round:
            return  # once a heartbeat is often enough to look for what got lost
        progress.looked_round = self.beat_round
        if progress.next > progress.accepted + 1 and progress.looked_at == progress.accepted:
            progress.begin_again()  # nothing came since the last look: perhaps it was lost
        progress.looked_at = progress.accepted

    def quorum_is_silent(self, now: float) -> bool:
        """Whether too few acceptors were heard within an election timeout."""
        since = now - self.settings.election_timeout_s
        heard = {id for id, progress in self.progress.items() if progress.heard_at >= since}
        return not self.chosen_by(heard | {self.id})

    # --- told to, or asked of, the other duties ---------------------------------------------------

    def round_sent(self, now: float) -> None:
        """Provided by `reads`."""
        raise NotImplementedError

    def round_confirmed(self, progress: Progress, message: HeartbeatReply, now: float) -> None:
        """Provided by `reads`."""
        raise NotImplementedError

    def mind_gap(self, leader: ReplicaId, message: Heartbeat, now: float) -> None:
        """Provided by `learning`."""
        raise NotImplementedError

    def peer_advanced(self, peer: ReplicaId, progress: Progress, now: float) -> None:
        """Provided by `reconfiguration`: a joiner may have caught up, a transferee too."""
        raise NotImplementedError
