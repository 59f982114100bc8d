"""Mutants of committing."""

from __future__ import annotations

from raycons.consensus.raft.replication import Replication
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant


@mutant("Raft paper, figure 8")
def older_terms_committed_by_counting(patch: Patch) -> None:
    """An entry of an older term commits because a quorum holds it."""
    patch.edit(
        Replication.advance_commit,
        "candidate > self.commit and self.log.term(candidate) == self.term",
        "candidate > self.commit",
    )


@mutant("dissertation, section 10.2.1: only its own durable entries")
def leader_counts_its_unsynced_log(patch: Patch) -> None:
    """The leader counts itself before its own write is durable."""
    patch.edit(
        Replication.advance_commit,
        "durable[self.id] = self.durable_index",
        "durable[self.id] = self.log.last_index",
    )


@mutant("Raft paper, section 8: a no-op at the start of the term", worlds.torn)
def no_op_skipped(patch: Patch) -> None:
    """A new leader takes what it knows to be committed for all that is."""
    patch.edit(
        Replication.become_leader,
        'self.append_as_leader(EntryKind.NOOP, b"", now).index',
        "self.commit",
    )


@mutant("Raft paper, figure 2: min(leaderCommit, last new entry)", worlds.repeating_small_pieces)
def commit_beyond_what_was_verified(patch: Patch) -> None:
    """A follower commits its own tail, which the leader's message did not reach."""
    patch.edit(
        Replication.receive_append,
        "min(message.commit, last)",
        "min(message.commit, self.log.last_index)",
    )


@mutant("Raft paper, figure 2", worlds.long_tails)
def heartbeat_carries_the_raw_commit(patch: Patch) -> None:
    """A heartbeat names the leader's commit index, whatever the follower holds there."""
    patch.edit(Replication.send_heartbeats, "min(progress.match, self.commit)", "self.commit")
    patch.edit(
        Replication.receive_heartbeat,
        "message.commit[0] > self.commit and self.log.holds(message.commit)",
        "self.log.last_index >= message.commit[0] > self.commit",
    )


@mutant("PySyncObj PR 197: persisted commit beyond the log")
def heartbeat_commits_the_whole_log(patch: Patch) -> None:
    """A heartbeat is taken for a word about the whole log of the follower."""
    patch.edit(
        Replication.receive_heartbeat,
        "message.commit[0] > self.commit and self.log.holds(message.commit):",
        "self.log.last_index > self.commit:",
    )
    patch.edit(
        Replication.receive_heartbeat,
        "self.commit_to(message.commit[0], now)",
        "self.commit_to(self.log.last_index, now)",
    )


@mutant("Raft TLA+: commitIndex never falls", worlds.duplicating)
def commit_assigned_instead_of_raised(patch: Patch) -> None:
    """An old Append lowers the commit index."""
    patch.edit(
        Replication.receive_append,
        "if min(message.commit, last) > self.commit:",
        "self.commit = min(self.commit, message.commit)\n"
        "    if min(message.commit, last) > self.commit:",
    )


@mutant("batches cut by size lose what lies at the cut")
def entry_skipped_at_a_batch_limit(patch: Patch) -> None:
    """Where what is committed is applied in several batches, an entry between two is lost."""
    patch.edit(
        Replication.commit_to,
        "first += len(entries)",
        "first += len(entries) + (entries[-1].index < index)",
    )
