"""Mutants of reading."""

from __future__ import annotations

from raycons.consensus.raft.reads import Reads
from raycons.member.service import Service
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant


@mutant("etcd 741: stale read from a deposed leader", worlds.torn)
def read_without_asking_anybody(patch: Patch) -> None:
    """A leader that was deposed without knowing it serves old values."""
    patch.edit(Reads._read_as_leader, "self.lease_holds(now)", "True")


@mutant("dissertation, section 6.4", worlds.torn)
def read_index_before_the_no_op(patch: Patch) -> None:
    """A new leader reads at a commit index that may be behind what was acknowledged."""
    patch.edit(Reads.begin_read_round, " or self.commit < self.term_start", "")


@mutant("etcd 20418: ReadIndex reused in a retry", worlds.shunned_leaders)
def read_context_reused(patch: Patch) -> None:
    """A late answer to an old question is taken for one to the present question."""
    patch.edit(Reads.ask_leader, "self.next_question += 1", "pass")


@mutant("dissertation, section 6.4", worlds.torn)
def read_confirmed_by_an_older_round(patch: Patch) -> None:
    """Echoes of a heartbeat that left before the read began confirm it."""
    patch.edit(Reads.begin_read_round, "Round(self.round + 1,", "Round(self.round,")


@mutant("dissertation, section 6.4", worlds.torn)
def read_quorum_one_short(patch: Patch) -> None:
    """One confirmation less than a majority is enough for a read."""
    patch.edit(
        Reads._finish_rounds,
        "quorum.committed_index(self.configuration.halves, acked)",
        "sorted(acked.values(), reverse=True)[max(0, len(acked) // 2 - 1)]",
    )


@mutant("dissertation, section 6.4, step 4; etcd 3879", worlds.lagging_states)
def read_before_it_is_applied(patch: Patch) -> None:
    """A confirmed read does not wait until the state has caught up."""
    patch.edit(Service.serve_reads, "self._state.applied[0]", "2**62")
