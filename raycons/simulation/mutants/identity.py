"""Mutants of who is who."""

from __future__ import annotations

from raycons.consensus import membership
from raycons.member import admission, management
from raycons.member.peers import PeerBook
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


@mutant("a restored disk image, a twin: the store of yesterday votes again", worlds.copied)
def twin_not_fenced(patch: Patch) -> None:
    """A copy of a store is let in, however old it is."""
    patch.edit(PeerBook.refusal, "known.nonce != greeting.nonce", "True")


@mutant("Ray runs a constructor again, where the disk is gone", worlds.copied)
def restart_on_an_empty_store_under_its_old_identity(patch: Patch) -> None:
    """A store that was made anew under an old id is let in for the one that was lost."""
    patch.edit(admission.refusal, "listed.nonce != greeting.nonce", "False")
