"""Mutants of choosing a leader."""

from __future__ import annotations

from raycons.consensus import quorum
from raycons.consensus.raft.core import Core
from raycons.consensus.raft.election import Election
from raycons.consensus.raft.log import Log
from raycons.consensus.raft.replica import RaftReplica
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant


@mutant("Raft paper, figure 2: votedFor is persistent")
def vote_not_persisted(patch: Patch) -> None:
    """The term is written, the vote is not."""
    patch.edit(Core.flush_writes, "HardState(self.term, self.vote)", "HardState(self.term, 0)")


@mutant("PySyncObj 201: full restart after term loss")
def term_not_persisted(patch: Patch) -> None:
    """A term that brings no vote is not written."""
    patch.edit(Core.flush_writes, "if self.hard_state_dirty else", "if self.vote else")


@mutant("Raft paper, figure 2: persist before answering")
def vote_answered_before_fsync(patch: Patch) -> None:
    """Votes are given and counted that a crash may forget."""
    patch.attribute(Core, "after_hard_state", lambda replica: 0)


@mutant("Raft paper, section 5.4.1")
def vote_for_anyone(patch: Patch) -> None:
    """A log that lacks committed entries may win."""
    patch.attribute(Log, "up_to_date", lambda log, last: True)


@mutant("Raft paper, section 5.4.1", worlds.long_tails)
def up_to_date_compares_index_first(patch: Patch) -> None:
    """A longer log of an older term wins over a newer one."""
    patch.edit(
        Log.up_to_date,
        "(last[1], last[0]) >= (mine.term, mine.index)",
        "(last[0], last[1]) >= (mine.index, mine.term)",
    )


@mutant("Raft paper, section 5.2")
def quorum_one_vote_short(patch: Patch) -> None:
    """A quorum that is no majority."""
    patch.attribute(quorum, "majority", lambda size: max(1, size // 2))


@mutant("Raft paper, section 5.2")
def vote_forgotten_at_once(patch: Patch) -> None:
    """The vote is granted, and not remembered."""
    patch.edit(Election.receive_request_vote, "self.vote = sender", "self.vote = 0")


@mutant("Raft paper, section 5.2: the vote belongs to the term", worlds.dueling)
def vote_cleared_on_stepping_down(patch: Patch) -> None:
    """Who stops campaigning or leading forgets in the same term that it voted for itself."""
    patch.edit(
        Core.become_follower,
        "changed = ",
        'self.vote = 0 if self.role in ("candidate", "leader") else self.vote\n    changed = ',
    )


@mutant("votes are a set of names, not a number", worlds.dueling)
def votes_counted_without_the_name(patch: Patch) -> None:
    """A repeated vote counts again."""
    patch.edit(
        Election.receive_vote_reply,
        "(self.granted if message.granted else self.refused).add(sender)",
        "if sender in self.granted:\n"
        "        sender = next((one for one in self.electors() if one not in self.granted), sender)"
        "\n    (self.granted if message.granted else self.refused).add(sender)",
    )


@mutant("Raft paper, section 5.1", worlds.dueling)
def votes_of_an_older_term_counted(patch: Patch) -> None:
    """A vote that was late counts in the next election."""
    patch.edit(
        Election.receive_vote_reply,
        'if self.role != "candidate" or message.term != self.term:',
        'if self.role != "candidate":',
    )


@mutant("Raft paper, section 5.2: only a granted vote resets the timer", worlds.dueling)
def timer_reset_by_a_refused_vote(patch: Patch) -> None:
    """A candidate that cannot win keeps better ones from trying."""
    patch.edit(
        Election.receive_request_vote,
        "self.reply(sender, VoteReply(self.term, granted))",
        "self.reset_election_timer(now)\n    self.reply(sender, VoteReply(self.term, granted))",
    )


@mutant("dissertation, section 9.6: a pre-vote changes nothing", worlds.dueling)
def pre_vote_raises_the_term(patch: Patch) -> None:
    """Who is asked for a pre-vote enters the term of the campaign."""
    patch.edit(
        Election.receive_pre_vote,
        "self.reply(sender,",
        "if granted:\n        self.adopt_term(message.campaign_term)\n    self.reply(sender,",
    )


@mutant("dissertation, section 9.6")
def pre_vote_counted_as_vote(patch: Patch) -> None:
    """The campaign begins with those who only said that they would vote."""
    patch.edit(
        Election.campaign, "self.granted, self.refused = set(), set()", "self.refused = set()"
    )


@mutant("etcd 8501: PreVote and CheckQuorum", worlds.dueling)
def pre_candidate_keeps_its_leader(patch: Patch) -> None:
    """Who asks for pre-votes goes on following the leader that it gave up."""
    patch.edit(
        Election.ask_pre_votes,
        'self.role, self.leader = "pre-candidate", 0',
        'self.role = "pre-candidate"',
    )


@mutant("etcd 8501: a member of a higher term is never heard", worlds.dueling)
def higher_term_never_heard(patch: Patch) -> None:
    """A leader of an older term is ignored, and never learns that its time is over."""
    patch.edit(
        RaftReplica.receive,
        "self.reply(sender, HeartbeatReply(self.term, 0, 0.0, self.log.last_index))",
        "pass",
    )
