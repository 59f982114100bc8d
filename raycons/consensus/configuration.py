"""Who belongs to a group: voters, learners, and the two halves of a joint change.

A configuration is a value in the log. It takes effect when it is appended, not when it commits
(Raft paper, section 6). Ids come from `next_id` and are never used twice; each is paired with the
nonce that was minted when its store was made, so that a store under a reused name is a stranger.
"""

from __future__ import annotations

import enum
from functools import cached_property

import msgspec

from raycons.consensus.quorum import ReplicaId


class Role(enum.IntEnum):
    """What a replica is to the group.

    Numbers are part of the log's format; 3 is kept for a witness.
    """

    LEARNER = 0  # receives the log, counts in no quorum
    JOINING = 1  # a learner that becomes a voter as soon as it has caught up
    VOTER = 2


class Peer(msgspec.Struct, frozen=True, array_like=True):
    """One replica of the group, as the configuration lists it."""

    id: ReplicaId
    nonce: int  # minted with the store; the pair (id, nonce) is the identity
    role: Role
    leaving: bool = False  # a voter of the outgoing half of a joint configuration
    replaces: ReplicaId = 0  # the voter that goes when this joining replica becomes one
    host: str = ""  # the host that holds the store, by its own id (not Ray's)


class Configuration(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """The members of a group at one point of its log."""

    peers: tuple[Peer, ...]
    next_id: ReplicaId
    reserved: tuple[ReplicaId, ...] = ()  # ids handed out for stores that are being made
    version: int = 1  # the newest format that may be written; see `raft.upgrade`
    lease_s: float = 0.0  # how long an acknowledged promise not to vote lasts; 0: no leases
    window: int = 0  # how many slots after its own it begins to govern (MultiPaxos); 0: at once

    @cached_property
    def voters(self) -> frozenset[ReplicaId]:
        """The voters of the incoming half; of the whole configuration when it is not joint."""
        return frozenset(peer.id for peer in self.peers if peer.role == Role.VOTER)

    @cached_property
    def outgoing(self) -> frozenset[ReplicaId]:
        """The voters of the outgoing half; empty when the configuration is not joint."""
        return frozenset(peer.id for peer in self.peers if peer.leaving)

    @cached_property
    def halves(self) -> tuple[frozenset[ReplicaId], ...]:
        """The sets of which each must give a majority."""
        return (self.voters, self.outgoing) if self.outgoing else (self.voters,)

    @property
    def joint(self) -> bool:
        """Whether a change of voters is under way."""
        return bool(self.outgoing)

    @cached_property
    def electors(self) -> frozenset[ReplicaId]:
        """Everyone whose vote counts in some half."""
        return self.voters | self.outgoing

    @cached_property
    def ids(self) -> frozenset[ReplicaId]:
        """Everyone who receives the log."""
        return frozenset(peer.id for peer in self.peers)

    def peer(self, id: ReplicaId) -> Peer | None:
        """The entry of replica `id`, or None."""
        return next((peer for peer in self.peers if peer.id == id), None)
