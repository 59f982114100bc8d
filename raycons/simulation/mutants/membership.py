"""Mutants of changing members."""

from __future__ import annotations

from raycons.consensus import membership, quorum
from raycons.consensus.raft.change import Changes
from raycons.consensus.raft.core import Core
from raycons.consensus.raft.election import Election
from raycons.consensus.raft.reads import Reads
from raycons.consensus.raft.replication import Replication
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant


@mutant("Raft paper, section 6: used as soon as it is in the log", worlds.churning)
def configuration_used_late(patch: Patch) -> None:
    """Followers do not act on a configuration that is in their log."""
    patch.attribute(Changes, "configuration_appended", lambda replica, entry: None)


@mutant("Raft paper, section 6", worlds.churning)
def voters_changed_in_one_step(patch: Patch) -> None:
    """One voter takes another's place without a joint configuration."""
    joint = membership._joint
    patch.attribute(
        membership, "_joint", lambda old, voters: membership.leave_joint(joint(old, voters))
    )


@mutant("Raft paper, section 6: separate majorities", worlds.churning)
def joint_quorum_from_one_half(patch: Patch) -> None:
    """In a joint configuration the new voters decide alone."""
    for function in (quorum.has_quorum, quorum.committed_index):
        patch.edit(function, "for half in halves:", "for half in list(halves)[:1]:")


@mutant("dissertation, section 4.2.1", worlds.churning)
def learners_counted(patch: Patch) -> None:
    """Replicas without a vote count when the leader commits."""
    patch.edit(Replication.advance_commit, "self.configuration.halves", "(self.configuration.ids,)")


@mutant("dissertation, section 4.2.1", worlds.learning)
def learners_votes_counted(patch: Patch) -> None:
    """Replicas without a vote are asked for one, and make a majority."""
    patch.edit(Election.campaign, "for peer in self.electors():", "for peer in self.peers():")
    patch.edit(
        Election.count_votes,
        "quorum.has_quorum(self.configuration.halves, self.granted)",
        "2 * len(self.granted) > len(self.configuration.voters)",
    )


@mutant("dissertation, section 4.2.1", worlds.learning)
def learners_confirm_reads(patch: Patch) -> None:
    """Replicas without a vote count when a leader makes sure that it still leads."""
    patch.edit(Reads._finish_rounds, "self.configuration.halves", "(self.configuration.ids,)")


@mutant("dissertation, section 4.2.1", worlds.learning_with_short_leases)
def learners_promises_counted(patch: Patch) -> None:
    """Promises of replicas without a vote count for a lease."""
    patch.edit(Reads.lease_holds, "self.configuration.halves", "(self.configuration.ids,)")


@mutant("etcd: a learner that does not know of its promotion", worlds.growing)
def promoted_learner_refuses_to_vote(patch: Patch) -> None:
    """A voter whose own log does not say so yet gives no vote."""
    patch.edit(
        Election.receive_request_vote,
        "granted = self.vote in (0, sender)",
        "granted = self.id in self.configuration.electors and self.vote in (0, sender)",
    )


@mutant("dissertation, section 4.1: one change at a time", worlds.churning)
def second_change_while_one_is_pending(patch: Patch) -> None:
    """A change begins though the one before has not committed."""
    patch.edit(Changes.settled, "and self.commit >= self.configuration_index", "")


@mutant("raft-dev, 2015: bug in single-server membership changes", worlds.churning)
def change_before_the_no_op(patch: Patch) -> None:
    """A new leader changes members before an entry of its own term has committed."""
    patch.edit(Changes.settled, "self.commit >= self.term_start", "True")
    patch.edit(Changes.committed_further, "if self.commit < self.term_start:", "if False:")


@mutant("Raft paper, section 6", worlds.churning)
def configuration_kept_when_its_entry_is_cut(patch: Patch) -> None:
    """A configuration stays in force though its entry was truncated."""
    patch.edit(
        Core.truncate_log,
        "while self.configurations[-1][0] >= first:",
        "while False:",
    )


@mutant("repair computed from a stale configuration", worlds.churning)
def change_based_on_a_stale_configuration(patch: Patch) -> None:
    """A change is made of whatever is in force by the time it arrives."""
    patch.edit(Changes.propose_change, "if based_on != self.configuration_index:", "if False:")


@mutant("etcd 11038: the group is stuck when its leader is removed", worlds.churning)
def removed_leader_stays(patch: Patch) -> None:
    """A leader that is no member any more goes on leading."""
    patch.edit(
        Changes.committed_further,
        "if self.id not in self.configuration.voters:",
        "if False:",
    )
