"""Mutants of keeping the logs the same."""

from __future__ import annotations

from raycons.consensus.raft.core import Core
from raycons.consensus.raft.progress import Progress
from raycons.consensus.raft.replica import RaftReplica
from raycons.consensus.raft.replication import Replication
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant


@mutant("NATS 7564: acknowledged before fsync")
def acknowledged_before_fsync(patch: Patch) -> None:
    """Followers answer for entries that are not on their disk yet."""
    patch.attribute(Core, "after_everything", lambda replica: 0)


@mutant("Raft paper, figure 2, AppendEntries step 3", worlds.duplicating)
def truncated_without_a_conflict(patch: Patch) -> None:
    """An old Append cuts off what came after it."""
    patch.edit(
        Replication.receive_append,
        "if entry.index <= self.log.base.index or self.log.term(entry.index) == entry.term:",
        "if entry.index <= self.commit:",
    )


@mutant("Raft paper, section 5.3", worlds.long_tails)
def logs_never_compared(patch: Patch) -> None:
    """A follower takes entries whatever stands before them in its log."""
    patch.edit(
        Replication.receive_append,
        "elif not self.log.holds(message.previous):",
        "elif previous > self.log.last_index:",
    )


@mutant("Raft paper, section 5.1", worlds.reelected)
def acknowledgements_of_another_term_counted(patch: Patch) -> None:
    """What a follower held for an earlier leader counts for the present one."""
    patch.edit(
        RaftReplica.receive,
        "elif message.term < self.term:",
        "elif message.term < self.term and kind is not Appended:",
    )


@mutant("Raft TLA+: matchIndex never falls while a leader leads", worlds.duplicating)
def match_lowered_by_an_old_acknowledgement(patch: Patch) -> None:
    """An acknowledgement that was overtaken takes back what a later one said."""
    patch.edit(Progress.acknowledged, "if news:", "if news or matched < self.match:")


@mutant("Raft paper, figure 2: matchIndex is reinitialized after election", worlds.long_tails)
def match_kept_across_elections(patch: Patch) -> None:
    """A leader begins with what its followers held when it led before."""
    patch.edit(
        Replication.become_leader,
        "self.heartbeat_due = now\n",
        "for peer, kept in getattr(self, 'kept', {}).items():\n"
        "        if peer in self.progress:\n"
        "            self.progress[peer].match = kept\n"
        "    self.heartbeat_due = now\n",
    )
    patch.edit(
        Core.stop_leading,
        "self.progress = {}",
        "self.kept = {peer: progress.match for peer, progress in self.progress.items()}\n"
        "    self.progress = {}",
    )


@mutant("flow control that never gives back")
def bytes_in_flight_leaked(patch: Patch) -> None:
    """A connection's end forgets the messages under way, but not their bytes."""
    patch.edit(Progress._forget_inflight, "self.inflight_bytes = 0", "pass")


@mutant("batches cut by size lose what lies at the cut", worlds.repeating_small_pieces)
def entry_skipped_at_an_append_limit(patch: Patch) -> None:
    """An Append that holds not all that is left has the entry after its end instead of its last."""
    patch.edit(
        Replication.send_append,
        "size = sum(",
        "end = previous + len(entries)\n"
        "        if end < self.log.last_index:\n"
        "            entries = (*entries[:-1], *self.log.slice(end + 1, end + 1, 1))\n"
        "        size = sum(",
    )


@mutant("ABA; durable is an entry's name, not its index", worlds.slow_disks)
def durable_index_without_the_term(patch: Patch) -> None:
    """A write that finishes vouches for another entry, put in its place meanwhile."""
    patch.edit(Core.note_durable, "self.log.holds(end)", "end.index <= self.log.last_index")


@mutant("Raft paper, section 5.3: retried until all logs agree")
def rejection_ignored(patch: Patch) -> None:
    """A leader does not step back where the logs part."""
    patch.edit(
        Replication.receive_append_rejected,
        "if stale or progress.mode is Mode.SNAPSHOT:",
        "if stale or progress.mode is not Mode.REPLICATE:",
    )
