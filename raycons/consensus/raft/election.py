"""Elections: pre-vote, vote, and the right not to be disturbed.

    follower --timer, or the leader's connection dropped--> pre-candidate --quorum would vote-->
    candidate --quorum votes--> leader

Raft paper, sections 5.2 and 5.4.1; pre-vote and stickiness: dissertation, sections 9.6 and 4.2.3.

A dropped connection speeds the question, never the answer: peers that still hear the leader say no.
A promise not to vote (leases) binds whatever happens to connections; only a vote request that says
that the leader itself released its followers overrides it.
"""

from __future__ import annotations

from raycons.consensus import quorum
from raycons.consensus.messages import TimeoutNow
from raycons.consensus.quorum import ReplicaId
from raycons.consensus.raft.core import Core
from raycons.consensus.raft.messages import PreVote, PreVoteReply, RequestVote, VoteReply


class Election(Core):
    """The duty of choosing a leader."""

    # --- beginning --------------------------------------------------------------------------------

    def election_timer_due(self, now: float) -> None:
        """No leader was heard for an election timeout: ask whether to campaign."""
        reason = "leader's connection dropped" if self.leader_connection_lost else "leader silent"
        self.pace = 1
        self.reset_election_timer(now)
        if self.may_campaign(now):
            self.ask_pre_votes(now, reason)
        elif self.bound(now):
            self.election_deadline = max(self.election_deadline, self.promised_until)

    def may_campaign(self, now: float) -> bool:
        """Whether this replica could serve as a leader now."""
        return (
            self.may_be_needed()
            and not self.silent
            and not self.bound(now)
            and not self.disk_silent(now, self.settings.election_timeout_s)
        )

    def may_be_needed(self) -> bool:
        """Whether we are a voter, or were, in the configuration that was committed last.

        A leader that appended the configuration without itself may hold the only log that can win,
        until that entry has committed; it then campaigns without a vote of its own. Dissertation,
        section 4.2.2.
        """
        return any(self.id in configuration.electors for _, configuration in self.configurations)

    def leader_connection_dropped(self, now: float) -> None:
        """Ask at once, staggered by rank so that the followers do not split the vote.

        Not sooner than an election timeout after the last such campaign: a peer that keeps
        closing its connection must not cause an election storm.
        """
        self.leader_connection_lost = True
        if self.bound(now) or now < self.quick_after or not self.may_be_needed():
            return
        rank = sum(other < self.id for other in self.electors() if other != self.leader)
        stagger = self.settings.reconnect_stagger_s
        self.quick_after = now + self.settings.election_timeout_s
        self.quick_retry_s = 2 * stagger
        self.election_deadline = min(
            self.election_deadline, now + stagger * (rank + 0.25 * self.random.random())
        )

    def ask_pre_votes(self, now: float, reason: str) -> None:
        """Ask everyone whether they would vote for us, changing nothing at them or on our disk."""
        self.role, self.leader = "pre-candidate", 0
        self.granted, self.refused = {self.id}, set()
        self.announce(reason)
        self.leader_changed()
        if quorum.has_quorum(self.configuration.halves, self.granted):
            self.campaign(now, release=False)
            return
        question = PreVote(self.term, self.term + 1, self.log.last)
        for peer in self.electors():
            self.reply(peer, question)

    def campaign(self, now: float, release: bool) -> None:
        """Ask for votes in a new term; our own counts when it is on disk (`own_vote_durable`)."""
        self.adopt_term(self.term + 1)
        self.role, self.leader, self.vote = "candidate", 0, self.id
        self.granted, self.refused = set(), set()
        self.campaign_released = release
        self.announce("campaigning, asked by the leader" if release else "campaigning")
        self.leader_changed()
        self.reset_election_timer(now)
        question = RequestVote(self.term, self.log.last, release)
        for peer in self.electors():
            self.reply(peer, question)

    def own_vote_durable(self, now: float) -> None:
        """Called when writes became durable: a candidate may now count its own vote."""
        if self.role == "candidate" and self.id not in self.granted and not self.after_hard_state():
            self.granted.add(self.id)
            self.count_votes(now)

    def receive_timeout_now(self, sender: ReplicaId, message: TimeoutNow, now: float) -> None:
        """The leader hands over to us: campaign without asking first."""
        if message.term != self.term or self.role == "leader" or self.silent:
            return
        if self.may_be_needed() and not self.disk_silent(now, self.settings.election_timeout_s):
            self.campaign(now, release=True)

    # --- answering --------------------------------------------------------------------------------

    def receive_pre_vote(self, sender: ReplicaId, message: PreVote, now: float) -> None:
        """Would we vote for the sender? Says so without changing anything here."""
        granted = (
            message.campaign_term > self.term
            and self.log.up_to_date(message.last)
            and not self.bound(now)
            and not self.hears_leader(now)
        )
        self.reply(sender, PreVoteReply(self.term, message.campaign_term, granted))

    def receive_request_vote(self, sender: ReplicaId, message: RequestVote, now: float) -> None:
        """Vote, once a term, for somebody whose log holds everything that may be committed.

        A learner votes too: its own configuration may be older than the one that made it a voter.
        """
        if not message.release and (self.bound(now) or self.hears_leader(now)):
            return  # a leader lives: do not even take note of the term
        if message.term > self.term:
            self.adopt_term(message.term)
            self.become_follower(0, now, f"replica {sender} campaigns in term {message.term}")
        if message.term < self.term:
            self.reply(sender, VoteReply(self.term, False))
            return
        granted = self.vote in (0, sender) and self.log.up_to_date(message.last)
        if granted:
            if self.vote == 0:
                self.vote = sender
                self.hard_state_dirty = True
            # Only a granted vote resets the timer: a refused candidate must not keep better ones
            # from trying.
            self.reset_election_timer(now)
        self.reply(sender, VoteReply(self.term, granted))

    # --- counting ---------------------------------------------------------------------------------

    def receive_pre_vote_reply(self, sender: ReplicaId, message: PreVoteReply, now: float) -> None:
        """Count the answers to our question, and only to the latest."""
        if message.term > self.term and not message.granted:
            self.adopt_term(message.term)
            self.become_follower(0, now, f"replica {sender} is in term {message.term}")
            return
        if self.role != "pre-candidate" or message.campaign_term != self.term + 1:
            return
        (self.granted if message.granted else self.refused).add(sender)
        if quorum.has_quorum(self.configuration.halves, self.granted):
            if self.may_campaign(now):
                self.campaign(now, release=False)
            return
        if not quorum.can_still_win(self.configuration.halves, self.refused):
            self.become_follower(0, now, "a quorum would not vote for us")
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

    def receive_vote_reply(self, sender: ReplicaId, message: VoteReply, now: float) -> None:
        """Count a vote, by name, in the term it was given for."""
        if message.term > self.term:
            self.adopt_term(message.term)
            self.become_follower(0, now, f"replica {sender} is in term {message.term}")
            return
        if self.role != "candidate" or message.term != self.term:
            return
        (self.granted if message.granted else self.refused).add(sender)
        self.count_votes(now)

    def count_votes(self, now: float) -> None:
        """Lead with a quorum of votes; give up without hope of one."""
        if self.role != "candidate":
            return
        if quorum.has_quorum(self.configuration.halves, self.granted):
            self.become_leader(now)
        elif not quorum.can_still_win(self.configuration.halves, self.refused):
            self.become_follower(0, now, "a quorum refused its vote")

    def become_leader(self, now: float) -> None:
        """Provided by `replication`."""
        raise NotImplementedError
