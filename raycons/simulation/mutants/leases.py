"""Mutants of leases."""

from __future__ import annotations

from raycons.consensus.raft.change import Changes
from raycons.consensus.raft.core import Core
from raycons.consensus.raft.reads import Reads
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant


@mutant("dissertation, section 6.4.1", worlds.leased)
def promises_broken(patch: Patch) -> None:
    """Votes and campaigns though a leader's lease rests on the promise not to."""
    patch.attribute(Core, "bound", lambda replica, now: False)


@mutant("a dropped connection proves nothing", worlds.leased)
def promise_ends_with_the_connection(patch: Patch) -> None:
    """A follower whose leader's connection dropped no longer keeps its promise."""
    patch.edit(
        Core.bound,
        "now < self.promised_until",
        "now < self.promised_until and not self.leader_connection_lost",
    )


@mutant("dissertation, section 6.4.1: from the start of the round", worlds.leased_with_delays)
def lease_counted_from_receipt(patch: Patch) -> None:
    """The leader counts its lease from when the answer came, not from when the question left."""
    patch.edit(Reads.round_confirmed, "until = sent_at", "until = now")


@mutant("dissertation, section 6.4.1: bounded clock drift", worlds.leased_with_drift)
def lease_without_a_drift_margin(patch: Patch) -> None:
    """The leader uses up all of a promise that was counted on a faster clock."""
    patch.edit(Reads.round_confirmed, " * (1 - self.settings.lease_margin)", "")


@mutant("dissertation, section 6.4.1: transfers end a lease", worlds.leased_with_transfers)
def lease_kept_during_transfer(patch: Patch) -> None:
    """A leader that told somebody to campaign goes on reading by its lease."""
    patch.edit(Reads.lease_holds, " or self.released", "")


@mutant("a TimeoutNow may arrive late", worlds.leased_with_transfers)
def lease_resumed_after_a_transfer(patch: Patch) -> None:
    """A leader that gave a transfer up trusts its lease again, though its request is under way."""
    patch.edit(
        Changes.mind_transfer,
        "self.transferee = 0",
        "self.transferee, self.released = 0, False",
    )


@mutant("a restart forgets promises", worlds.leased_with_crashes)
def promise_forgotten_in_a_restart(patch: Patch) -> None:
    """A replica votes at once after a restart, whatever it promised before."""
    patch.edit(
        Core.__init__,
        "now + self.configuration.lease_s if self.configuration.lease_s else 0.0",
        "0.0",
    )


@mutant("dissertation, section 6.4", worlds.leased_on_slow_disks)
def lease_before_the_no_op(patch: Patch) -> None:
    """A new leader reads by its lease before it knows what is committed."""
    patch.edit(Reads.lease_holds, " or self.commit < self.term_start", "")
