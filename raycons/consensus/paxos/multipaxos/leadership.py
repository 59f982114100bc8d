"""Leadership: phase 1, once for all open slots; and the right not to be disturbed.

    follower --timer, or the leader's connection dropped--> pre-candidate
    --a quorum would promise--> candidate --a quorum of every era of open slots did--> leader

"Paxos Made Simple", section 3; asking first, and refusing while a leader is heard, are Raft's
pre-vote and stickiness (dissertation, sections 9.6 and 4.2.3), which Paxos needs as much.

A candidate asks from the first slot on that it does not know to be chosen. Promises bring what was
accepted from there on, in pieces that it asks for one by one. What a promiser has compacted away it
gets as a state before it leads: so it never proposes anything in a chosen slot whose value is gone.

Phase 1 holds for a ballot, not for a moment: acceptors that come with a later configuration are
asked when it is chosen, and nothing is proposed in their slots before they have promised.
"""

from __future__ import annotations

from random import Random

from raycons.config import RaftSettings
from raycons.consensus.contract import Proposal, Send
from raycons.consensus.messages import TimeoutNow
from raycons.consensus.paxos.multipaxos.ballots import DECIDED, Ballot, owner_of, told
from raycons.consensus.paxos.multipaxos.core import Core, Start
from raycons.consensus.paxos.multipaxos.messages import (
    Ask,
    AskReply,
    Prepare,
    Promise,
    Refused,
)
from raycons.consensus.quorum import Index, ReplicaId

PROPOSAL_OVERHEAD_BYTES = 80  # what a proposal costs beyond its data, roughly


class Leadership(Core):
    """The duty of choosing a leader."""

    def __init__(
        self, id: ReplicaId, start: Start, settings: RaftSettings, random: Random, now: float
    ) -> None:
        super().__init__(id, start, settings, random, now)
        self.asked_ballot: Ballot = 0  # that a pre-candidate asks about
        self.granted: set[ReplicaId] = set()
        self.refused: set[ReplicaId] = set()
        # Of our own ballot, as candidate and as leader:
        self.campaign_released = False
        self.promised_us: set[ReplicaId] = set()
        self.asked_from: dict[ReplicaId, Index] = {}  # the first slot of the piece that we wait for
        self.reported: dict[Index, Proposal] = {}  # the highest accepted one in each open slot
        self.compacted: tuple[Index, ReplicaId] = (0, 0)  # up to where somebody has only a state

    # --- beginning --------------------------------------------------------------------------------

    def election_timer_due(self, now: float) -> None:
        """No leader was heard for an election timeout: ask whether to campaign."""
        reason = "leader's connection dropped" if self.leader_connection_lost else "leader silent"
        self.reset_election_timer(now)
        if self.may_campaign(now):
            self.ask_acceptors(now, reason)
        elif self.bound(now):
            self.election_deadline = max(self.election_deadline, self.promised_until)

    def may_campaign(self, now: float) -> bool:
        """Whether this replica could serve as a leader now."""
        return (
            self.is_acceptor()
            and not self.silent
            and not self.bound(now)
            and not self.disk_silent(now, self.settings.election_timeout_s)
        )

    def leader_connection_dropped(self, now: float) -> None:
        """Ask at once, staggered by rank so that the followers do not duel.

        Not sooner than an election timeout after the last such campaign: a peer that keeps
        closing its connection must not cause an election storm.
        """
        self.leader_connection_lost = True
        if self.bound(now) or now < self.quick_after or not self.is_acceptor():
            return
        rank = sum(other < self.id for other in self.electors() if other != self.leader)
        stagger = self.settings.reconnect_stagger_s
        self.quick_after = now + self.settings.election_timeout_s
        self.quick_retry_s = 2 * stagger
        self.election_deadline = min(
            self.election_deadline, now + stagger * (rank + 0.25 * self.random.random())
        )

    def ask_acceptors(self, now: float, reason: str) -> None:
        """Ask everyone whether they would promise, changing nothing at them or on our disk."""
        self.role, self.leader = "pre-candidate", 0
        self.asked_ballot = self.next_ballot()
        self.granted, self.refused = {self.id}, set()
        self.announce(reason)
        self.leader_changed()
        if self.prepared_by(self.granted):
            self.campaign(now, release=False)
            return
        for peer in self.electors():
            self.send(peer, Ask(self.asked_ballot))

    def campaign(self, now: float, release: bool) -> None:
        """Phase 1a; our own promise counts when it is on disk (`own_promise_durable`)."""
        self.promise(self.next_ballot())
        self.role, self.leader = "candidate", 0
        self.refused = set()
        self.campaign_released = release
        self.promised_us, self.asked_from, self.reported = set(), {}, {}
        self.compacted = (0, 0)
        self.announce("campaigning, asked by the leader" if release else "campaigning")
        self.leader_changed()
        self.reset_election_timer(now)
        self.prepare_everyone()

    def prepare_everyone(self) -> None:
        """Phase 1a to whomever we have not asked in this ballot."""
        for peer in self.electors():
            if peer not in self.asked_from:
                self._prepare(peer, self.commit + 1)

    def prepare_again(self) -> None:
        """Phase 1a once more to whom a leader has asked in vain."""
        for peer in self.electors():
            if self.asked_from.get(peer):
                self._prepare(peer, self.commit + 1)

    def _prepare(self, peer: ReplicaId, first: Index) -> None:
        self.asked_from[peer] = first
        # Not before our ballot is on disk: after a restart we must not take it again.
        self.reply(peer, Prepare(self.term, first, self.campaign_released))

    def own_promise_durable(self, now: float) -> None:
        """Called when writes became durable: a candidate may now count its own promise."""
        if self.id not in self.promised_us and not self.after_hard_state():
            self.promised_us.add(self.id)
            for proposal in self.log.open_from(self.commit + 1):
                self._note_reported(proposal)
            self.advance(now)
            self.conclude(now)

    def receive_timeout_now(self, sender: ReplicaId, message: TimeoutNow, now: float) -> None:
        """The leader hands over to us: campaign without asking first."""
        if message.term != self.term or self.role == "leader":
            return
        if self.is_acceptor() and not self.disk_silent(now, self.settings.election_timeout_s):
            self.campaign(now, release=True)

    # --- answering --------------------------------------------------------------------------------

    def receive_ask(self, sender: ReplicaId, message: Ask, now: float) -> None:
        """Would we promise the sender? Says so without changing anything here."""
        granted = message.ballot > self.term and not self.bound(now) and not self.hears_leader(now)
        self.reply(sender, AskReply(message.ballot, granted, self.term, self.commit))

    def receive_prepare(self, sender: ReplicaId, message: Prepare, now: float) -> None:
        """Promise, and tell what we accepted."""
        if message.ballot != self.term:
            if not message.release and (self.bound(now) or self.hears_leader(now)):
                return  # a leader lives: do not even take note of the ballot
            if message.ballot < self.term:
                self.reply(sender, Refused(message.ballot, self.term))
                return
            self.promise(message.ballot)
            self.become_follower(0, now, f"replica {sender} campaigns in {told(message.ballot)}")
        if self.role == "follower":
            self.reset_election_timer(now)  # a long promise takes many pieces: let it end
        accepted, next_ = self._accepted_from(message.first)
        promise = Promise(
            message.ballot,
            message.first,
            tuple(accepted),
            next_,
            self.commit,
            self.log.base.index,
        )
        self.emit(Send(sender, promise, self.after_everything()))

    def _accepted_from(self, first: Index) -> tuple[list[Proposal], Index]:
        """What we accepted from slot `first` on, as much as fits; and where the rest begins."""
        limit = self.settings.max_append_bytes
        held: list[Proposal] = []
        size = 0
        begin = max(first, self.log.base.index + 1)
        if begin <= self.commit:
            for entry in self.log.slice(begin, self.commit, limit):
                held.append(Proposal(DECIDED, entry))
                size += len(entry.data) + PROPOSAL_OVERHEAD_BYTES
            if held[-1].entry.index < self.commit:
                return held, held[-1].entry.index + 1
        for proposal in self.log.open_from(max(first, self.commit + 1)):
            size += len(proposal.entry.data) + PROPOSAL_OVERHEAD_BYTES
            slot = proposal.entry.index
            if held and size > limit:
                return held, slot
            held.append(Proposal(DECIDED, proposal.entry) if slot in self.chosen else proposal)
        return held, 0

    # --- counting ---------------------------------------------------------------------------------

    def receive_ask_reply(self, sender: ReplicaId, message: AskReply, now: float) -> None:
        """Count the answers to our question, and only to the latest."""
        self.highest = max(self.highest, message.promised)
        self.heard_of(sender, message.decided, now)
        if self.role != "pre-candidate" or message.ballot != self.asked_ballot:
            return
        (self.granted if message.granted else self.refused).add(sender)
        if self.prepared_by(self.granted):
            if self.may_campaign(now):
                self.campaign(now, release=False)
            return
        if not self.can_still_win(self.refused):
            self.become_follower(0, now, "a quorum would not promise")
        if not message.granted:
            self.retry_quick_campaign(now)

    def retry_quick_campaign(self, now: float) -> None:
        """After a dropped connection: others may notice a few milliseconds later than we did."""
        if (
            self.leader_connection_lost
            and 0 < self.quick_retry_s < self.settings.election_timeout_s
        ):
            self.election_deadline = min(self.election_deadline, now + self.quick_retry_s)
            self.quick_retry_s *= 2

    def receive_refused(self, sender: ReplicaId, message: Refused, now: float) -> None:
        """An acceptor has promised more: our ballot is over, there at least."""
        self.highest = max(self.highest, message.promised)
        if message.ballot != self.term or owner_of(self.term) != self.id:
            return
        if self.role == "leader":
            self.become_follower(0, now, f"replica {sender} has promised another ballot")
        elif self.role == "candidate":
            self.refused.add(sender)
            if not self.can_still_win(self.refused):
                self.become_follower(0, now, "a quorum refused its promise")

    def receive_promise(self, sender: ReplicaId, message: Promise, now: float) -> None:
        """Phase 1b, a piece of it: what may have been chosen in our slots."""
        if message.ballot != self.term or self.role not in ("candidate", "leader"):
            return
        if self.asked_from.get(sender) != message.first:
            return  # a repeated answer
        for proposal in message.accepted:
            if proposal.ballot == DECIDED or not self.settles(proposal.entry.index):
                self._note_reported(proposal)
        if message.base > self.compacted[0]:
            self.compacted = message.base, sender
        self.advance(now)
        if self.role == "candidate":
            self.reset_election_timer(now)
        if message.next:
            self._prepare(sender, message.next)
            return
        self.asked_from[sender] = 0  # nothing more is asked of it
        self.promised_us.add(sender)
        self.heard_of(sender, message.decided, now)
        self.conclude(now)

    def _note_reported(self, proposal: Proposal) -> None:
        slot = proposal.entry.index
        if slot <= self.commit:
            return
        if proposal.ballot == DECIDED:
            self.learn(proposal.entry)
        known = self.reported.get(slot)
        # Among what a quorum accepted, the value of the highest ballot may be chosen already, and
        # no other can be ("Paxos Made Simple", section 2.2).
        if known is None or proposal.ballot > known.ballot:
            self.reported[slot] = proposal

    def conclude(self, now: float) -> None:
        """Lead as soon as a quorum of every era of open slots has promised."""
        if self.role not in ("candidate", "leader"):
            return
        through, holder = self.compacted
        if through > self.proposed():
            # What was chosen there is gone from that replica's log, and perhaps from all others'.
            if self.role == "leader":
                self.become_follower(0, now, "others have compacted what we do not know")
            self.catch_up_from(holder, now)
            return
        if not self.is_acceptor() and self.role == "candidate":
            self.become_follower(0, now, "removed from the configuration")
            return
        self.prepare_everyone()
        if self.role == "candidate" and self.prepared_by(self.promised_us):
            self.become_leader(now)

    # --- told to, or asked of, the other duties ---------------------------------------------------

    def stop_leading(self, now: float) -> None:
        """What was reported to us was for our ballot."""
        super().stop_leading(now)
        self.reported, self.promised_us, self.asked_from = {}, set(), {}

    def become_leader(self, now: float) -> None:
        """Provided by `deciding`."""
        raise NotImplementedError

    def settles(self, slot: Index) -> bool:
        """Provided by `deciding`: whether a quorum has told us already what binds us there."""
        raise NotImplementedError

    def proposed(self) -> Index:
        """Provided by `deciding`: the last slot in which we proposed, or know what is chosen."""
        raise NotImplementedError

    def heard_of(self, sender: ReplicaId, decided: Index, now: float) -> None:
        """Provided by `learning`: the sender knows what is chosen up to `decided`."""
        raise NotImplementedError

    def catch_up_from(self, peer: ReplicaId, now: float) -> None:
        """Provided by `learning`."""
        raise NotImplementedError
