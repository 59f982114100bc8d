"""Eras: which acceptors decide in which slots.

A configuration that was chosen in slot i governs from slot i + window on, until a later one does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from raycons.consensus.configuration import Configuration, Role
from raycons.consensus.quorum import Index, Majority, QuorumSystem, ReplicaId


class Era(NamedTuple):
    """The slots from `first` on, up to the next era, and who decides in them."""

    slot: Index  # in which the configuration was chosen
    configuration: Configuration
    first: Index
    quorums: QuorumSystem | None  # None: not known yet, to one that joins

    def prepares(self, granted: Collection[ReplicaId]) -> bool:
        """Whether these are a quorum of phase 1."""
        return self.quorums is not None and self.quorums.prepares(granted)

    def chooses(self, accepted: Collection[ReplicaId]) -> bool:
        """Whether these are a quorum of phase 2."""
        return self.quorums is not None and self.quorums.chooses(accepted)


def era_of(slot: Index, configuration: Configuration) -> Era:
    """The era that a configuration begins; the first one of a group governs from its first slot."""
    first = slot + configuration.window if slot else 0
    quorums = Majority(configuration.voters) if configuration.voters else None
    return Era(slot, configuration, first, quorums)


def joined(newest: Configuration, earlier: Sequence[Configuration]) -> Configuration:
    """`newest`, with the voters of `earlier` ones as those who are leaving: what both need.

    >>> from raycons.consensus.configuration import Peer
    >>> voters = [Peer(id, 0, Role.VOTER) for id in (1, 2, 3)]
    >>> both = joined(Configuration((voters[0],), 4), [Configuration(tuple(voters), 4)])
    >>> sorted(both.voters), sorted(both.outgoing), both.joint
    ([1], [1, 2, 3], True)
    """
    before = {peer.id: peer for one in earlier for peer in one.peers}
    voting = {id for one in earlier for id in one.voters}
    gone = [peer for id, peer in before.items() if id not in newest.ids]
    return replace(
        newest,
        peers=(
            *(replace(peer, leaving=peer.id in voting) for peer in newest.peers),
            *(replace(peer, role=Role.LEARNER, leaving=peer.id in voting) for peer in gone),
        ),
    )
