"""The core that is healed first: a quorum with which the group must make progress again.

The second phase of a run, as in TigerBeetle's simulator: safety was checked under all faults; now a
random quorum is healed, and whatever befell the others stays for good. Progress must come back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from random import Random

from raycons.consensus.configuration import Configuration, Role
from raycons.consensus.quorum import ReplicaId


def choose_core(
    random: Random, configurations: Collection[Configuration], sound: Iterable[ReplicaId]
) -> frozenset[ReplicaId] | None:
    """A random smallest set of `sound` replicas that is a quorum of each configuration.

    All replicas that are joining belong to it, for they become voters as soon as they caught up.
    None where there is no such set.
    """
    standing = sorted(sound)
    joining = {
        peer.id
        for configuration in configurations
        for peer in configuration.peers
        if peer.role == Role.JOINING
    }
    core = set(standing)
    if not joining <= core or not _is_quorum_of_all(core, configurations):
        return None
    for id in random.sample(standing, len(standing)):
        if id not in joining and _is_quorum_of_all(core - {id}, configurations):
            core.remove(id)
    return frozenset(core)


def _is_quorum_of_all(
    replicas: Collection[ReplicaId], configurations: Iterable[Configuration]
) -> bool:
    present = set(replicas)
    return all(
        2 * len(half & present) > len(half)
        for configuration in configurations
        for half in configuration.halves
        if half
    )
