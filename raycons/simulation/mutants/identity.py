"""Mutants of who is who."""

from __future__ import annotations

from raycons.consensus.raft import membership
from raycons.member import management
from raycons.simulation.mutants import worlds
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.registry import mutant


@mutant("dissertation, section 4.1: ids are never used twice", worlds.churning)
def removed_replica_re_added_under_its_old_id(patch: Patch) -> None:
    """A new replica is given the lowest id that is free, which a removed one had."""
    lowest = "next(id for id in range(1, 99) if id not in configuration.ids)"
    patch.edit(
        membership.reserve,
        "(*configuration.reserved, configuration.next_id)[-8:]",
        f"(*configuration.reserved, {lowest})[-8:]",
    )
    patch.edit(management.plan, "configuration.next_id, lambda", f"{lowest}, lambda")
